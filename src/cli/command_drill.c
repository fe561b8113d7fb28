#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/restoring_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/drill.h"

#define DEFAULT_SCRATCH    "/tmp"
#define DEFAULT_NAME       "postgres" /* of the superuser and the database */
#define QUERY_SECONDS      3600
#define QUERY_MOST_SECONDS 604800

/* ---- options ---- */

static bool parse_query(const struct invocation *invocation, struct drill_options *options, struct error *err)
{
    const char *text = invocation_text(invocation, OPTION_ID_query_timeout);
    const char *database = invocation_text(invocation, OPTION_ID_database);
    const char *role = invocation_text(invocation, OPTION_ID_user);
    uint64_t seconds = QUERY_SECONDS;

    options->query = invocation_text(invocation, OPTION_ID_query);
    options->database = database != NULL ? database : DEFAULT_NAME;
    options->role = role != NULL ? role : DEFAULT_NAME;
    if (options->query != NULL && options->query[strspn(options->query, " \t\n")] == '\0')
        return error_set(err, ERROR_USAGE, "--query: there is nothing to ask");
    if (text != NULL && (!text_parse_unsigned(text, QUERY_MOST_SECONDS, &seconds) || seconds == 0))
        return error_set(err, ERROR_USAGE, "--query-timeout: \"%s\" is not a number of seconds between 1 and %d", text,
                         QUERY_MOST_SECONDS);
    if (text != NULL && options->query == NULL)
        return error_set(err, ERROR_USAGE, "--query-timeout needs a --query beside it");
    options->query_seconds = (unsigned)seconds;
    return true;
}

static char *NEVER_NULL find_scratch(const struct invocation *invocation)
{
    const char *folder = invocation_text(invocation, OPTION_ID_scratch);
    char *path;

    if (text_is_empty(folder))
        folder = getenv("TMPDIR");
    path = restoring_absolute_path(text_is_empty(folder) ? DEFAULT_SCRATCH : folder);
    for (size_t size = strlen(path); size > 1 && path[size - 1] == '/'; size--)
        path[size - 1] = '\0';
    return path;
}

/* Where the programs lie is a matter of this host: of a server's section here, of [client], of [pgcoffer]. */
static const char *find_bin_dir(const struct config *config, const struct server_config *server)
{
    if (config == NULL)
        return "";
    if (server != NULL && server->settings.pg_bin_dir[0] != '\0')
        return server->settings.pg_bin_dir;
    if (config->client != NULL && config->client->settings.pg_bin_dir[0] != '\0')
        return config->client->settings.pg_bin_dir;
    return config->settings.pg_bin_dir;
}

/* ---- what came of it ---- */

/* For people: "restore 8.1s, start 0.3s, replay 3.2s" */
static char *phases_text(const struct backup_drill *record)
{
    char *text = memory_copy_text("");

    for (int i = 0; i < DRILL_PHASE_COUNT; i++) {
        char duration[TEXT_DURATION_SIZE];
        if (!record->was_run[i])
            continue;
        text_format_duration((double)record->phase_milliseconds[i] / 1e3, duration);
        char *longer = memory_text("%s%s%s %s", text, text[0] != '\0' ? ", " : "",
                                   drill_phase_word((enum drill_phase)i), duration);
        free(text);
        text = longer;
    }
    return text;
}

static void print_answer(const struct invocation *invocation, const json_t *query)
{
    const char *answer = json_text_or_null(query, "answer");
    long long rows = (long long)json_number_or(query, "rows", 0);

    if (answer == NULL)
        return;
    output_line(invocation, "the query gave %lld %s%s", rows, rows == 1 ? "row" : "rows",
                json_is_set(query, "is_cut") ? ", of which these are the first" : "");
    while (*answer != '\0') {
        size_t size = strcspn(answer, "\n");
        output_line(invocation, "  %.*s", (int)size, answer);
        answer += size + (answer[size] == '\n');
    }
}

static void report(const struct invocation *invocation, const struct drill_result *result)
{
    const struct backup_drill *record = &result->record;
    const char *replayed_to = json_text_or_null(result->json, "replayed_to");
    const char *last_commit = json_text_or_null(result->json, "last_commit_at");
    const char *version = json_text_or(result->json, "postgresql", "?");
    char *phases SCOPED(scoped_free) = phases_text(record);
    char duration[TEXT_DURATION_SIZE];

    text_format_duration((double)record->proof.milliseconds / 1e3, duration);
    output_line(invocation, "backup %s of %s is proven: PostgreSQL %s answered after %s", record->backup.text,
                invocation_argument(invocation, 0), version, duration);
    output_line(invocation, "%s", phases);
    output_line(invocation, "%lld WAL files were replayed%s%s%s%s",
                (long long)json_number_or(result->json, "wal_files", 0), replayed_to != NULL ? ", up to " : "",
                replayed_to != NULL ? replayed_to : "", last_commit != NULL ? ", with the last commit of " : "",
                last_commit != NULL ? last_commit : "");
    print_answer(invocation, json_object_get(result->json, "query"));
}

/* Who drills with --direct has no daemon to tell it; the repository is only read then. */
static void record(const struct invocation *invocation, struct session_source *source, struct drill_result *result)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;
    struct request request SCOPED(request_done) = {.command = COMMAND_ID_drill_result, .options = json_object()};
    char *text SCOPED(scoped_free) = backup_drill_result_text(&result->record);
    json_t *answer SCOPED(scoped_json) = NULL;
    struct error failure;
    bool is_recorded = false;

    snprintf(request.server, sizeof request.server, "%s", invocation_argument(invocation, 0));
    snprintf(request.backup, sizeof request.backup, "%s", result->record.backup.text);
    json_object_set_new(request.options, "result", json_string(text));
    json_t *message SCOPED(scoped_json) = request_to_json(&request);
    if (!invocation_has(invocation, OPTION_ID_direct)) {
        is_recorded = session_source_open(source, &stream, &failure) && control_send(stream, message, &failure) &&
                      (answer = control_await_result(stream, NULL, NULL, &failure)) != NULL;
        if (!is_recorded)
            output_warning(invocation, "the result could not be recorded: %s", failure.message);
    }
    json_object_set_new(result->json, "recorded", json_boolean(is_recorded));
}

/* ---- running ---- */

static bool run(struct invocation *invocation, struct drill_options *options, struct session_source *source,
                struct error *err)
{
    struct restoring restoring = restoring_new(invocation);
    struct connector connector;
    struct drill_result result SCOPED(drill_result_done) = {0};

    if (!restoring_prepare(&restoring, source, &options->restore, &connector, err))
        return false;
    umask(077);
    bool is_good = drill_run(options, &connector, &result, err);
    progress_bar_clear(&restoring.bar);
    if (result.is_proof)
        record(invocation, source, &result);
    restoring_end(&restoring, is_good, result.json, err);
    if (!is_good) {
        invocation->findings = json_incref(result.json);
        return result.is_proof && error_wrap(err, "backup %s of %s is not proven", result.record.backup.text,
                                             invocation_argument(invocation, 0));
    }
    if (output_is_json(invocation))
        output_json(result.json);
    else
        report(invocation, &result);
    return true;
}

bool command_drill(struct invocation *invocation, struct error *err)
{
    struct config *config SCOPED(scoped_config) = NULL;
    const struct server_config *server;
    struct session_source *source SCOPED(scoped_session_source) = NULL;
    struct request request SCOPED(request_done) = {0};
    char *prefix SCOPED(scoped_free) = NULL;
    char *scratch SCOPED(scoped_free) = find_scratch(invocation);
    struct drill_options options = {.scratch = scratch, .wants_amcheck = invocation_has(invocation, OPTION_ID_amcheck)};
    const struct passwd *owner;
    struct error ignored;

    if (!restoring_parse_jobs(invocation, &options.restore.jobs, err) || !parse_query(invocation, &options, err) ||
        !owner_find(invocation, &owner, err) || !invocation_request(invocation, &request, err) ||
        !restoring_make_prefix(invocation, &prefix, err))
        return false;
    bool is_known = restoring_read_configuration(invocation, &config, &server, &ignored);
    options.bin_dir = find_bin_dir(config, is_known ? server : NULL);
    options.restore.request = request;
    options.restore.restore_command_prefix = prefix;
    options.restore.leaves_lease = !invocation_has(invocation, OPTION_ID_direct);
    return restoring_open(invocation, owner, config, server, &source, err) && run(invocation, &options, source, err);
}
