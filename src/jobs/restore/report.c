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
    static const char *const copied[] = {"server", "system_id",     "timeline",  "target",
                                         "why",    "consistent_at", "reachable", "reachable_at"};
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
    json_object_set(result, "warnings", restore->warnings);
    if (!is_dry_run) {
        char *start SCOPED(scoped_free) = start_command(restore);
        json_object_set_new(result, "start", path_to_json(start));
    }
    return result;
}
