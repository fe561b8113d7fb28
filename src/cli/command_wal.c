#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* wal list, wal status */

bool command_wal_list(struct invocation *invocation, struct error *err)
{
    static const char *const titles[] = {"NAME", ">TIMELINE", "STATE", ">HELD", ">STORED", "WRITTEN"};
    struct conversation conversation SCOPED(conversation_done) = {.items = json_array()};
    json_t *result SCOPED(scoped_json) = NULL;
    const json_t *file;
    size_t i;

    if (!client_ask(invocation, &conversation, &result, err))
        return false;
    if (output_is_json(invocation)) {
        json_object_set_new(result, "server", json_string(invocation_argument(invocation, 0)));
        json_object_set(result, "files", conversation.items);
        output_json(result);
        return true;
    }
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 6);
    json_array_foreach(conversation.items, i, file)
    {
        table_add_row(table);
        table_set_text(table, 0, file, "name");
        table_set_text(table, 1, file, "timeline");
        table_set_text(table, 2, file, "state");
        table_set_bytes(table, 3, file, "held_bytes");
        table_set_bytes(table, 4, file, "stored_bytes");
        table_set_text(table, 5, file, "written_at");
    }
    if (json_array_size(conversation.items) == 0)
        output_line(invocation, "no WAL");
    table_print(table);
    return true;
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

bool command_wal_status(struct invocation *invocation, struct error *err)
{
    static const char *const titles[] = {"WHAT", ">TIMELINE", "FROM", "TO", "WRITTEN"};
    struct conversation conversation SCOPED(conversation_done) = {0};
    json_t *result SCOPED(scoped_json) = NULL;
    char stored[TEXT_BYTES_SIZE];

    if (!client_ask(invocation, &conversation, &result, err))
        return false;
    if (output_is_json(invocation)) {
        output_json(result);
        return true;
    }
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 5);
    add_stretches(table, json_object_get(result, "ranges"), "held", false);
    add_stretches(table, json_object_get(result, "gaps"), "GAP", true);
    table_print(table);
    text_format_bytes((uint64_t)json_number_or(result, "stored_bytes", 0), stored);
    size_t gaps = json_array_size(json_object_get(result, "gaps"));
    output_line(invocation, "%lld segments, stored as %s, %s", (long long)json_number_or(result, "segments", 0), stored,
                gaps == 0 ? "without a gap" : "WITH GAPS: a recovery cannot pass them");
    return true;
}
