#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jobs/lease_internal.h"
#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MOST_INDEX_BYTES (UINT64_C(1) << 30)
#define MOST_PG_CONTROL  (64u << 10)

void restore_warn(struct restore *restore, const char *format, ...)
{
    char message[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    json_array_append_new(restore->warnings, control_text(message));
    if (restore->options->warn != NULL)
        restore->options->warn(restore->options->context, message);
}

static void send_progress(const struct restore *restore)
{
    if (restore->options->progress != NULL)
        restore->options->progress(restore->options->context, &restore->meter.progress);
}

void restore_end_phase(struct restore *restore)
{
    if (restore->meter.progress.total_bytes == 0)
        return;
    progress_meter_finish(&restore->meter, clock_monotonic(), restore->phase_bytes);
    send_progress(restore);
}

void restore_enter_phase(struct restore *restore, const char *phase, uint64_t total_bytes)
{
    restore_end_phase(restore);
    restore->phase_bytes = 0;
    progress_meter_phase(&restore->meter, clock_monotonic(), phase, "", total_bytes);
    send_progress(restore);
}

void restore_advance(struct restore *restore, const char *item, uint64_t bytes)
{
    restore->phase_bytes += bytes;
    progress_meter_item(&restore->meter, item);
    if (progress_meter_advance(&restore->meter, clock_monotonic(), restore->phase_bytes))
        send_progress(restore);
}

bool restore_may_go_on(const struct restore *restore, struct error *err)
{
    const struct restore_options *options = restore->options;

    if (options->is_interrupted == NULL || !options->is_interrupted(options->context))
        return true;
    error_set(err, ERROR_FAILED, "the restore was interrupted");
    err->errnum = ECANCELED;
    return false;
}

unsigned restore_jobs(const struct restore *restore)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned jobs = restore->options->jobs;

    if (jobs == 0)
        jobs = cores > 0 ? (unsigned)cores : 1;
    return jobs < RESTORE_MOST_JOBS ? jobs : RESTORE_MOST_JOBS;
}

/* ---- before the first byte ---- */

static bool check_user(struct error *err)
{
    if (geteuid() != 0)
        return true;
    error_set(err, ERROR_USAGE, "root does not restore: PostgreSQL refuses to run on a data directory of root's");
    return error_hint(err, "Add --owner USER, with the OS user that runs PostgreSQL, for example --owner postgres.");
}

static bool keep_bytes(void *context, const void *bytes, size_t size, struct error *err)
{
    return buffer_append(context, bytes, size, err);
}

static bool fetch_index(struct restore *restore, struct error *err)
{
    struct buffer stored SCOPED(buffer_done) = BUFFER_WITH_LIMIT(MOST_INDEX_BYTES);

    if (!session_read_file(restore, "index.jsonl.zst", keep_bytes, &stored, err))
        return false;
    if (index_read_compressed(stored.bytes, stored.used, &restore->index, err))
        return true;
    return error_wrap(err, "\"index.jsonl.zst\" of backup %s", restore->plan.backup);
}

static bool has_file(const struct index *index, const char *path)
{
    for (size_t i = 0; i < index->member_count; i++)
        if (strcmp(index->members[i].path, path) == 0 && strcmp(index->members[i].archive, "base") == 0)
            return true;
    return false;
}

/* Each place has its archive, and what makes it a backup is there: without backup_label PostgreSQL would start all the
 * same, on a mixture of old and new pages. */
static bool check_index(const struct restore *restore, struct error *err)
{
    for (size_t i = 0; i < restore->place_count; i++) {
        char *file SCOPED(scoped_free) = memory_text("%s.tar.zst", restore->places[i].archive);
        if (restore_plan_file(&restore->plan, file) == NULL)
            return error_set(err, ERROR_INTEGRITY, "backup %s has no \"%s\"", restore->plan.backup, file);
    }
    if (!has_file(&restore->index, "backup_label") || !has_file(&restore->index, RESTORE_PG_CONTROL))
        return error_set(err, ERROR_INTEGRITY, "backup %s has no backup_label or no " RESTORE_PG_CONTROL,
                         restore->plan.backup);
    return true;
}

bool restore_read_index(struct restore *restore, struct error *err)
{
    return fetch_index(restore, err) && check_index(restore, err);
}

static bool is_accepted(const struct restore *restore, struct error *err)
{
    const struct restore_options *options = restore->options;

    return options->accept == NULL || options->accept(options->context, restore->plan.json, err);
}

static bool prepare(struct restore *restore, struct error *err)
{
    return recovery_settings_check(restore->options, err) && check_user(err) && restore_plan_ask(restore, err) &&
           is_accepted(restore, err) && restore_choose_places(restore, err) && restore_read_index(restore, err) &&
           restore_check_room(restore, err) && restore_may_go_on(restore, err);
}

/* What a dry run can say without having written anything. */
static void count_bytes(struct restore *restore)
{
    for (size_t i = 0; i < restore->index.frame_count; i++)
        restore->written_bytes += restore->index.frames[i].length;
    for (size_t i = 0; i < restore->index.member_count; i++)
        restore->file_count += restore->index.members[i].type == MEMBER_FILE;
}

/* ---- from the first byte on ---- */

static bool copy_to_places(struct restore *restore, struct error *err)
{
    struct writer *writer = writer_new(restore);
    const struct frame_sink sink = {writer_take, writer_finish, writer};
    bool is_copied = restore_copy(restore, &sink, err);

    writer_free(writer);
    return is_copied;
}

static bool write_everything(struct restore *restore, struct error *err)
{
    return restore_make_places(restore, err) && restore_write_manifest(restore, err) && copy_to_places(restore, err) &&
           restore_write_recovery_files(restore, err) && restore_fetch_wal(restore, err) &&
           restore_sync(restore, err) && restore_release(restore, err);
}

static void restore_done(struct restore *restore)
{
    control_stream_free(restore->session);
    restore_places_done(restore);
    index_done(&restore->index);
    buffer_done(&restore->pg_control);
    json_decref(restore->warnings);
    restore_plan_done(&restore->plan);
}

/* What cannot be promised is said; what the recovery wants may be there all the same. */
static void leave_lease(struct restore *restore)
{
    const struct restore_plan *plan = &restore->plan;
    const struct lease_wish wish = {plan->server, plan->backup, plan->timeline, "restore"};
    json_t *answer SCOPED(scoped_json) = NULL;
    struct error failure;

    if (lease_take(restore->connector, &wish, &answer, &failure))
        restore->lease_days = (unsigned)json_number_or(answer, "days", 0);
    else
        restore_warn(restore, "retention may remove WAL before the restored server has replayed it: %s",
                     failure.message);
}

bool restore_run(const struct restore_options *options, const struct connector *connector, json_t **ret_result,
                 struct error *err)
{
    struct outage outage = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct restore restore SCOPED(restore_done) = {.options = options,
                                                   .connector = connector,
                                                   .pg_control = BUFFER_WITH_LIMIT(MOST_PG_CONTROL),
                                                   .warnings = json_array(),
                                                   .outage = &outage,
                                                   .started_at = clock_monotonic()};

    progress_meter_start(&restore.meter, restore.started_at);
    restore_enter_phase(&restore, "plan", 0);
    if (!prepare(&restore, err))
        return false;
    if (options->leaves_lease && !options->is_dry_run)
        leave_lease(&restore);
    if (options->is_dry_run)
        count_bytes(&restore);
    else if (!write_everything(&restore, err))
        return restore_fail_incomplete(&restore, err);
    *ret_result = restore_result(&restore);
    return true;
}
