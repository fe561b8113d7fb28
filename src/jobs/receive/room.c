#include "jobs/receive/room_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "jobs/receive/receiver_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MILLISECOND            INT64_C(1000)
#define SECOND                 INT64_C(1000000)
#define COMPRESSION_WAITED_FOR (2 * SECOND)
#define LOOKED_EVERY           (60 * SECOND)
#define LOOKED_AFTER_WAL       (5 * SECOND)
#define SAME_WARNING           (3600 * SECOND)

static void look(struct receiver *receiver);

bool receive_room_read(struct receiver *receiver, struct error *err)
{
    struct receive_room *room = &receiver->room;

    char *folder SCOPED(scoped_free) = room_folder(receiver->repo, receiver->server->name);

    if (room->disk.name[0] == '\0')
        room_find_disk(folder, &room->disk);
    return room_read(folder, &room->seen, err);
}

/* ---- compression ---- */

static uint64_t tell_budget(void *context)
{
    struct receiver *receiver = context;
    struct error ignored;

    if (!receive_room_read(receiver, &ignored))
        return UINT64_MAX; /* the try itself will tell */
    return room_budget(&receiver->room.seen, receiver->archive.segment_size);
}

static void take_stored(void *context, struct wal_segment segment)
{
    struct receiver *receiver = context;
    struct receive_room *room = &receiver->room;
    struct wal_file file;
    struct error ignored;

    if (!wal_archive_stat(&receiver->archive, segment, &file, &ignored) || file.state != WAL_FILE_COMPRESSED)
        return;
    room_rate_add(&room->rate, file.written_at, file.stored_bytes);
    if (room->look_at > room->looked_at + LOOKED_AFTER_WAL)
        room->look_at = room->looked_at + LOOKED_AFTER_WAL;
}

void receive_room_begin(struct receiver *receiver)
{
    const struct receive_compressor_watch watch = {.budget = tell_budget, .stored = take_stored, .context = receiver};
    struct error err;

    receive_compressor_watch(receiver->compressor, &watch);
    receiver->room.rate = (struct room_rate){.first_bytes = 0};
    if (!room_rate_learn(&receiver->room.rate, &receiver->archive, &err))
        log_failure(LOG_LEVEL_WARNING, &err);
    look(receiver);
}

/* ---- a look now and then ---- */

static int warning_level(const struct room *seen, uint64_t reserve, bool has_warning)
{
    if (!has_warning)
        return 0;
    return seen->free_bytes < reserve ? 2 : 1;
}

static void log_warning_once(struct receive_room *room, int level, const struct error *warning)
{
    int64_t now = clock_monotonic();
    bool is_old = now - room->warned_at >= SAME_WARNING;

    if (level == room->warned_level || (level < room->warned_level && !is_old))
        return;
    if (level == 0)
        log_info("there is ample room on the disk of the repository, %s, again", room->disk.name);
    else
        log_failure(LOG_LEVEL_WARNING, warning);
    room->warned_level = level;
    room->warned_at = now;
}

static void report_room(struct receiver *receiver, const struct room_forecast *forecast)
{
    const struct receive_room *room = &receiver->room;
    struct receive_report_room told = {
        .is_known = true,
        .free_bytes = room->seen.free_bytes,
        .reserve_bytes = receiver->server->settings.wal_reserve,
        .bytes_per_hour = forecast->bytes_per_hour,
        .reserve_at = forecast->reserve_at,
        .full_at = forecast->full_at,
    };

    snprintf(told.disk, sizeof told.disk, "%s", room->disk.name);
    receive_report_room(&receiver->report, &told);
}

static void look(struct receiver *receiver)
{
    struct receive_room *room = &receiver->room;
    uint64_t reserve = receiver->server->settings.wal_reserve;
    struct room_forecast forecast;
    struct error warning;

    room->looked_at = clock_monotonic();
    room->look_at = room->looked_at + LOOKED_EVERY;
    if (!receive_room_read(receiver, &warning))
        return; /* the next segment tells it */
    room_forecast(&room->rate, &room->seen, reserve, clock_now(), &forecast);
    report_room(receiver, &forecast);
    bool has_warning = room_warning(&room->disk, &room->seen, reserve, &forecast, receiver->server->name, &warning);
    receive_report_warning(&receiver->report, RECEIVE_WARNING_ROOM, has_warning ? &warning : NULL);
    log_warning_once(room, warning_level(&room->seen, reserve, has_warning), &warning);
}

void receive_room_turn(struct receiver *receiver)
{
    if (clock_monotonic() >= receiver->room.look_at)
        look(receiver);
}

int64_t receive_room_due(const struct receiver *receiver)
{
    return receiver->room.look_at;
}

/* ---- is there enough? ---- */

static uint64_t unfinished_bytes(const struct receiver *receiver)
{
    return receiver->compressor == NULL ? 0 : receive_compressor_unfinished_bytes(receiver->compressor);
}

/* A compression that ends between the two looks has freed what the first one missed. */
bool receive_room_fits(struct receiver *receiver, bool *ret_has, struct error *err)
{
    struct wal_segment_size size = receiver->archive.segment_size;

    *ret_has = false;
    for (int looks = 0; looks < 2 && !*ret_has; looks++) {
        if (!receive_room_read(receiver, err))
            return false;
        *ret_has = room_has_segment(&receiver->room.seen, size, unfinished_bytes(receiver));
    }
    return true;
}

/*
 * Segments that wait for their compression take four times what they will: rather than ending a session that would
 * begin anew at once, the stream waits for them a little. Its lifeline keeps the server informed meanwhile.
 */
static bool wait_for_compression(struct receiver *receiver, bool *ret_has, struct error *err)
{
    int64_t deadline = clock_monotonic() + COMPRESSION_WAITED_FOR;
    struct error failure;

    for (;;) {
        if (!receive_compressor_turn(receiver->compressor, &failure))
            log_failure(LOG_LEVEL_WARNING, &failure);
        if (!receive_room_fits(receiver, ret_has, err))
            return false;
        int64_t left = deadline - clock_monotonic();
        if (*ret_has || left <= 0 || !receive_compressor_is_working(receiver->compressor) ||
            worker_is_interrupted(receiver->worker))
            return true;
        struct pollfd events[] = {
            {.fd = receive_compressor_descriptor(receiver->compressor), .events = POLLIN},
            {.fd = receiver->worker->interrupt_fd, .events = POLLIN},
        };
        (void)poll(events, sizeof events / sizeof events[0], (int)(left / MILLISECOND) + 1);
    }
}

bool receive_room_demand(struct receiver *receiver, struct wal_segment segment, struct error *err)
{
    struct receive_room *room = &receiver->room;
    struct wal_file file;
    bool has_room = false;
    char name[WAL_SEGMENT_NAME_SIZE];

    if (!wal_archive_stat(&receiver->archive, segment, &file, err))
        return false;
    if (file.state != WAL_FILE_MISSING)
        return true;
    if (!receive_room_fits(receiver, &has_room, err))
        return false;
    if (!has_room && receiver->compressor != NULL && !wait_for_compression(receiver, &has_room, err))
        return false;
    if (has_room)
        return true;
    room->has_segment = true;
    room->segment = segment;
    wal_segment_format(segment, receiver->archive.segment_size, name);
    error_set(err, ERROR_STORAGE, "there is no room for WAL segment %s", name);
    err->errnum = ENOSPC;
    return false;
}
