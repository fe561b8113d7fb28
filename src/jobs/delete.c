#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/jobs/job.h"
#include "pgcoffer/repo/catalogue.h"

static bool check_not_required(const struct catalogue *catalogue, const struct catalogue_entry *entry,
                               struct error *err)
{
    for (size_t i = 0; i < catalogue->count; i++) {
        const struct catalogue_entry *other = &catalogue->entries[i];
        if (other == entry || other->meta == NULL)
            continue;
        json_t *json SCOPED(scoped_json) = backup_meta_to_json(other->meta);
        const json_t *needed;
        size_t j;
        json_array_foreach(json_object_get(json, "requires_backups"), j, needed)
        {
            const char *id = json_string_value(needed);
            if (id != NULL && strcmp(id, entry->id.text) == 0) {
                error_set(err, ERROR_FAILED, "backup %s needs backup %s", other->id.text, entry->id.text);
                return error_hint(err, "Delete %s first.", other->id.text);
            }
        }
    }
    return true;
}

static bool check_not_last(const struct catalogue *catalogue, const struct catalogue_entry *entry, const char *server,
                           struct error *err)
{
    if (!catalogue_is_usable(entry))
        return true;
    for (size_t i = 0; i < catalogue->count; i++) {
        const struct catalogue_entry *other = &catalogue->entries[i];
        if (other != entry && catalogue_is_usable(other) && strcmp(other->system.text, entry->system.text) == 0)
            return true;
    }
    error_set(err, ERROR_FAILED, "backup %s is the last usable one of \"%s\"", entry->id.text, server);
    return error_hint(err, "\"pgcoffer delete --force %s %s\" deletes it all the same.", server, entry->id.text);
}

static bool check_readable(const struct catalogue_entry *entry, const char *server, struct error *err)
{
    if (entry->meta != NULL)
        return true;
    error_set(err, ERROR_FAILED, "what backup %s is cannot be told: %.1500s", entry->id.text, entry->error.message);
    return error_hint(err, "\"pgcoffer delete --force %s %s\" deletes it all the same.", server, entry->id.text);
}

/* A backup that waits for WAL may belong to a running job, which would go on to complete it. */
static bool lock_waiting(const struct job *job, const struct catalogue_entry *entry, struct file_lock *ret_lock,
                         struct error *err)
{
    if (entry->meta == NULL || entry->meta->state != BACKUP_COPIED)
        return true;
    char *path SCOPED(scoped_free) = repo_lock_path(&job->repo, job->server->name, "backup.lock");
    return file_lock_exclusive(path, NULL, ret_lock, err) ||
           error_wrap(err, "backup %s is not complete and a job waits for its WAL", entry->id.text);
}

/* The pin first: whoever reads only that the backup is the last one would not mean to force the pin, too. */
static bool check_unforced(const struct job *job, const struct catalogue *catalogue,
                           const struct catalogue_entry *entry, struct error *err)
{
    const char *server = job->server->name;

    return catalogue_check_not_pinned(&job->repo, server, entry, err) && check_readable(entry, server, err) &&
           check_not_last(catalogue, entry, server, err);
}

/* Two that remove at the same time would each take the other's backup for the one that stays. */
static bool lock_removal(const struct job *job, struct file_lock *ret_lock, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_lock_path(&job->repo, job->server->name, "expire.lock");
    char holder[64];

    snprintf(holder, sizeof holder, "pid %d, delete", (int)getpid());
    if (file_lock_exclusive(path, holder, ret_lock, err))
        return true;
    error_wrap(err, "backups of \"%s\" are being removed already", job->server->name);
    return error_hint(err, "Give the command again when that has ended.");
}

static bool find(const struct job *job, struct catalogue *ret_catalogue, const struct catalogue_entry **ret_entry,
                 struct error *err)
{
    catalogue_done(ret_catalogue);
    return catalogue_read(&job->repo, job->server->name, ret_catalogue, err) &&
           catalogue_find_any(ret_catalogue, job->worker->request.backup, ret_entry, err);
}

static bool run(const struct job *job, json_t **ret_result, struct error *err)
{
    const char *server = job->server->name;
    bool is_forced = request_has(&job->worker->request, OPTION_ID_force);
    struct file_lock removal SCOPED(file_lock_done) = FILE_LOCK_NONE;
    struct file_lock held SCOPED(file_lock_done) = FILE_LOCK_NONE;
    struct catalogue catalogue SCOPED(catalogue_done) = {.entries = NULL};
    const struct catalogue_entry *entry;
    uint64_t freed = 0;

    /* A server that nothing is stored of has no folder for the lock; then what there is, is looked at anew. */
    if (!find(job, &catalogue, &entry, err) || !lock_removal(job, &removal, err) ||
        !find(job, &catalogue, &entry, err) || !check_not_required(&catalogue, entry, err) ||
        (!is_forced && !check_unforced(job, &catalogue, entry, err)))
        return false;
    if (!lock_waiting(job, entry, &held, err) || !catalogue_delete(&job->repo, server, entry, is_forced, &freed, err))
        return false;
    *ret_result =
        json_pack("{s:s, s:s, s:I}", "server", server, "backup", entry->id.text, "freed_bytes", (json_int_t)freed);
    return true;
}

int job_delete_main(struct job *job)
{
    return job_answer(job, run);
}
