#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "jobs/backup/backup_internal.h"
#include "jobs/events_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/catalogue.h"

/* Once, when the wait begins: a backup that waits for a receiver that waits for the server looks as if it hung. */
static bool say_why_it_waits(struct backup_run *run, const struct backup_meta *meta, struct error *err)
{
    const struct receiver_view *view = &run->receiver;
    char end[WAL_POSITION_TEXT_SIZE];

    if (!view->is_known || strcmp(view->state, "streaming") == 0)
        return true;
    wal_position_format(meta->end_position, end);
    return events_log(run->events, err, "warning",
                      "backup %s is copied and waits for WAL up to %s; the receiver is %s: %s", meta->id.text, end,
                      view->state, view->has_error ? view->error.message : "no error");
}

/* *ret_is_durable false: it never will be, and *ret_reason says why. */
static bool await_wal(struct backup_run *run, const struct backup_meta *meta, bool *ret_is_durable,
                      struct error *ret_reason, struct error *err)
{
    char end[WAL_POSITION_TEXT_SIZE];
    enum required_wal_state state;
    bool is_late = false;

    wal_position_format(meta->end_position, end);
    if (!backup_run_phase(run, "wal", end, 0, err) || !receiver_view_drain(&run->receiver, err) ||
        !say_why_it_waits(run, meta, err))
        return false;
    for (;;) {
        if (!required_wal_look(run, meta, &state, ret_reason, err))
            return false;
        if (state != REQUIRED_WAL_COMING) {
            *ret_is_durable = state == REQUIRED_WAL_DURABLE;
            return true;
        }
        if (!receiver_view_wait(&run->receiver, 0, &is_late, err))
            return false;
    }
}

static bool commit(struct backup_run *run, struct backup_meta *meta, struct error *err)
{
    meta->state = meta->checksum_failures > 0 ? BACKUP_DAMAGED : BACKUP_COMPLETE;
    return backup_meta_write(&run->job->repo, meta, err);
}

bool finish_backup(struct backup_run *run, struct backup_meta *meta, struct error *err)
{
    bool is_durable = false;
    struct error reason;

    if (!await_wal(run, meta, &is_durable, &reason, err)) {
        if (err->errnum == ECANCELED)
            error_hint(err, "Backup %s is copied; when the daemon starts again, it is completed.", meta->id.text);
        return false;
    }
    if (!is_durable) {
        *err = reason;
        return false;
    }
    return commit(run, meta, err);
}

static bool finish_one(struct backup_run *run, struct backup_meta *meta, json_t *resumed, struct error *err)
{
    bool is_durable = false;
    struct error reason;

    if (!await_wal(run, meta, &is_durable, &reason, err))
        return false;
    if (!is_durable)
        return events_log(run->events, err, "warning", "could not complete a backup: %s", reason.message);
    if (!commit(run, meta, err))
        return false;
    json_array_append_new(resumed, json_string(meta->id.text));
    return true;
}

static void scoped_catalogue(struct catalogue *catalogue)
{
    catalogue_done(catalogue);
}

static bool finish_each(struct backup_run *run, json_t *resumed, struct error *err)
{
    struct catalogue catalogue SCOPED(scoped_catalogue) = {0};

    if (!catalogue_read(&run->job->repo, run->job->server->name, &catalogue, err))
        return false;
    for (size_t i = 0; i < catalogue.count; i++) {
        struct backup_meta *meta = catalogue.entries[i].meta;
        if (meta != NULL && meta->state == BACKUP_COPIED && !finish_one(run, meta, resumed, err))
            return false;
    }
    return true;
}

bool finish_left_over(struct backup_run *run, json_t **ret_result, struct error *err)
{
    unsigned swept = 0;
    json_t *resumed SCOPED(scoped_json) = json_array();

    if (!catalogue_sweep(&run->job->repo, run->job->server->name, &swept, err) || !finish_each(run, resumed, err))
        return false;
    *ret_result = json_pack("{s:i, s:O}", "swept", (int)swept, "resumed", resumed);
    return true;
}
