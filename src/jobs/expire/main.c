#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jobs/expire/expire_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/job.h"
#include "pgcoffer/repo/wal_expire.h"
#include "pgcoffer/repo/wal_lease.h"

/* What a run has done; the same numbers for a preview. */
struct outcome {
    size_t backups;
    uint64_t segments, backup_bytes, wal_bytes;
};

/* ---- what goes ---- */

/* Somebody reads it, or has pinned it since: it stays this time, and its WAL with it. */
static bool is_left_alone(const struct error *failure)
{
    return failure->kind == ERROR_BUSY || failure->kind == ERROR_FAILED;
}

static bool remove_backups(struct expire *expire, struct outcome *outcome, struct error *err)
{
    for (size_t i = 0; i < expire->stock.count; i++) {
        const struct catalogue_entry *entry = &expire->catalogue.entries[i];
        uint64_t freed = 0;
        struct error failure;
        if (expire->verdicts[i].is_kept)
            continue;
        if (catalogue_delete(expire->repo, expire->server, entry, false, &freed, &failure)) {
            outcome->backups++;
            outcome->backup_bytes += freed;
            continue;
        }
        if (!is_left_alone(&failure)) {
            *err = failure;
            return false;
        }
        expire->verdicts[i] = (struct retention_verdict){.is_kept = true, .rule = RETENTION_RULE_IN_USE};
        snprintf(expire->verdicts[i].words, sizeof expire->verdicts[i].words,
                 "it is being read, or was pinned meanwhile");
        expire_warn(expire, "backup %s stays until the next time: %.250s", entry->id.text, failure.message);
    }
    return true;
}

/* Notes what is about to go, and that what was announced and stays all the same does not. */
static bool announce(const struct expire *expire, const struct expire_wal *wal, struct error *err)
{
    struct wal_ranges expired, kept;

    retention_expired(&wal->view, wal->verdicts, &expired);
    retention_kept(&expire->stock, expire->verdicts, &wal->view, wal->verdicts, &kept);
    bool ok = wal_expired_note(&wal->archive, &expired, &kept, err);
    wal_ranges_done(&expired);
    wal_ranges_done(&kept);
    return ok;
}

/*
 * A restore writes its lease and then looks whether its WAL was announced to go; here it is announced first, and then
 * looked for leases. So one of the two sees the other, whichever way they meet.
 */
static bool remove_wal(struct expire *expire, struct expire_wal *wal, struct outcome *outcome, struct error *err)
{
    bool *is_removed SCOPED(scoped_free) = memory_new((wal->files.count + 1) * sizeof *is_removed);
    uint64_t segments = 0, bytes = 0;
    bool is_new = true;

    while (is_new) {
        if (!announce(expire, wal, err) || !expire_read_leases(expire, wal, &is_new, err))
            return false;
        if (is_new)
            expire_decide_wal(expire);
    }
    for (size_t i = 0; i < wal->files.count; i++)
        is_removed[i] = !wal->verdicts[i].is_kept;
    bool ok = wal_archive_expire(&wal->archive, &wal->files, is_removed, &segments, &bytes, err) &&
              wal_leases_clean(expire->repo, expire->server, &wal->archive.system, expire->stock.now, err);
    outcome->segments += segments;
    outcome->wal_bytes += bytes;
    return ok;
}

static bool remove_all(struct expire *expire, struct outcome *outcome, struct error *err)
{
    if (!remove_backups(expire, outcome, err))
        return false;
    expire_decide_wal(expire);
    for (size_t i = 0; i < expire->wal_count; i++)
        if (expire->wal[i].archive.segment_size.bytes != 0 && !remove_wal(expire, &expire->wal[i], outcome, err))
            return error_wrap(err, "could not remove WAL of \"%s\"", expire->server);
    return true;
}

static void count_all(const struct expire *expire, struct outcome *outcome)
{
    for (size_t i = 0; i < expire->stock.count; i++)
        if (!expire->verdicts[i].is_kept) {
            const struct backup_meta *meta = expire->catalogue.entries[i].meta;
            outcome->backups++;
            outcome->backup_bytes += meta != NULL ? meta->stored_bytes : 0;
        }
    for (size_t i = 0; i < expire->wal_count; i++)
        for (size_t j = 0; j < expire->wal[i].files.count; j++)
            if (!expire->wal[i].verdicts[j].is_kept) {
                outcome->segments++;
                outcome->wal_bytes += expire->wal[i].files.files[j].stored_bytes;
            }
}

/* ---- one server, and all ---- */

static json_t *outcome_to_json(const struct expire *expire, const struct outcome *outcome, bool is_preview)
{
    return json_pack("{s:s, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:O, s:n}", "server", expire->server, "dry_run",
                     (int)is_preview, "policy", expire_policy_to_json(&expire->policy), "removed_backups",
                     (json_int_t)outcome->backups, "removed_segments", (json_int_t)outcome->segments,
                     "freed_backup_bytes", (json_int_t)outcome->backup_bytes, "freed_wal_bytes",
                     (json_int_t)outcome->wal_bytes, "freed_bytes",
                     (json_int_t)(outcome->backup_bytes + outcome->wal_bytes), "warnings", expire->warnings, "error");
}

/* A server that nothing was ever stored of has no folder, and nothing to be locked. */
static bool lock_server(const struct job *job, const char *server, struct file_lock *ret_lock, struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_server_path(&job->repo, server, "");
    char *path SCOPED(scoped_free) = repo_lock_path(&job->repo, server, "expire.lock");
    char holder[64];

    if (access(folder, F_OK) != 0)
        return true;
    snprintf(holder, sizeof holder, "pid %d, expire", (int)getpid());
    return file_lock_exclusive(path, holder, ret_lock, err) ||
           error_wrap(err, "retention is applied to \"%s\" already", server);
}

static bool expire_server(const struct job *job, const struct server_config *server, json_t **ret_result,
                          struct error *err)
{
    const struct request *request = &job->worker->request;
    bool is_preview = request_has(request, OPTION_ID_explain);
    struct file_lock lock SCOPED(file_lock_done) = FILE_LOCK_NONE;
    struct expire expire SCOPED(expire_done) = {.server = ""};
    struct retention_policy policy;
    struct outcome outcome = {0};
    uint64_t swept = 0;

    if (!expire_policy(&server->settings, request, &policy, err) ||
        (!is_preview && !lock_server(job, server->name, &lock, err)) ||
        (!is_preview && !catalogue_sweep_deleted(&job->repo, server->name, &swept, err)) ||
        !expire_open(&job->repo, server->name, &policy, clock_now(), &expire, err))
        return false;
    outcome.backup_bytes = swept;
    expire_decide(&expire);
    if (is_preview)
        count_all(&expire, &outcome);
    else if (!remove_all(&expire, &outcome, err))
        return false;
    if (!expire_tell(&expire, job->worker->channel, err))
        return false;
    *ret_result = outcome_to_json(&expire, &outcome, is_preview);
    return true;
}

/* One server's failure is no reason to leave the others full. */
static bool run(const struct job *job, json_t **ret_result, struct error *err)
{
    json_t *results SCOPED(scoped_json) = json_array();
    struct error first = {.kind = ERROR_FAILED}, failure;
    size_t failed = 0;

    for (size_t i = 0; i < job->config->server_count; i++) {
        const struct server_config *server = &job->config->servers[i];
        json_t *result = NULL;
        if (job->server != NULL && strcmp(job->server->name, server->name) != 0)
            continue;
        if (!expire_server(job, server, &result, &failure)) {
            result = json_pack("{s:s, s:o}", "server", server->name, "error", control_text(failure.message));
            if (failed++ == 0)
                first = failure;
            if (job->server == NULL)
                log_failure(LOG_LEVEL_WARNING, &failure);
        }
        json_array_append_new(results, result);
    }
    if (failed > 0) {
        *err = first;
        return failed == 1 ? false
                           : error_detail(err, "It is the first of %zu servers that retention could not be applied to.",
                                          failed);
    }
    *ret_result = json_pack("{s:O}", "servers", results);
    return true;
}

int job_expire_main(struct job *job)
{
    return job_answer(job, run);
}
