#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* wal list, wal status */

static void gather_files(const struct invocation *invocation, const json_t *items, json_t *result)
{
    json_object_set_new(result, "server", json_string(invocation_argument(invocation, 0)));
    json_object_set_new(result, "files", items != NULL ? json_incref((json_t *)items) : json_array());
}

/* Restore points: the first of them, and how many more. */
static void set_contents(struct table *table, const json_t *contents)
{
    const json_t *points = json_object_get(contents, "restore_points");
    const char *first = json_text_or_null(json_array_get(points, 0), "name");
    size_t count = json_array_size(points);
    char more[32] = "";

    if (!json_is_object(contents))
        return;
    table_set_text(table, 6, contents, "commits");
    table_set_text(table, 7, contents, "last_commit_at");
    if (count > 1)
        snprintf(more, sizeof more, " and %zu%s more", count - 1,
                 json_is_set(contents, "more_restore_points") ? " or" : "");
    if (first != NULL)
        table_set(table, 8, "%s%s", first, more);
}

static void print_files(const struct invocation *invocation, const json_t *result)
{
    static const char *const titles[] = {"NAME",    ">TIMELINE", "STATE",       ">HELD",         ">STORED",
                                         "WRITTEN", ">COMMITS",  "LAST COMMIT", "RESTORE POINTS"};
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 9);
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
        set_contents(table, json_object_get(file, "contents"));
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

/* "GAP from 0/3000000 to 0/5000000 on timeline 1: 2 segments, removed by ... , noticed ...: its words" */
static void print_gap(const struct invocation *invocation, const json_t *gap)
{
    const char *end = json_text_or_null(gap, "end");
    const char *start = json_text_or(gap, "start", "?");
    const char *what = json_text_or(gap, "what", "?");
    const char *noticed = json_text_or_null(gap, "noticed_at");
    const char *words = json_text_or_null(gap, "words");
    long long segments = (long long)json_number_or(gap, "segments", 0);
    char count[48];

    snprintf(count, sizeof count, "%lld segment%s", segments, segments == 1 ? "" : "s");
    output_line(invocation, "GAP from %s %s%s on timeline %lld: %s, %s%s%s%s%s", start, end != NULL ? "to " : "on,",
                end != NULL ? end : "", (long long)json_number_or(gap, "timeline", 0),
                end != NULL ? count : "nothing behind it is held yet", what, noticed != NULL ? ", noticed " : "",
                noticed != NULL ? noticed : "", text_is_empty(words) ? "" : ": ", text_is_empty(words) ? "" : words);
}

static void print_ranges(const struct invocation *invocation, const json_t *result)
{
    static const char *const titles[] = {"WHAT", ">TIMELINE", "FROM", "TO", "WRITTEN"};
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 5);
    const json_t *gap_list = json_object_get(result, "gaps");
    long long gaps = (long long)json_number_or(result, "gap_count", (int64_t)json_array_size(gap_list));
    const json_t *gap;
    size_t i;
    long long segments = (long long)json_number_or(result, "segments", 0);
    char stored[TEXT_BYTES_SIZE];

    add_stretches(table, json_object_get(result, "ranges"), "held", false);
    add_stretches(table, gap_list, "GAP", true);
    table_print(table);
    json_array_foreach(gap_list, i, gap)
    {
        print_gap(invocation, gap);
    }
    output_moments(invocation, json_text_or_null(result, "server"), json_object_get(result, "moments"));
    text_format_bytes((uint64_t)json_number_or(result, "stored_bytes", 0), stored);
    output_line(invocation, "%lld segment%s, stored as %s, %s", segments, segments == 1 ? "" : "s", stored,
                gaps == 0 ? "without a gap" : "WITH GAPS: a recovery cannot pass them");
}

bool command_wal_status(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, print_ranges, err);
}
