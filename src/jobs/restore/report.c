#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MICROSECONDS 1e6

static char *start_command(const struct restore *restore)
{
    char *directory SCOPED(scoped_free) = restore_quote_for_shell(restore->places[0].path);

    if (restore->has_postgresql_conf)
        return memory_text("pg_ctl -D %s start", directory);
    /* The options pass through a shell once more. */
    char *options SCOPED(scoped_free) =
        memory_text("-c config_file=/etc/postgresql/%d/main/postgresql.conf -c data_directory=%s",
                    restore->plan.server_version / 10000, directory);
    char *quoted SCOPED(scoped_free) = restore_quote_for_shell(options);
    return memory_text("pg_ctl -D %s -o %s start", directory, quoted);
}

/* Raw bytes of a path as JSON: what is not UTF-8 is shown as '?'. */
static json_t *path_to_json(const char *path)
{
    return control_text(path);
}

static json_t *tablespaces_to_json(const struct restore *restore)
{
    json_t *list = json_array();

    for (size_t i = 1; i < restore->place_count; i++) {
        const struct restore_place *place = &restore->places[i];
        json_array_append_new(list, json_pack("{s:I, s:o, s:o}", "oid", (json_int_t)place->oid, "original_path",
                                              path_to_json(place->original_path), "path", path_to_json(place->path)));
    }
    return list;
}

static void copy_member(json_t *result, const json_t *plan, const char *name)
{
    json_t *value = json_object_get(plan, name);

    json_object_set_new(result, name, value != NULL ? json_incref(value) : json_null());
}

json_t *restore_result(const struct restore *restore)
{
    static const char *const copied[] = {"server",    "system_id",    "timeline",     "target",
                                         "stop",      "replay_to",    "why",          "consistent_at",
                                         "reachable", "reachable_at", "segments_read"};
    json_t *result = json_object();
    double seconds = (double)(clock_monotonic() - restore->started_at) / MICROSECONDS;
    bool is_dry_run = restore->options->is_dry_run;

    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++)
        copy_member(result, restore->plan.json, copied[i]);
    json_object_set_new(result, "backup", json_string(restore->plan.backup));
    json_object_set_new(result, "directory", path_to_json(restore->places[0].path));
    json_object_set_new(result, "tablespaces", tablespaces_to_json(restore));
    json_object_set_new(result, "dry_run", json_boolean(is_dry_run));
    json_object_set_new(result, "files", json_integer((json_int_t)restore->file_count));
    json_object_set_new(result, "bytes", json_integer((json_int_t)restore->written_bytes));
    json_object_set_new(result, "wal_files", json_integer((json_int_t)restore->plan.wal_file_count));
    json_object_set_new(result, "seconds", json_real(seconds));
    json_object_set_new(result, "lease_days", json_integer(restore->lease_days));
    json_object_set(result, "warnings", restore->warnings);
    if (!is_dry_run) {
        char *start SCOPED(scoped_free) = start_command(restore);
        json_object_set_new(result, "start", path_to_json(start));
    }
    return result;
}

/* ---- a failure ---- */

#define MOST_NAMES 600 /* of the folders, in a detail and a hint that say more than that */

static char *quote_for_people(const char *path)
{
    return memory_text("\"%s\"", path);
}

/* Whole names only: half a path is another path. How many found no room. */
static unsigned list_begun(const struct restore *restore, size_t first, const char *separator,
                           char *(*quote)(const char *path), char ret_names[MOST_NAMES])
{
    size_t used = 0;
    unsigned left_out = 0;

    ret_names[0] = '\0';
    for (size_t i = first; i < restore->place_count; i++) {
        if (!restore->places[i].is_begun)
            continue;
        char *quoted SCOPED(scoped_free) = quote(restore->places[i].path);
        char *name SCOPED(scoped_free) = memory_text("%s%s", used > 0 ? separator : "", quoted);
        size_t size = strlen(name);
        if (left_out > 0 || used + size >= MOST_NAMES) {
            left_out++;
            continue;
        }
        memcpy(ret_names + used, name, size + 1);
        used += size;
    }
    return left_out;
}

static void tell_incomplete(const struct restore *restore, struct error *err)
{
    char seen[sizeof err->detail];
    char names[MOST_NAMES];
    char more[32] = "";
    unsigned left_out = list_begun(restore, 1, ", ", quote_for_people, names);

    if (left_out > 0)
        snprintf(more, sizeof more, " and %u more", left_out);
    memcpy(seen, err->detail, sizeof seen);
    error_detail(err, "%s%s\"%s\" is incomplete and cannot be started; remove it%s%s%s.", seen,
                 seen[0] != '\0' ? " " : "", restore->places[0].path,
                 names[0] != '\0' ? ", and the folders of its tablespaces: " : "", names, more);
}

bool restore_fail_incomplete(const struct restore *restore, struct error *err)
{
    char names[MOST_NAMES];

    if (!restore->places[0].is_begun || restore->options->is_scratch) /* it is the first */
        return false;
    tell_incomplete(restore, err);
    unsigned left_out = list_begun(restore, 0, " ", restore_quote_for_shell, names);
    if (err->hint[0] != '\0' || names[0] == '\0')
        return false;
    if (left_out > 0)
        return error_hint(err, "Before the next restore into it, and likewise for %u more folders: rm -r %s", left_out,
                          names);
    return error_hint(err, "Before the next restore into it: rm -r %s", names);
}
