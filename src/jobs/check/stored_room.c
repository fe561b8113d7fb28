#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "jobs/check/store_internal.h"
#include "jobs/room_forecast_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* WAL needs room at all events: without a reserve of its own, four of the usual segments. */
#define LEAST_ROOM ((uint64_t)64 << 20)

struct look {
    struct store *store;
    const char *folder;
    struct room room;
    struct room_disk disk;
    uint64_t reserve;
    char free_text[TEXT_BYTES_SIZE], reserve_text[TEXT_BYTES_SIZE];
};

static int64_t measure(uint64_t bytes)
{
    return bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX;
}

static void fix(const struct look *look, struct finding *finding, const char *also)
{
    const char *server = look->store->server;

    finding_fix(finding,
                "Make room on the file system of %s (df -h %s), or delete an old backup: pgcoffer list %s, "
                "pgcoffer delete %s BACKUP%s",
                look->folder, look->disk.place, server, server, also);
}

/* ---- repository.reserve ---- */

/* The WAL of the system that is received now; false when there is none yet. */
static bool open_wal(const struct look *look, struct wal_archive *ret_archive)
{
    const struct store *store = look->store;
    struct system_id system;
    struct error ignored;

    return repo_read_server(store->repo, store->server, &system, &ignored) &&
           wal_archive_open(store->repo, store->server, &system, (struct wal_segment_size){0}, ret_archive, &ignored) &&
           ret_archive->segment_size.bytes > 0;
}

static void check_reserve(struct look *look)
{
    const enum check_id id = CHECK_ID_repository_reserve;
    struct finding finding = {.check = id};
    struct wal_archive archive;

    if (look->reserve > 0)
        finding_seen(&finding, "%s free on %s, wal_reserve = %s", look->free_text, look->disk.name, look->reserve_text);
    else
        finding_seen(&finding, "%s free on %s, and no reserve (wal_reserve = 0)", look->free_text, look->disk.name);
    if (open_wal(look, &archive) && !room_has_segment(&look->room, archive.segment_size, 0)) {
        finding_cause(&finding, id,
                      "The disk of the repository is full: receiving WAL pauses, and the server keeps what comes.");
        fix(look, &finding, "; receiving goes on by itself");
        check_fail(look->store->run, &finding);
    } else if (look->room.free_bytes < look->reserve) {
        finding_cause(&finding, id,
                      "What is free on the disk of the repository belongs to WAL: no base backup is taken before there "
                      "is more than wal_reserve.");
        fix(look, &finding, "; or give WAL less: wal_reserve in pgcoffer.conf, then pgcoffer reload");
        check_fail(look->store->run, &finding);
    } else {
        check_pass(look->store->run, id, "%s", finding.seen);
    }
    check_set_measure(look->store->run, id, "bytes", measure(look->room.free_bytes), measure(look->reserve),
                      measure(look->reserve));
}

/* ---- repository.room ---- */

/* The size of the last one is the best guess at the next one's. */
static uint64_t stored_bytes_of_last(const struct catalogue *catalogue)
{
    for (size_t i = catalogue->count; i-- > 0;)
        if (catalogue->entries[i].meta != NULL)
            return catalogue->entries[i].meta->stored_bytes;
    return 0;
}

static void tell_little_room(const struct look *look, struct finding *finding, bool is_too_little)
{
    const enum check_id id = CHECK_ID_repository_room;

    if (is_too_little)
        finding_cause(finding, id,
                      "The repository has no room for another backup: less is free than the last one took.");
    else
        finding_cause(finding, id, "The repository is nearly full: hardly more is free than the last backup took.");
    fix(look, finding, "");
    if (is_too_little)
        check_fail(look->store->run, finding);
    else
        check_warn(look->store->run, finding);
}

/* What belongs to WAL is not there for a backup. */
static void check_room(struct look *look)
{
    const enum check_id id = CHECK_ID_repository_room;
    struct finding finding = {.check = id};
    uint64_t last = stored_bytes_of_last(&look->store->catalogue);
    uint64_t least = last > LEAST_ROOM || look->reserve > 0 ? last : LEAST_ROOM;
    uint64_t ample = least + least / 5; /* the database grows, and WAL comes besides */
    uint64_t free_bytes = look->room.free_bytes;
    uint64_t available = free_bytes > look->reserve ? free_bytes - look->reserve : 0;
    char last_text[TEXT_BYTES_SIZE];

    text_format_bytes(last, last_text);
    finding_seen(&finding, "%s free at %s%s%s%s%s", look->free_text, look->folder,
                 look->reserve > 0 ? ", for WAL of it " : "", look->reserve > 0 ? look->reserve_text : "",
                 last > 0 ? "; the last backup took " : "", last > 0 ? last_text : "");
    if (available < ample)
        tell_little_room(look, &finding, available < least);
    else
        check_pass(look->store->run, id, "%s", finding.seen);
    check_set_measure(look->store->run, id, "bytes", measure(available), measure(ample), measure(least));
}

/* ---- repository.forecast ---- */

static void tell_forecast(const struct look *look, const struct room_forecast *forecast)
{
    const enum check_id id = CHECK_ID_repository_forecast;
    struct finding finding = {.check = id};
    char rate[TEXT_BYTES_SIZE], full_at[TIMESTAMP_TEXT_SIZE];
    struct error warning;

    text_format_bytes(forecast->bytes_per_hour, rate);
    timestamp_format((struct timestamp){forecast->full_at.microseconds / 1000000 * 1000000}, full_at);
    if (forecast->full_at.microseconds != 0)
        finding_seen(&finding, "%s free, and WAL takes %s an hour: full at %s", look->free_text, rate, full_at);
    else
        finding_seen(&finding, "%s free, and WAL takes %s an hour: room for years", look->free_text, rate);
    bool is_below = look->room.free_bytes < look->reserve; /* repository.reserve tells it */
    if (!forecast->is_near || !room_warning(&look->disk, &look->room, is_below ? 0 : look->reserve, forecast,
                                            look->store->server, &warning)) {
        check_pass(look->store->run, id, "%s", finding.seen);
        return;
    }
    finding_cause(&finding, id, "T%s.", warning.message + 1); /* a sentence */
    fix(look, &finding, "");
    check_warn(look->store->run, &finding);
}

static void check_forecast(const struct look *look)
{
    const enum check_id id = CHECK_ID_repository_forecast;
    struct room_rate *rate SCOPED(scoped_free) = memory_new(sizeof *rate);
    struct room_forecast forecast;
    struct wal_archive archive;
    struct error err;

    if (!open_wal(look, &archive)) {
        check_skip(look->store->run, id, "no WAL is stored yet");
        return;
    }
    if (!room_rate_learn(rate, &archive, &err)) {
        check_skip(look->store->run, id, "%s", err.message);
        return;
    }
    room_forecast(rate, &look->room, look->reserve, clock_now(), &forecast);
    if (forecast.bytes_per_hour == 0)
        check_skip(look->store->run, id, "too little WAL came in the last 24 hours to say how long the room lasts");
    else
        tell_forecast(look, &forecast);
}

/* ---- all ---- */

void check_stored_room(struct store *store)
{
    char *folder SCOPED(scoped_free) = room_folder(store->repo, store->server);
    struct look look = {.store = store, .folder = folder, .reserve = store->run->server->settings.wal_reserve};
    struct error err;

    if (!room_read(folder, &look.room, &err)) {
        check_skip(store->run, CHECK_ID_repository_reserve, "%s", err.message);
        check_skip(store->run, CHECK_ID_repository_room, "%s", err.message);
        check_skip(store->run, CHECK_ID_repository_forecast, "%s", err.message);
        return;
    }
    room_find_disk(folder, &look.disk);
    text_format_bytes(look.room.free_bytes, look.free_text);
    text_format_bytes(look.reserve, look.reserve_text);
    check_reserve(&look);
    if (!check_has_failed(store->run, CHECK_ID_repository_reserve))
        check_room(&look);
    check_forecast(&look);
}
