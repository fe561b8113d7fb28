#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* wal list, wal status */

static void gather_files(const struct invocation *invocation, const json_t *items, json_t *result)
{
    json_object_set_new(result, "server", json_string(invocation_argument(invocation, 0)));
    json_object_set_new(result, "files", items != NULL ? json_incref((json_t *)items) : json_array());
}

static void print_files(const struct invocation *invocation, const json_t *result)
{
    static const char *const titles[] = {"NAME", ">TIMELINE", "STATE", ">HELD", ">STORED", "WRITTEN"};
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 6);
    const json_t *files = json_object_get(result, "files");
    const json_t *file;
    size_t i;

    json_array_foreach(files, i, file)
    {
        table_add_row(table);
        table_set_text(table, 0, file, "name");
        table_set_text(table, 1, file, "timeline");
        table_set_text(table, 2, file, "state");
        table_set_bytes(table, 3, file, "held_bytes");
        table_set_bytes(table, 4, file, "stored_bytes");
        table_set_text(table, 5, file, "written_at");
    }
    if (json_array_size(files) == 0)
        output_line(invocation, "no WAL");
    table_print(table);
}

bool command_wal_list(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, gather_files, print_files, err);
}

static void add_stretches(struct table *table, const json_t *list, const char *what, bool is_bad)
{
    const json_t *stretch;
    size_t i;

    json_array_foreach(list, i, stretch)
    {
        table_add_row(table);
        table_set(table, 0, "%s", what);
        table_set_text(table, 1, stretch, "timeline");
        table_set_text(table, 2, stretch, "start");
        table_set_text(table, 3, stretch, "end");
        table_set_text(table, 4, stretch, "written_at");
        if (is_bad)
            table_mark_bad(table);
    }
}

static void print_ranges(const struct invocation *invocation, const json_t *result)
{
    static const char *const titles[] = {"WHAT", ">TIMELINE", "FROM", "TO", "WRITTEN"};
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 5);
    size_t gaps = json_array_size(json_object_get(result, "gaps"));
    long long segments = (long long)json_number_or(result, "segments", 0);
    char stored[TEXT_BYTES_SIZE];

    add_stretches(table, json_object_get(result, "ranges"), "held", false);
    add_stretches(table, json_object_get(result, "gaps"), "GAP", true);
    table_print(table);
    text_format_bytes((uint64_t)json_number_or(result, "stored_bytes", 0), stored);
    output_line(invocation, "%lld segment%s, stored as %s, %s", segments, segments == 1 ? "" : "s", stored,
                gaps == 0 ? "without a gap" : "WITH GAPS: a recovery cannot pass them");
}

bool command_wal_status(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, print_ranges, err);
}
