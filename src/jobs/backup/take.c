#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/backup/backup_internal.h"
#include "jobs/backup/copy_internal.h"
#include "jobs/backup/label_internal.h"
#include "jobs/events_internal.h"
#include "jobs/host_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/pg/base_backup.h"

#define MOST_NOTICES 100
#define ALGORITHM    CHECKSUM_CRC32C
/* Clocks that differ less are taken for the same: START TIME has whole seconds only. */
#define SAME_CLOCK_MICROSECONDS INT64_C(2000000)

struct taking {
    struct backup_run *run;
    struct backup_meta *meta;
    struct pg_connection *connection;
    struct base_backup *source;
    struct copy_outcome outcome;
    char *folder; /* once it exists */
    struct timestamp copy_started_at;
    uint64_t bad_page_warnings;
};

static void taking_done(struct taking *taking)
{
    base_backup_free(taking->source);
    pg_disconnect(taking->connection);
    backup_meta_free(taking->meta);
    buffer_done(&taking->outcome.label);
    free(taking->folder);
}

static const struct settings *settings_of(const struct taking *taking)
{
    return &taking->run->job->server->settings;
}

/* The words stay with the backup; warnings are shown at once as well. Bad pages are counted by the English words:
 * in another language the count is one, and what decides is the server's error at the end. */
static void take_notice(void *context, const char *severity, const char *sqlstate, const char *message)
{
    struct taking *taking = context;
    char line[512];
    struct error ignored;

    (void)sqlstate;
    snprintf(line, sizeof line, "%s: %s", severity, message);
    text_make_printable(line);
    if (taking->meta->notice_count < MOST_NOTICES)
        backup_meta_add_notice(taking->meta, line);
    if (strstr(message, "checksum verification failed in file") != NULL)
        taking->bad_page_warnings++;
    if (strcmp(severity, "WARNING") == 0 && !events_log(taking->run->events, &ignored, "warning", "server: %s", line))
        return; /* a supervisor that is gone shows in the next progress */
}

static bool read_settings(struct taking *taking, struct error *err)
{
    struct backup_meta *meta = taking->meta;
    char text[16];

    if (!pg_segment_size(taking->connection, &meta->segment_size, err) ||
        !pg_show(taking->connection, "data_directory_mode", meta->data_directory_mode, sizeof meta->data_directory_mode,
                 err) ||
        !pg_show(taking->connection, "data_checksums", text, sizeof text, err))
        return false;
    meta->has_data_checksums = strcmp(text, "on") == 0;
    return true;
}

static bool identify(struct taking *taking, struct error *err)
{
    struct backup_meta *meta = taking->meta;
    const struct pg_session *session = pg_session(taking->connection);
    struct pg_identity identity;

    if (!pg_identify(taking->connection, &identity, err))
        return false;
    snprintf(meta->system.text, sizeof meta->system.text, "%" PRIu64, identity.system_identifier);
    meta->server_version = session->server_version;
    snprintf(meta->server_version_text, sizeof meta->server_version_text, "%s", session->server_version_text);
    if (session->is_encrypted) {
        snprintf(meta->tls_version, sizeof meta->tls_version, "%s", session->tls_version);
        snprintf(meta->tls_cipher, sizeof meta->tls_cipher, "%s", session->tls_cipher);
    }
    return read_settings(taking, err);
}

static bool check_system(struct taking *taking, struct error *err)
{
    struct backup_run *run = taking->run;
    struct system_id stored;

    if (!required_wal_await_receiver(run, &taking->meta->system, err) ||
        !repo_read_server(&run->job->repo, run->job->server->name, &stored, err))
        return false;
    if (strcmp(stored.text, taking->meta->system.text) == 0)
        return true;
    error_set(err, ERROR_INTEGRITY, "the repository of \"%s\" belongs to system %s, but the server is system %s",
              run->job->server->name, stored.text, taking->meta->system.text);
    return error_hint(err,
                      "Check host and port of [%s]; a new cluster needs a section of its own or a receiver that has "
                      "met it.",
                      run->job->server->name);
}

static bool start(struct taking *taking, struct error *err)
{
    struct backup_meta *meta = taking->meta;
    struct base_backup_options options = {
        .label = meta->label[0] != '\0' ? meta->label : "pgcoffer backup",
        .is_fast_checkpoint = meta->is_fast_checkpoint,
        .checksum_algorithm = checksum_algorithm_word(ALGORITHM),
        .want_lz4_on_wire = strcmp(taking->run->job->server->settings.wire_compression, "lz4") == 0,
    };
    size_t count = 0;

    snprintf(meta->checksum_algorithm, sizeof meta->checksum_algorithm, "%s", options.checksum_algorithm);
    if (!backup_run_phase(taking->run, "checkpoint", meta->is_fast_checkpoint ? "immediate" : "spread", 0, err))
        return false;
    meta->started_at = clock_now();
    if (!base_backup_start(taking->connection, &options, &taking->source, err))
        return false;
    taking->copy_started_at = clock_now();
    meta->start_position = base_backup_start_position(taking->source);
    meta->start_timeline = base_backup_start_timeline(taking->source);
    const struct base_backup_tablespace *tablespaces = base_backup_tablespaces(taking->source, &count);
    for (size_t i = 0; i < count; i++)
        if (tablespaces[i].oid != 0)
            backup_meta_add_tablespace(meta, tablespaces[i].oid, tablespaces[i].path);
    return required_wal_lease(taking->run, meta, err) && required_wal_check_start(taking->run, meta, err);
}

static bool make_folder(struct taking *taking, struct error *err)
{
    const struct repo *repo = &taking->run->job->repo;
    struct backup_meta *meta = taking->meta;

    if (!repo_create_system(repo, meta->server, &meta->system, err) ||
        !repo_create_backup(repo, meta->server, &meta->system, meta->started_at, &meta->id, err))
        return false;
    taking->folder = repo_backup_path(repo, meta->server, &meta->system, &meta->id, "");
    return true;
}

static bool advance(void *context, uint64_t bytes_read, const char *item, struct error *err)
{
    struct taking *taking = context;
    struct backup_run *run = taking->run;

    if (!progress_meter_advance(&run->meter, clock_monotonic(), bytes_read))
        return true;
    progress_meter_item(&run->meter, item);
    /* The receiver's reports must not pile up on the way here; this also notices SIGTERM. */
    return progress_meter_send(&run->meter, run->events, err) && receiver_view_drain(&run->receiver, err);
}

static struct reserve reserve_of(const struct job *job)
{
    return (struct reserve){
        .repo = &job->repo, .server = job->server->name, .bytes = job->server->settings.wal_reserve};
}

static bool copy_bytes(struct taking *taking, struct error *err)
{
    struct copy_options options = {
        .repo = &taking->run->job->repo,
        .folder = taking->folder,
        .reserve = reserve_of(taking->run->job),
        .algorithm = ALGORITHM,
        .level = (int)settings_of(taking)->compression_level,
        .workers = (unsigned)settings_of(taking)->workers,
        .advance = advance,
        .context = taking,
    };
    uint64_t total = 0;
    size_t count = 0;
    const struct base_backup_tablespace *tablespaces = base_backup_tablespaces(taking->source, &count);

    for (size_t i = 0; i < count; i++)
        total += tablespaces[i].size_estimate;
    if (!backup_run_phase(taking->run, "copy", "", total, err) ||
        !copy_all(taking->source, &options, taking->meta, &taking->outcome, err))
        return false;
    progress_meter_finish(&taking->run->meter, clock_monotonic(), taking->run->meter.progress.done_bytes);
    return progress_meter_send(&taking->run->meter, taking->run->events, err);
}

static bool end(struct taking *taking, struct error *err)
{
    struct backup_meta *meta = taking->meta;
    struct base_backup_end ending = {0};

    if (!base_backup_end(taking->source, &ending, err))
        return false;
    meta->stopped_at = clock_now();
    meta->end_position = ending.position;
    meta->end_timeline = ending.timeline;
    if (ending.has_checksum_failures) {
        meta->checksum_failures = taking->bad_page_warnings > 0 ? taking->bad_page_warnings : 1;
        text_make_printable(ending.checksum_words);
        if (meta->notice_count < MOST_NOTICES)
            backup_meta_add_notice(meta, ending.checksum_words);
    }
    return true;
}

static bool differ(struct error *err, const char *what)
{
    return error_set(err, ERROR_INTEGRITY, "the server contradicts itself: %s", what);
}

/* What the server said by its answers, in backup_label and in the manifest must be one thing. */
static bool check_words(const struct taking *taking, const struct label *label, struct error *err)
{
    const struct backup_meta *meta = taking->meta;
    const struct copy_outcome *outcome = &taking->outcome;

    if (label->start_position.value != meta->start_position.value ||
        label->start_timeline.value != meta->start_timeline.value)
        return differ(err, "backup_label has another start than its answer");
    if (!outcome->has_range || outcome->first_timeline.value != meta->start_timeline.value ||
        outcome->first_start.value != meta->start_position.value)
        return differ(err, "the manifest's WAL range has another start than its answer");
    if (outcome->last_timeline.value != meta->end_timeline.value || outcome->last_end.value != meta->end_position.value)
        return differ(err, "the manifest's WAL range has another end than its answer");
    if (outcome->manifest_system != 0 && outcome->manifest_system != system_id_value(&meta->system))
        return differ(err, "the manifest has another system identifier than its answer");
    return true;
}

/*
 * Recovery targets are times of the server's clock. The server tells its clock once, in backup_label, when the copy
 * begins; that gives the difference to our clock, and with it the server's time of the end.
 */
static void set_server_times(struct taking *taking, const struct label *label)
{
    struct backup_meta *meta = taking->meta;
    int64_t difference = label->started_at.microseconds - taking->copy_started_at.microseconds;

    meta->server_started_at = label->started_at;
    if (label->started_at.microseconds == 0)
        return;
    if (difference > -SAME_CLOCK_MICROSECONDS && difference < SAME_CLOCK_MICROSECONDS)
        difference = 0;
    meta->server_stopped_at.microseconds = meta->stopped_at.microseconds + difference;
}

static bool describe(struct taking *taking, struct error *err)
{
    const struct buffer *text = &taking->outcome.label;
    struct label label;

    if (text->used == 0)
        return error_set(err, ERROR_INTEGRITY, "the server's tar holds no backup_label");
    if (!label_parse((const char *)text->bytes, text->used, &label, err) || !check_words(taking, &label, err))
        return false;
    taking->meta->from_standby = label.from_standby;
    set_server_times(taking, &label);
    return true;
}

/* Everything up to copied.json, once the folder exists. */
static bool fill_folder(struct taking *taking, struct error *err)
{
    if (!copy_bytes(taking, err) || !end(taking, err) || !describe(taking, err))
        return false;
    taking->meta->state = BACKUP_COPIED;
    return backup_meta_write(&taking->run->job->repo, taking->meta, err);
}

static void remove_folder(const struct taking *taking, struct error *err)
{
    struct error failure;

    if (err->kind == ERROR_STORAGE && err->errnum == ENOSPC)
        error_hint(err, "Free some space below \"%s\"; nothing of this backup is left there.",
                   taking->run->job->repo.base_dir);
    /* What cannot be removed now has no metadata: it is not listed, and swept at the next start. */
    if (!file_remove_tree(taking->folder, &failure) && err->detail[0] == '\0')
        error_detail(err, "Also: %.900s", failure.message);
}

static struct backup_meta *begin_meta(const struct job *job)
{
    const char *label = request_text(&job->worker->request, OPTION_ID_label);
    struct backup_meta *meta = backup_meta_new();

    snprintf(meta->server, sizeof meta->server, "%s", job->server->name);
    snprintf(meta->tool_version, sizeof meta->tool_version, "%s", PGCOFFER_VERSION);
    snprintf(meta->label, sizeof meta->label, "%s", label != NULL ? label : "");
    meta->is_fast_checkpoint = request_has(&job->worker->request, OPTION_ID_fast_checkpoint);
    return meta;
}

bool take_backup(struct backup_run *run, struct backup_meta **ret_meta, struct error *err)
{
    struct taking taking SCOPED(taking_done) = {.run = run, .meta = begin_meta(run->job)};
    const struct reserve reserve = reserve_of(run->job);

    if (!reserve_allows(&reserve, 0, err))
        return false;
    if (!backup_run_phase(run, "connect", run->job->server->name, 0, err) ||
        !job_connect(run->job, "pgcoffer backup", &taking.connection, err))
        return false;
    pg_set_notice_function(taking.connection, take_notice, &taking);
    if (!identify(&taking, err) || !check_system(&taking, err) || !start(&taking, err) || !make_folder(&taking, err)) {
        required_wal_release(run, taking.meta);
        return false;
    }
    if (!fill_folder(&taking, err)) {
        /* Closed first: the server stops sending while the files are removed. */
        base_backup_free(TAKE(taking.source));
        pg_disconnect(TAKE(taking.connection));
        remove_folder(&taking, err);
        required_wal_release(run, taking.meta);
        return false;
    }
    *ret_meta = TAKE(taking.meta);
    return true;
}
