#include "jobs/backup/reserve_internal.h"

#include <stdlib.h>

#include "jobs/room_forecast_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

bool reserve_allows(const struct reserve *reserve, uint64_t bytes, struct error *err)
{
    char free_text[TEXT_BYTES_SIZE], reserve_text[TEXT_BYTES_SIZE];
    struct room_disk disk;
    struct room room;

    if (reserve->bytes == 0)
        return true;
    char *folder SCOPED(scoped_free) = room_folder(reserve->repo, reserve->server);
    if (!room_read(folder, &room, err))
        return false;
    if (room_spares(&room, reserve->bytes, bytes))
        return true;
    room_find_disk(folder, &disk);
    text_format_bytes(room.free_bytes, free_text);
    text_format_bytes(reserve->bytes, reserve_text);
    error_set(
        err, ERROR_STORAGE,
        "the backup of \"%s\" would take room that belongs to WAL: the disk of the repository, %s, has %s free, and "
        "%s of it are kept for WAL (wal_reserve)",
        reserve->server, disk.name, free_text, reserve_text);
    room_hint(&disk, reserve->server, "; or give WAL less: wal_reserve in pgcoffer.conf, then pgcoffer reload.", err);
    return false;
}

struct reserve_stage {
    struct stage stage; /* must be first */
    struct reserve reserve;
};

static bool reserve_write(struct stage *stage, const void *data, size_t size, struct error *err)
{
    return reserve_allows(&((struct reserve_stage *)stage)->reserve, size, err) &&
           stage_write(stage->next, data, size, err);
}

static void reserve_release(struct stage *stage)
{
    free(stage);
}

static const struct stage_ops reserve_ops = {
    .name = "reserve",
    .open = stage_forward_open,
    .write = reserve_write,
    .finish = stage_forward_finish,
    .release = reserve_release,
};

struct stage *reserve_stage_new(struct stage *next, const struct reserve *reserve)
{
    struct reserve_stage *self = memory_new(sizeof *self);

    self->stage = (struct stage){.ops = &reserve_ops, .next = next};
    self->reserve = *reserve;
    return &self->stage;
}
