#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "jobs/backup/backup_internal.h"
#include "jobs/events_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/file_lock.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MICROSECONDS 1e6

bool backup_run_phase(struct backup_run *run, const char *phase, const char *item, uint64_t total_bytes,
                      struct error *err)
{
    int64_t now = clock_monotonic();

    progress_meter_phase(&run->meter, now, phase, item, total_bytes);
    (void)progress_meter_advance(&run->meter, now, 0);
    return progress_meter_send(&run->meter, run->events, err);
}

static bool is_resume(const struct job *job)
{
    return json_is_set(job->worker->start, "resume");
}

static bool lock(const struct job *job, struct file_lock *ret_lock, struct error *err)
{
    const char *server = job->server->name;
    const char *caller = json_text_or(job->worker->start, "caller", "the daemon");
    const char *id = json_text_or(job->worker->start, "job", "-");
    char now[TIMESTAMP_TEXT_SIZE];
    char *folder SCOPED(scoped_free) = repo_server_path(&job->repo, server, "");
    char *path SCOPED(scoped_free) = repo_lock_path(&job->repo, server, "backup.lock");

    if (!file_make_directories(folder, job->repo.folder_mode, err))
        return false;
    timestamp_format(clock_now(), now);
    char *holder SCOPED(scoped_free) =
        memory_text("pid %d, %s of \"%s\" (job %s) since %s for %s", (int)getpid(),
                    is_resume(job) ? "completion of left over backups" : "backup", server, id, now, caller);
    if (file_lock_exclusive(path, holder, ret_lock, err))
        return true;
    if (err->kind == ERROR_BUSY) {
        error_wrap(err, "a backup of \"%s\" is running already", server);
        error_hint(err, "See \"pgcoffer jobs\"; \"pgcoffer follow JOB\" shows it, \"pgcoffer cancel JOB\" ends it.");
    }
    return false;
}

/* The server found bad pages: the backup is kept, and the command says so by its exit status. */
static bool report_damage(const struct backup_meta *meta, struct error *err)
{
    error_set(err, ERROR_INTEGRITY,
              "the server reported %llu page%s with a wrong checksum; backup %s is kept as damaged",
              (unsigned long long)meta->checksum_failures, meta->checksum_failures == 1 ? "" : "s", meta->id.text);
    for (size_t i = 0; i < meta->notice_count; i++)
        if (strstr(meta->notices[i], "checksum") != NULL) {
            error_detail(err, "%.900s", meta->notices[i]);
            break;
        }
    return error_hint(err,
                      "Repair the data directory of \"%s\" (pg_amcheck, or a restore of an older backup); this backup "
                      "restores only when it is named.",
                      meta->server);
}

static bool take_and_finish(struct backup_run *run, json_t **ret_result, struct error *err)
{
    struct backup_meta *meta SCOPED(scoped_backup_meta) = NULL;
    int64_t started_at = clock_monotonic();

    if (!take_backup(run, &meta, err) || !finish_backup(run, meta, err))
        return false;
    if (meta->checksum_failures > 0)
        return report_damage(meta, err);
    *ret_result = events_backup(meta);
    json_object_set_new(*ret_result, "duration_seconds",
                        json_real((double)(clock_monotonic() - started_at) / MICROSECONDS));
    return true;
}

static bool run_backup(struct job *job, json_t **ret_result, struct error *err)
{
    struct file_lock held SCOPED(file_lock_done) = FILE_LOCK_NONE;
    struct backup_run run = {.job = job, .events = job->worker->channel};

    progress_meter_start(&run.meter, clock_monotonic());
    receiver_view_begin(&run.receiver, job->worker);
    if (!lock(job, &held, err))
        return false;
    return is_resume(job) ? finish_left_over(&run, ret_result, err) : take_and_finish(&run, ret_result, err);
}

int job_backup_main(struct job *job)
{
    json_t *result SCOPED(scoped_json) = NULL;
    struct error failure;
    struct error ignored;

    /* Compressing threads share two arenas, and what one phase needed goes back before the next. */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    if (run_backup(job, &result, &failure)) {
        if (control_send_result(job->worker->channel, TAKE(result), &failure))
            return EXIT_SUCCESS;
    } else if (control_send_error(job->worker->channel, &failure, &ignored)) {
        return error_exit_status(&failure);
    }
    log_failure(LOG_LEVEL_ERROR, &failure);
    return error_exit_status(&failure);
}
