#include <string.h>
#include <sys/stat.h>

#include "jobs/events_internal.h"
#include "jobs/verify/verify_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

/* A result is one line; a repository with thousands of backups or ranges is counted instead of listed. */
#define MOST_RESULT_BYTES ((size_t)60 * 1024)
#define MOST_SYSTEMS      64

/* What is verified of one server. */
struct scope {
    struct catalogue catalogue;
    const struct catalogue_entry *only; /* the backup named; NULL: all */
    struct system_id systems[MOST_SYSTEMS];
    size_t system_count;
    bool is_wal_only;
};

static void scope_done(struct scope *scope)
{
    catalogue_done(&scope->catalogue);
}

static void add_system(struct scope *scope, const struct system_id *system)
{
    if (system->text[0] == '\0' || scope->system_count == MOST_SYSTEMS)
        return;
    for (size_t i = 0; i < scope->system_count; i++)
        if (strcmp(scope->systems[i].text, system->text) == 0)
            return;
    scope->systems[scope->system_count++] = *system;
}

static bool open_scope(const struct verify *verify, const struct request *request, struct scope *ret_scope,
                       struct error *err)
{
    struct scope *scope = ret_scope;

    scope->is_wal_only = request_has(request, OPTION_ID_wal_only);
    if (!catalogue_read(verify->repo, verify->server, &scope->catalogue, err))
        return false;
    if (request->backup[0] != '\0') {
        if (!catalogue_find(&scope->catalogue, request->backup, &scope->only, err))
            return false;
        add_system(scope, &scope->only->system);
        return true;
    }
    add_system(scope, &scope->catalogue.current);
    for (size_t i = 0; i < scope->catalogue.count; i++)
        add_system(scope, &scope->catalogue.entries[i].system);
    return true;
}

static bool is_in_scope(const struct scope *scope, const struct catalogue_entry *entry)
{
    return scope->only == NULL || scope->only == entry;
}

/* For the progress: a little more or less does no harm. */
static uint64_t count_bytes(const struct verify *verify, const struct scope *scope)
{
    uint64_t total = 0;
    struct error ignored;

    for (size_t i = 0; i < scope->catalogue.count; i++)
        if (!scope->is_wal_only && is_in_scope(scope, &scope->catalogue.entries[i]) &&
            scope->catalogue.entries[i].meta != NULL)
            total += scope->catalogue.entries[i].meta->stored_bytes;
    for (size_t i = 0; i < scope->system_count; i++) {
        struct wal_archive archive;
        struct wal_files files = {0};
        if (!wal_archive_open(verify->repo, verify->server, &scope->systems[i], (struct wal_segment_size){0}, &archive,
                              &ignored) ||
            archive.segment_size.bytes == 0 || !wal_archive_list(&archive, &files, &ignored))
            continue;
        for (size_t j = 0; j < files.count; j++)
            total += files.files[j].stored_bytes;
        wal_files_done(&files);
    }
    return total;
}

/* Metadata that cannot be read is told even when only WAL was asked for: what it needs is not known then. */
static bool check_backups(struct verify *verify, const struct scope *scope, json_t *results, struct error *err)
{
    for (size_t i = 0; i < scope->catalogue.count; i++) {
        const struct catalogue_entry *entry = &scope->catalogue.entries[i];
        if (!is_in_scope(scope, entry) || (scope->is_wal_only && entry->meta != NULL))
            continue;
        size_t before = verify->problem_count;
        if (!verify_backup(verify, entry, err))
            return false;
        json_array_append_new(results, json_pack("{s:s, s:s, s:[]}", "id", entry->id.text, "state",
                                                 verify->problem_count == before ? "ok" : "damaged", "problems"));
    }
    return true;
}

static bool check_wal(struct verify *verify, const struct scope *scope, json_t *ret_wal, struct error *err)
{
    struct verify_wal_outcome outcome = {0};
    json_t *ranges SCOPED(scoped_json) = json_array();

    for (size_t i = 0; i < scope->system_count; i++) {
        bool ok = verify_wal(verify, &scope->catalogue, &scope->systems[i],
                             scope->only != NULL ? scope->only->meta : NULL, &outcome, err);
        if (outcome.ranges != NULL)
            json_array_extend(ranges, outcome.ranges);
        json_decref(outcome.ranges);
        outcome.ranges = NULL;
        if (!ok)
            return false;
    }
    json_object_set_new(ret_wal, "segments", json_integer((json_int_t)outcome.segments));
    json_object_set(ret_wal, "ranges", ranges);
    json_object_set_new(ret_wal, "problems", json_array());
    return true;
}

static bool verify_server(struct verify *verify, const struct request *request, const char *server, json_t *results,
                          struct error *err)
{
    struct scope scope SCOPED(scope_done) = {.only = NULL};
    json_t *backups SCOPED(scoped_json) = json_array();
    json_t *wal SCOPED(scoped_json) = json_object();

    verify->server = server;
    verify->done_bytes = 0;
    if (!open_scope(verify, request, &scope, err))
        return false;
    progress_meter_phase(&verify->meter, clock_monotonic(), "verify", server, count_bytes(verify, &scope));
    if (!verify_advance(verify, 0, server, err) || !check_backups(verify, &scope, backups, err) ||
        !check_wal(verify, &scope, wal, err))
        return false;
    json_array_append_new(results, json_pack("{s:s, s:O, s:O}", "server", server, "backups", backups, "wal", wal));
    return true;
}

/* A server that has left the configuration can still be verified by its name. */
static bool check_name(const struct config *config, const struct repo *repo, const char *server, struct error *err)
{
    const struct server_config *found;
    struct stat status;

    if (config_find_server(config, server, &found, err))
        return true;
    char *folder SCOPED(scoped_free) = repo_server_path(repo, server, "");
    return lstat(folder, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool verify_servers(struct verify *verify, const struct request *request, const struct config *config,
                           json_t *results, struct error *err)
{
    if (request->server[0] != '\0')
        return check_name(config, verify->repo, request->server, err) &&
               verify_server(verify, request, request->server, results, err);
    for (size_t i = 0; i < config->server_count; i++)
        if (!verify_server(verify, request, config->servers[i].name, results, err))
            return false;
    return true;
}

static void shorten(json_t *servers)
{
    json_t *server;
    size_t i;

    json_array_foreach(servers, i, server)
    {
        json_t *wal = json_object_get(server, "wal");
        json_object_set_new(server, "backup_count",
                            json_integer((json_int_t)json_array_size(json_object_get(server, "backups"))));
        json_object_del(server, "backups");
        json_object_set_new(wal, "range_count",
                            json_integer((json_int_t)json_array_size(json_object_get(wal, "ranges"))));
        json_object_del(wal, "ranges");
    }
}

static bool send_result(struct verify *verify, json_t *servers, struct error *err)
{
    char *line SCOPED(scoped_free) = json_to_line(servers);

    if (strlen(line) > MOST_RESULT_BYTES)
        shorten(servers);
    return control_send_result(verify->events, json_pack("{s:O}", "servers", servers), err);
}

static bool judge(struct verify *verify, json_t *servers, struct error *err)
{
    if (verify->problem_count == 0)
        return send_result(verify, servers, err);
    error_set(err, ERROR_INTEGRITY, "verification found %zu problem%s", verify->problem_count,
              verify->problem_count == 1 ? "" : "s");
    error_detail(err, "%s%s", verify->problem_count > 1 ? "The first: " : "", verify->first_problem);
    return error_hint(err,
                      "Keep what is damaged until another copy is known to be good, and take a new backup; backups "
                      "that are not named by a problem are sound.");
}

bool verify_run(const struct request *request, const struct config *config, const struct repo *repo,
                struct control_stream *events, int interrupt_fd, struct error *err)
{
    struct verify verify = {
        .repo = repo,
        .events = events,
        .interrupt_fd = interrupt_fd,
        .is_recording = interrupt_fd >= 0,
        .workers = (unsigned)config->settings.workers,
        .server = "",
    };
    json_t *servers SCOPED(scoped_json) = json_array();
    struct error ignored;

    progress_meter_start(&verify.meter, clock_monotonic());
    if (verify_servers(&verify, request, config, servers, err) && judge(&verify, servers, err))
        return true;
    (void)!control_send_error(events, err, &ignored);
    return false;
}

int job_verify_main(struct job *job)
{
    struct error failure;

    if (verify_run(&job->worker->request, job->config, &job->repo, job->worker->channel, job->worker->interrupt_fd,
                   &failure))
        return EXIT_SUCCESS;
    log_failure(failure.kind == ERROR_INTEGRITY ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, &failure);
    return error_exit_status(&failure);
}
