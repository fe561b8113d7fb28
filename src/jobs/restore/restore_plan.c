#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/repo/layout.h"
#include "pgcoffer/wal/segment.h"

#define MOST_WAL_FILES (size_t)1000000
/* The daemon may read WAL to its end before it answers. */
#define PLAN_MILLISECONDS 600000

/* "2026-11-22 02:30 +01" means another moment to a daemon in another time zone: it goes as UTC. */
static bool make_request(const struct restore_options *options, struct request *ret_request, struct error *err)
{
    const char *time = request_text(&options->request, OPTION_ID_target_time);

    *ret_request = options->request;
    ret_request->options = json_copy(options->request.options);
    if (time == NULL)
        return true;
    struct timestamp timestamp;
    char text[TIMESTAMP_TEXT_SIZE];
    if (!timestamp_parse(time, &timestamp, err)) {
        json_decref(TAKE(ret_request->options));
        return error_wrap(err, "--target-time");
    }
    timestamp_format(timestamp, text);
    json_object_set_new(ret_request->options, option_rows[OPTION_ID_target_time].name, json_string(text));
    return true;
}

/* A long list of WAL comes in items before the result. */
static bool take_event(void *context, const json_t *message, struct error *err)
{
    json_t *names = context;
    const json_t *name = json_object_get(json_object_get(message, "data"), "wal_file");

    if (!json_is_string(name))
        return true;
    if (json_array_size(names) >= MOST_WAL_FILES)
        return error_set(err, ERROR_DAEMON, "the plan names more than %zu WAL files", MOST_WAL_FILES);
    json_array_append(names, (json_t *)name);
    return true;
}

/* Lists that would make the line too long are left out of it, and named. */
static bool check_complete(const json_t *backup, struct error *err)
{
    const json_t *name;
    size_t i;

    json_array_foreach(json_object_get(backup, "left_out"), i, name)
    {
        if (json_is_string(name) && strcmp(json_string_value(name), "notices") != 0)
            return error_set(err, ERROR_FAILED, "the backup has more %s than a plan can carry",
                             json_string_value(name));
    }
    return true;
}

static bool parse_files(struct restore_plan *plan, const json_t *backup, struct error *err)
{
    const json_t *files = json_object_get(backup, "files");

    plan->file_count = json_array_size(files);
    plan->files = memory_new((plan->file_count + 1) * sizeof plan->files[0]);
    for (size_t i = 0; i < plan->file_count; i++) {
        const json_t *file = json_array_get(files, i);
        int64_t size;
        if (!json_get_text(file, "name", &plan->files[i].name, err) ||
            !json_get_number(file, "size", 0, INT64_MAX, &size, err) ||
            !json_get_text(file, "sha256", &plan->files[i].sha256, err))
            return error_wrap(err, "files");
        plan->files[i].size = (uint64_t)size;
    }
    return true;
}

static bool parse_backup(struct restore_plan *plan, const json_t *backup, struct error *err)
{
    const char *mode;
    int64_t version;

    if (!check_complete(backup, err) || !json_get_text(backup, "id", &plan->backup, err) ||
        !json_get_number(backup, "server_version", 0, INT32_MAX, &version, err) ||
        !json_get_text(backup, "data_directory_mode", &mode, err) || !parse_files(plan, backup, err))
        return error_wrap(err, "backup");
    plan->server_version = (int)version;
    /* PostgreSQL starts with these two only. */
    bool has_group = strcmp(mode, "0750") == 0;
    plan->folder_mode = has_group ? 0750 : 0700;
    plan->file_mode = has_group ? 0640 : 0600;
    return true;
}

static bool parse_wal_files(struct restore_plan *plan, const json_t *names, struct error *err)
{
    plan->wal_file_count = json_array_size(names);
    plan->wal_files = memory_new((plan->wal_file_count + 1) * sizeof plan->wal_files[0]);
    for (size_t i = 0; i < plan->wal_file_count; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        struct wal_segment segment;
        struct timeline timeline;
        if (name == NULL || (!wal_segment_parse(name, (struct wal_segment_size){plan->segment_size}, &segment) &&
                             !wal_history_name_parse(name, &timeline)))
            return error_set(err, ERROR_DAEMON, "the plan names a WAL file that is none");
        plan->wal_files[i] = name;
    }
    return true;
}

/* It goes into postgresql.auto.conf. A daemon of an earlier version does not tell it. */
static bool parse_replay_to(struct restore_plan *plan, struct error *err)
{
    struct wal_position position;

    plan->replay_to = json_text_or_null(plan->json, "replay_to");
    return plan->replay_to == NULL || wal_position_parse(plan->replay_to, &position, err);
}

/* They become a part of restore_command and of postgresql.auto.conf: nothing but names may pass. */
static bool check_names(const struct restore_plan *plan, const char *server, struct error *err)
{
    struct system_id system;
    struct backup_id backup;
    struct error ignored;

    if (strcmp(plan->server, server) != 0)
        return error_set(err, ERROR_DAEMON, "it is of another server than \"%s\"", server);
    if (!system_id_parse(plan->system_id, &system, &ignored))
        return error_set(err, ERROR_DAEMON, "its system identifier is none");
    return backup_id_parse(plan->backup, &backup) || error_set(err, ERROR_DAEMON, "its backup has no valid id");
}

static bool parse_plan(struct restore_plan *plan, const char *server, struct error *err)
{
    int64_t timeline;
    int64_t segment_size;

    if (!json_get_text(plan->json, "server", &plan->server, err) ||
        !json_get_text(plan->json, "system_id", &plan->system_id, err) ||
        !json_get_number(plan->json, "timeline", 1, UINT32_MAX, &timeline, err) ||
        !json_get_number(plan->json, "segment_size", WAL_SEGMENT_SIZE_LEAST, WAL_SEGMENT_SIZE_MOST, &segment_size, err))
        return false;
    plan->timeline = (uint32_t)timeline;
    plan->segment_size = (uint32_t)segment_size;
    return parse_replay_to(plan, err) && parse_backup(plan, json_object_get(plan->json, "backup"), err) &&
           check_names(plan, server, err) && parse_wal_files(plan, json_object_get(plan->json, "wal_files"), err);
}

static void take_warnings(struct restore *restore)
{
    const json_t *warnings = json_object_get(restore->plan.json, "warnings");
    const json_t *warning;
    size_t i;

    json_array_foreach(warnings, i, warning)
    {
        if (json_is_string(warning))
            restore_warn(restore, "%s", json_string_value(warning));
    }
}

bool restore_plan_ask(struct restore *restore, struct error *err)
{
    struct request request SCOPED(request_done) = {0};

    if (!make_request(restore->options, &request, err))
        return false;
    json_t *message SCOPED(scoped_json) = request_to_json(&request);
    json_t *names SCOPED(scoped_json) = json_array();
    if (!connector_open(restore->connector, &restore->session, err))
        return false;
    if (restore->connector->silence_seconds > 0)
        control_stream_set_timeout(restore->session, PLAN_MILLISECONDS);
    if (!control_send(restore->session, message, err))
        return false;
    restore->plan.json = control_await_result(restore->session, take_event, names, err);
    if (restore->plan.json == NULL)
        return false;
    connector_limit_silence(restore->connector, restore->session);
    if (json_array_size(names) > 0)
        json_object_set(restore->plan.json, "wal_files", names);
    if (!parse_plan(&restore->plan, restore->options->request.server, err)) {
        if (err->kind == ERROR_INTEGRITY) /* a key that is missing */
            err->kind = ERROR_DAEMON;
        return error_wrap(err, "could not read the plan of the restore");
    }
    take_warnings(restore);
    return true;
}

const struct plan_file *restore_plan_file(const struct restore_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->file_count; i++)
        if (strcmp(plan->files[i].name, name) == 0)
            return &plan->files[i];
    return NULL;
}

void restore_plan_done(struct restore_plan *plan)
{
    free(plan->files);
    free(plan->wal_files);
    json_decref(plan->json);
    *plan = (struct restore_plan){0};
}
