#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/restoring_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* ---- options ---- */

static bool parse_archive_mode(const struct invocation *invocation, bool *ret_keep, struct error *err)
{
    const char *text = invocation_text(invocation, OPTION_ID_archive_mode);

    *ret_keep = text != NULL && strcmp(text, "preserve") == 0;
    if (text == NULL || *ret_keep || strcmp(text, "off") == 0)
        return true;
    return error_set(err, ERROR_USAGE, "--archive-mode: \"%s\" is neither off nor preserve", text);
}

struct mappings {
    struct tablespace_mapping *list;
    size_t count;
};

static void mappings_done(struct mappings *mappings)
{
    for (size_t i = 0; i < mappings->count; i++)
        free((char *)mappings->list[i].old_path); /* new_path lies in the same piece */
    free(mappings->list);
}

/* "OLD=NEW"; as in pg_basebackup an equals sign within a path is written \=. */
static bool split_mapping(const char *text, struct tablespace_mapping *ret_mapping, struct error *err)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(text);
    char *end = copy;
    char *new_path = NULL;

    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '\\' && at[1] == '=') {
            *end++ = *++at;
        } else if (*at == '=' && new_path == NULL) {
            *end++ = '\0';
            new_path = end;
        } else {
            *end++ = *at;
        }
    }
    *end = '\0';
    if (new_path == NULL || copy[0] == '\0' || new_path[0] == '\0') {
        error_set(err, ERROR_USAGE, "--tablespace-map: \"%s\" is not OLD=NEW", text);
        return error_hint(err, "OLD is the tablespace's path or its oid, NEW an absolute path: 16389=/srv/space.");
    }
    *ret_mapping = (struct tablespace_mapping){.old_path = TAKE(copy), .new_path = new_path};
    return true;
}

static bool parse_mappings(const struct invocation *invocation, struct mappings *ret_mappings, struct error *err)
{
    ret_mappings->list = memory_new((invocation->occurrence_count + 1) * sizeof ret_mappings->list[0]);
    for (size_t i = 0; i < invocation->occurrence_count; i++) {
        const struct occurrence *occurrence = &invocation->occurrences[i];
        if (occurrence->option != OPTION_ID_tablespace_map)
            continue;
        if (!split_mapping(occurrence->text, &ret_mappings->list[ret_mappings->count], err))
            return false;
        ret_mappings->count++;
    }
    return true;
}

static void report_target(const struct invocation *invocation, const json_t *result)
{
    const json_t *target = json_object_get(result, "target");
    const json_t *stop = json_object_get(result, "stop");
    const char *kind = json_text_or(target, "kind", "end");
    long long timeline = (long long)json_number_or(result, "timeline", 0);

    output_line(invocation, "WAL is held up to %s on timeline %lld, complete until %s",
                json_text_or(result, "reachable", "?"), timeline,
                json_text_or(result, "reachable_at", "an unknown time"));
    if (strcmp(kind, "end") == 0)
        output_line(invocation, "PostgreSQL will replay all of it");
    else if (json_text_or_null(result, "replay_to") != NULL)
        output_line(invocation, "PostgreSQL will replay up to the record at %s, the last one held",
                    json_text_or(result, "replay_to", "?"));
    else if (json_is_object(stop))
        output_line(invocation, "PostgreSQL will replay up to %s %s: the record at %s, of %s", kind,
                    json_text_or(target, "value", ""), json_text_or(stop, "lsn", "?"),
                    json_text_or(stop, "at", "an unknown time"));
    else
        output_line(invocation, "PostgreSQL will replay up to %s %s", kind, json_text_or(target, "value", ""));
}

static void report(const struct invocation *invocation, const json_t *result)
{
    char bytes[TEXT_BYTES_SIZE];
    char duration[TEXT_DURATION_SIZE];
    bool is_dry_run = json_is_set(result, "dry_run");
    const json_t *tablespace;
    size_t i;

    if (output_is_json(invocation)) {
        output_json(result);
        return;
    }
    text_format_bytes((uint64_t)json_number_or(result, "bytes", 0), bytes);
    text_format_duration(json_number_value(json_object_get(result, "seconds")), duration);
    output_line(invocation, "backup %s of %s %s into %s: %s, %lld files%s%s", json_text_or(result, "backup", "?"),
                json_text_or(result, "server", "?"), is_dry_run ? "would be restored" : "is restored",
                json_text_or(result, "directory", "?"), bytes, (long long)json_number_or(result, "files", 0),
                is_dry_run ? "" : ", in ", is_dry_run ? "" : duration);
    json_array_foreach(json_object_get(result, "tablespaces"), i, tablespace)
    {
        output_line(invocation, "tablespace %lld: %s -> %s", (long long)json_number_or(tablespace, "oid", 0),
                    json_text_or(tablespace, "original_path", "?"), json_text_or(tablespace, "path", "?"));
    }
    if (json_text_or(result, "why", "")[0] != '\0')
        output_line(invocation, "why this backup: %s", json_text_or(result, "why", ""));
    report_target(invocation, result);
    if (!is_dry_run)
        output_line(invocation, "start it: %s", json_text_or(result, "start", "?"));
}

static bool run(struct invocation *invocation, struct restore_options *options, struct session_source *source,
                struct error *err)
{
    struct restoring restoring = restoring_new(invocation);
    struct connector connector;
    json_t *result SCOPED(scoped_json) = NULL;

    if (!restoring_prepare(&restoring, source, options, &connector, err))
        return false;
    umask(027); /* the modes of the data directory are 0700 and 0600, or 0750 and 0640 */
    bool is_restored = restore_run(options, &connector, &result, err);
    restoring_end(&restoring, is_restored, result, err);
    if (is_restored)
        report(invocation, result);
    return is_restored;
}

/* The configuration serves --standby and the advice; whoever may not read it can restore all the same. */
static bool read_configuration(const struct invocation *invocation, struct config **ret_config,
                               const struct server_config **ret_server, struct error *err)
{
    struct error failure;

    if (restoring_read_configuration(invocation, ret_config, ret_server, &failure) ||
        !invocation_has(invocation, OPTION_ID_standby))
        return true;
    *err = failure;
    return false;
}

static bool restore_as(struct invocation *invocation, struct restore_options *options, const struct passwd *owner,
                       struct error *err)
{
    struct config *config SCOPED(scoped_config) = NULL;
    struct session_source *source SCOPED(scoped_session_source) = NULL;

    return read_configuration(invocation, &config, &options->server, err) &&
           restoring_open(invocation, owner, config, options->server, &source, err) &&
           run(invocation, options, source, err);
}

bool command_restore(struct invocation *invocation, struct error *err)
{
    const char *directory = invocation_text(invocation, OPTION_ID_target_directory);
    struct mappings mappings SCOPED(mappings_done) = {0};
    struct request request SCOPED(request_done) = {0};
    char *prefix SCOPED(scoped_free) = NULL;
    char *target SCOPED(scoped_free) = NULL;
    const struct passwd *owner;
    struct restore_options options = {.use_original_tablespaces =
                                          invocation_has(invocation, OPTION_ID_original_tablespaces),
                                      .is_dry_run = invocation_has(invocation, OPTION_ID_dry_run),
                                      .leaves_lease = !invocation_has(invocation, OPTION_ID_direct)};

    if (directory == NULL || directory[0] == '\0') {
        error_set(err, ERROR_USAGE, "it is not said where the data directory goes");
        return error_hint(err, "Add --target-directory DIR; it may be missing or empty.");
    }
    if (!restoring_parse_jobs(invocation, &options.jobs, err) ||
        !parse_archive_mode(invocation, &options.keep_archive_mode, err) ||
        !parse_mappings(invocation, &mappings, err) || !owner_find(invocation, &owner, err) ||
        !invocation_request(invocation, &request, err) || !restoring_make_prefix(invocation, &prefix, err))
        return false;
    target = restoring_absolute_path(directory);
    options.request = request;
    options.target_directory = target;
    options.mappings = mappings.list;
    options.mapping_count = mappings.count;
    options.restore_command_prefix = prefix;
    return restore_as(invocation, &options, owner, err);
}
