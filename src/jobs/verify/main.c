#include <string.h>
#include <sys/stat.h>

#include "jobs/events_internal.h"
#include "jobs/verify/verify_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/config/retention.h"

/* A result is one line; a repository with thousands of backups or ranges is counted instead of listed. */
#define MOST_RESULT_BYTES ((size_t)60 * 1024)

static bool check_backups(struct verify *verify, const struct verify_scope *scope, json_t *results, struct error *err)
{
    for (size_t i = 0; i < scope->catalogue.count; i++) {
        const struct catalogue_entry *entry = &scope->catalogue.entries[i];
        enum verify_outcome outcome = VERIFY_RECENT;
        if (!verify_scope_has(scope, entry))
            continue;
        if (!verify_is_recent(verify, entry) && !verify_backup(verify, entry, &outcome, err))
            return false;
        verify_add_result(results, entry, outcome);
    }
    return true;
}

static bool check_wal(struct verify *verify, const struct verify_scope *scope, json_t *ret_wal, struct error *err)
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
    json_object_set_new(ret_wal, "recent", json_integer((json_int_t)outcome.recent));
    json_object_set(ret_wal, "ranges", ranges);
    json_object_set_new(ret_wal, "problems", json_array());
    return true;
}

static bool verify_server(struct verify *verify, const struct request *request, const char *server, json_t *results,
                          struct error *err)
{
    struct verify_scope scope SCOPED(verify_scope_done) = {.only = NULL};
    json_t *backups SCOPED(scoped_json) = json_array();
    json_t *wal SCOPED(scoped_json) = json_object();

    verify->server = server;
    if (!verify_scope_open(verify, request, server, &scope, err) || !verify_advance(verify, 0, server, err) ||
        !check_backups(verify, &scope, backups, err) || !check_wal(verify, &scope, wal, err))
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

bool verify_names(const struct verify *verify, const struct request *request, const struct config *config,
                  const char ***ret_names, size_t *ret_count, struct error *err)
{
    bool is_one = request->server[0] != '\0';

    if (is_one && !check_name(config, verify->repo, request->server, err))
        return false;
    *ret_count = is_one ? 1 : config->server_count;
    *ret_names = memory_new((*ret_count + 1) * sizeof **ret_names);
    for (size_t i = 0; i < *ret_count; i++)
        (*ret_names)[i] = is_one ? request->server : config->servers[i].name;
    return true;
}

/* One bar for all of them. A server that cannot be looked at is told when its turn comes. */
static uint64_t count_bytes(struct verify *verify, const struct request *request, const char *const *names,
                            size_t count)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        struct verify_scope scope SCOPED(verify_scope_done) = {.only = NULL};
        struct error ignored;
        verify->server = names[i];
        if (verify_scope_open(verify, request, names[i], &scope, &ignored))
            bytes += verify_scope_bytes(verify, &scope);
    }
    return bytes;
}

static bool verify_servers(struct verify *verify, const struct request *request, const struct config *config,
                           json_t *results, struct error *err)
{
    const char **names SCOPED(scoped_free) = NULL;
    size_t count = 0;

    if (!verify_names(verify, request, config, &names, &count, err))
        return false;
    progress_meter_phase(&verify->meter, clock_monotonic(), "verify", count == 1 ? names[0] : "",
                         count_bytes(verify, request, names, count));
    for (size_t i = 0; i < count; i++)
        if (!verify_server(verify, request, names[i], results, err))
            return false;
    return true;
}

/* "7d" ago, or a moment. */
static bool parse_since(const char *text, struct timestamp now, struct timestamp *ret_since, struct error *err)
{
    struct error failure;
    int64_t seconds = 0;

    if (text == NULL)
        return true;
    if (retention_duration_parse(text, &seconds, &failure)) {
        ret_since->microseconds = now.microseconds - seconds * 1000000;
        return true;
    }
    if (!timestamp_parse(text, ret_since, err)) {
        error_set(err, ERROR_USAGE, "--since: \"%.64s\" is neither a duration nor a time", text);
        return error_hint(err, "Write it as 36h, 7d or 2w, or as 2026-11-22 or \"2026-11-22 01:30:00+00\".");
    }
    return ret_since->microseconds <= now.microseconds ||
           error_set(err, ERROR_USAGE, "--since: \"%.64s\" has not come yet", text);
}

static bool parse_deadline(const char *text, int64_t *ret_deadline, struct error *err)
{
    int64_t seconds = 0;

    if (text == NULL)
        return true;
    if (!retention_duration_parse(text, &seconds, err)) {
        error_set(err, ERROR_USAGE, "--max-duration: \"%.64s\" is not a duration", text);
        return error_hint(err, "Write it as a whole number with its unit, min, h, d or w, such as 2h.");
    }
    *ret_deadline = clock_monotonic() + seconds * 1000000;
    return true;
}

static bool verify_as_asked(struct verify *verify, const struct request *request, const struct config *config,
                            json_t *results, struct error *err)
{
    if (!parse_since(request_text(request, OPTION_ID_since), verify->began, &verify->since, err) ||
        !parse_deadline(request_text(request, OPTION_ID_max_duration), &verify->deadline, err))
        return false;
    if (verify->deadline != 0 || request_has(request, OPTION_ID_oldest_first))
        return verify_partially(verify, request, config, results, err);
    return verify_servers(verify, request, config, results, err);
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
        .began = clock_now(),
    };
    json_t *servers SCOPED(scoped_json) = json_array();
    struct error ignored;

    progress_meter_start(&verify.meter, clock_monotonic());
    if (verify_as_asked(&verify, request, config, servers, err) && judge(&verify, servers, err))
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
