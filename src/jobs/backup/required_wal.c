#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/backup/backup_internal.h"
#include "jobs/reach_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/repo/wal_expire.h"
#include "pgcoffer/repo/wal_lease.h"

#define PATIENCE_FACTOR 3 /* of connect_timeout: the receiver may just be connecting again */
#define MICROSECONDS    INT64_C(1000000)

static void scoped_ranges(struct wal_ranges *ranges)
{
    wal_ranges_done(ranges);
}

static void scoped_history(struct history *history)
{
    history_done(history);
}

static int64_t most_patience(const struct backup_run *run)
{
    return run->job->server->settings.connect_timeout * PATIENCE_FACTOR * MICROSECONDS;
}

static bool fail_without_receiver(const struct backup_run *run, const struct system_id *system, struct error *err)
{
    const struct receiver_view *view = &run->receiver;
    const char *server = run->job->server->name;

    if (!view->is_known) {
        error_set(err, ERROR_SERVER, "the WAL receiver of \"%s\" has not reported yet", server);
        return error_hint(err, "Look at \"pgcoffer status %s\" and at the daemon's log.", server);
    }
    if (strcmp(view->state, "streaming") == 0) {
        error_set(err, ERROR_INTEGRITY, "the WAL receiver of \"%s\" streams system %s, but the server is system %s",
                  server, view->system, system->text);
        return error_hint(err, "host and hostaddr of [%s] may lead to different servers.", server);
    }
    error_set(err, view->has_error ? view->error.kind : ERROR_SERVER,
              "a backup needs its WAL, but the WAL receiver of \"%s\" is not streaming (%s)", server, view->state);
    if (!view->has_error)
        return error_hint(err, "Look at \"pgcoffer status %s\".", server);
    error_detail(err, "%.900s", view->error.message);
    return error_hint(err, "%s", view->error.hint);
}

bool required_wal_await_receiver(struct backup_run *run, const struct system_id *system, struct error *err)
{
    int64_t began_at = clock_monotonic();

    if (!receiver_view_drain(&run->receiver, err))
        return false;
    if (receiver_view_is_streaming(&run->receiver, system))
        return true;
    if (!backup_run_phase(run, "receiver", run->job->server->name, 0, err))
        return false;
    while (!receiver_view_is_streaming(&run->receiver, system)) {
        int64_t deadline = began_at + receiver_view_patience(&run->receiver, most_patience(run));
        bool is_late = false;
        if (!receiver_view_wait(&run->receiver, deadline, &is_late, err))
            return false;
        if (is_late)
            return fail_without_receiver(run, system, err);
    }
    return true;
}

static bool open_archive(const struct backup_run *run, const struct backup_meta *meta, struct wal_archive *ret_archive,
                         struct error *err)
{
    return wal_archive_open(&run->job->repo, run->job->server->name, &meta->system, meta->segment_size, ret_archive,
                            err);
}

/* The whole segment of the start is needed: recovery begins to read at its first page. */
static bool is_start_held(const struct wal_ranges *ranges, const struct backup_meta *meta)
{
    struct wal_segment segment = wal_segment_at(meta->start_timeline, meta->start_position, meta->segment_size);
    struct wal_position first = wal_segment_start(segment, meta->segment_size);

    for (size_t i = 0; i < ranges->count; i++) {
        const struct wal_range *range = &ranges->ranges[i];
        if (range->timeline.value == meta->start_timeline.value && range->start.value <= first.value &&
            first.value < range->end.value)
            return true;
    }
    return false;
}

static bool fail_without_start(const struct backup_run *run, const struct backup_meta *meta, struct error *err)
{
    char place[REACH_PLACE_SIZE];
    char flushed[WAL_POSITION_TEXT_SIZE];

    reach_format_place(meta->start_timeline, meta->start_position, meta->segment_size, place);
    wal_position_format(run->receiver.flushed, flushed);
    error_set(err, ERROR_INTEGRITY, "the backup would need %s, which is not held and was not received", place);
    error_detail(err, "The WAL receiver of \"%s\" is at %s on timeline %" PRIu32 " already.", run->job->server->name,
                 flushed, run->receiver.timeline.value);
    return error_hint(err, "On a standby, run CHECKPOINT on its primary, wait for the standby's next restartpoint, and "
                           "take the backup again.");
}

bool required_wal_check_start(struct backup_run *run, const struct backup_meta *meta, struct error *err)
{
    int64_t deadline = clock_monotonic() + most_patience(run);
    struct wal_archive archive;

    if (!open_archive(run, meta, &archive, err))
        return false;
    for (;;) {
        struct wal_ranges ranges SCOPED(scoped_ranges) = {0};
        const struct receiver_view *view = &run->receiver;
        bool is_late = false;
        if (!receiver_view_drain(&run->receiver, err) || !wal_archive_ranges(&archive, &ranges, err))
            return false;
        if (is_start_held(&ranges, meta))
            return true;
        if (view->flushed.value != 0 && view->timeline.value <= meta->start_timeline.value &&
            view->flushed.value <= meta->start_position.value)
            return true;
        if (view->flushed.value != 0)
            return fail_without_start(run, meta, err);
        /* It has only just begun to stream: its first report tells. */
        if (!receiver_view_wait(&run->receiver, deadline, &is_late, err))
            return false;
        if (is_late)
            return fail_without_start(run, meta, err);
    }
}

bool required_wal_lease(const struct backup_run *run, const struct backup_meta *meta, struct error *err)
{
    const struct repo *repo = &run->job->repo;
    const char *server = run->job->server->name;
    const struct retention_lease lease = {meta->start_timeline, meta->start_timeline, meta->start_position};
    char name[WAL_LEASE_NAME_SIZE];
    struct wal_archive archive;
    struct wal_ranges expired SCOPED(scoped_ranges) = {0};

    if (!open_archive(run, meta, &archive, err) || !repo_create_system(repo, server, &meta->system, err) ||
        !wal_leases_release(repo, server, &meta->system, WAL_LEASE_BACKUP, err) ||
        !wal_lease_write(repo, server, &meta->system, WAL_LEASE_BACKUP, &lease, name, err))
        return false;
    wal_expired_read(&archive, &expired);
    if (!wal_expired_touches(&expired, meta->start_timeline, meta->start_position,
                             (struct wal_position){meta->start_position.value + 1}))
        return true;
    error_set(err, ERROR_BUSY, "retention has just removed WAL that the backup would need");
    return error_hint(err, "On a standby, run CHECKPOINT on its primary, wait for the standby's next restartpoint, and "
                           "take the backup again.");
}

void required_wal_release(const struct backup_run *run, const struct backup_meta *meta)
{
    struct error failure;

    if (meta->start_position.value != 0 &&
        !wal_leases_release(&run->job->repo, run->job->server->name, &meta->system, WAL_LEASE_BACKUP, &failure))
        log_failure(LOG_LEVEL_WARNING, &failure); /* it runs out */
}

/* Has the last byte been fsynced? A partial segment's file may hold bytes that are not. */
static bool is_end_durable(const struct backup_run *run, const struct wal_archive *archive,
                           const struct backup_meta *meta, bool *ret_is_durable, struct error *err)
{
    const struct receiver_view *view = &run->receiver;
    struct wal_segment last = wal_segment_before(meta->end_timeline, meta->end_position, meta->segment_size);
    struct wal_file file;

    if (!wal_archive_stat(archive, last, &file, err))
        return false;
    bool is_same_system = strcmp(view->system, meta->system.text) == 0;
    *ret_is_durable = file.state == WAL_FILE_RAW || file.state == WAL_FILE_COMPRESSED ||
                      (is_same_system && view->timeline.value == meta->end_timeline.value &&
                       view->flushed.value >= meta->end_position.value) ||
                      /* it leaves a timeline only after all of it is durable */
                      (is_same_system && view->timeline.value > meta->end_timeline.value);
    return true;
}

static bool lose(struct error *ret_reason, enum required_wal_state *ret_state, const struct backup_meta *meta,
                 struct timeline timeline, struct wal_position missing)
{
    char place[REACH_PLACE_SIZE];

    reach_format_place(timeline, missing, meta->segment_size, place);
    error_set(ret_reason, ERROR_INTEGRITY, "backup %s needs %s, which was never received", meta->id.text, place);
    error_hint(ret_reason, "Delete it with \"pgcoffer delete %s %s\" and take another backup.", meta->server,
               meta->id.text);
    *ret_state = REQUIRED_WAL_LOST;
    return true;
}

/* The receiver has left the backup's end behind: what is not held by now never comes. */
static bool is_past_end(const struct backup_run *run, const struct backup_meta *meta)
{
    const struct receiver_view *view = &run->receiver;

    if (!view->is_known || strcmp(view->state, "streaming") != 0)
        return false;
    if (strcmp(view->system, meta->system.text) != 0 || view->timeline.value > meta->end_timeline.value)
        return true;
    return view->timeline.value == meta->end_timeline.value && view->flushed.value >= meta->end_position.value;
}

bool required_wal_look(struct backup_run *run, const struct backup_meta *meta, enum required_wal_state *ret_state,
                       struct error *ret_reason, struct error *err)
{
    struct wal_archive archive;

    *ret_state = REQUIRED_WAL_COMING;
    if (!open_archive(run, meta, &archive, err))
        return false;
    /* The receiver's view is older than the look at the disk that follows: what it says is durable is there. */
    bool may_be_lost = is_past_end(run, meta);
    bool is_durable = false;
    if (!is_end_durable(run, &archive, meta, &is_durable, err))
        return false;
    if (!is_durable && !may_be_lost)
        return true; /* the usual report while it waits: one look at one file, not at the whole archive */
    struct wal_ranges ranges SCOPED(scoped_ranges) = {0};
    struct history history SCOPED(scoped_history) = {0};
    struct timeline missing_timeline;
    struct wal_position missing;
    if (!wal_archive_ranges(&archive, &ranges, err))
        return false;
    if (!wal_archive_history(&archive, meta->end_timeline, &history, err)) {
        if (err->errnum != ENOENT)
            return false;
        return !may_be_lost || lose(ret_reason, ret_state, meta, meta->end_timeline, meta->end_position);
    }
    if (!wal_ranges_cover(&ranges, &history, meta->start_timeline, meta->start_position, meta->end_position,
                          meta->segment_size, &missing_timeline, &missing))
        return !may_be_lost || lose(ret_reason, ret_state, meta, missing_timeline, missing);
    *ret_state = is_durable ? REQUIRED_WAL_DURABLE : REQUIRED_WAL_COMING;
    return true;
}
