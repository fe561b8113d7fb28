#include <libsmartcols.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

struct table {
    const struct invocation *invocation;
    struct libscols_table *columns;
    struct libscols_line *row;
};

/* libsmartcols fails for want of memory only. */
static void *demand(void *pointer)
{
    if (pointer == NULL)
        abort();
    return pointer;
}

struct table *table_new(const struct invocation *invocation, const char *const *titles, size_t count)
{
    struct table *table = memory_new(sizeof *table);

    table->invocation = invocation;
    table->columns = demand(scols_new_table());
    scols_table_enable_colors(table->columns, output_has_color(invocation, stdout));
    for (size_t i = 0; i < count; i++) {
        bool is_right = titles[i][0] == '>';
        demand(scols_table_new_column(table->columns, titles[i] + is_right, 0, is_right ? SCOLS_FL_RIGHT : 0));
    }
    return table;
}

void table_free(struct table *table)
{
    if (table == NULL)
        return;
    scols_unref_table(table->columns);
    free(table);
}

void table_add_row(struct table *table)
{
    table->row = demand(scols_table_new_line(table->columns, NULL));
}

void table_set(struct table *table, size_t column, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *text = memory_text_of(format, args);
    va_end(args);
    text_make_printable(text);
    if (scols_line_refer_data(table->row, column, text) != 0)
        abort();
}

/* People need no microseconds: "2026-11-22T01:30:00.123456Z" -> "2026-11-22T01:30:00Z". */
static bool is_time_with_fraction(const char *text)
{
    return strlen(text) == sizeof "2026-11-22T01:30:00.123456Z" - 1 && text[10] == 'T' && text[19] == '.' &&
           text[26] == 'Z';
}

void table_set_text(struct table *table, size_t column, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (json_is_integer(value))
        table_set(table, column, "%lld", (long long)json_integer_value(value));
    else if (json_is_string(value) && is_time_with_fraction(json_string_value(value)))
        table_set(table, column, "%.19sZ", json_string_value(value));
    else if (json_is_string(value) && json_string_length(value) > 0)
        table_set(table, column, "%s", json_string_value(value));
    else if (json_is_boolean(value))
        table_set(table, column, "%s", json_is_true(value) ? "yes" : "no");
    else
        table_set(table, column, "-");
}

void table_set_bytes(struct table *table, size_t column, const json_t *object, const char *key)
{
    char text[TEXT_BYTES_SIZE];
    int64_t bytes = json_number_or(object, key, -1);

    if (bytes < 0) {
        table_set(table, column, "-");
        return;
    }
    text_format_bytes((uint64_t)bytes, text);
    table_set(table, column, "%s", text);
}

void table_mark_bad(struct table *table)
{
    scols_line_set_color(table->row, "red");
}

void table_mark_doubtful(struct table *table)
{
    scols_line_set_color(table->row, "yellow");
}

void table_print(struct table *table)
{
    if (output_is_quiet(table->invocation) || scols_table_is_empty(table->columns))
        return;
    scols_print_table(table->columns);
}

/* "stored_bytes" -> "stored bytes" */
static char *name_of_key(const char *key)
{
    char *name = memory_copy_text(key);

    for (char *at = name; *at != '\0'; at++)
        if (*at == '_')
            *at = ' ';
    return name;
}

/* A file of a backup, a tablespace, or whatever a newer daemon sends. */
static char *text_of_element(const json_t *element)
{
    const char *name = json_text_or_null(element, "name");
    const char *path = json_text_or_null(element, "path");
    char size[TEXT_BYTES_SIZE];

    if (json_is_string(element))
        return memory_copy_text(json_string_value(element));
    if (name != NULL && json_number_or(element, "size", -1) >= 0) {
        text_format_bytes((uint64_t)json_number_or(element, "size", 0), size);
        return memory_text("%s (%s)", name, size);
    }
    if (path != NULL && json_number_or(element, "oid", -1) >= 0)
        return memory_text("%lld at %s", (long long)json_number_or(element, "oid", 0), path);
    return json_to_line(element);
}

static char *join_texts(const json_t *list)
{
    char *joined = memory_copy_text("");
    const json_t *element;
    size_t i;

    json_array_foreach(list, i, element)
    {
        char *text SCOPED(scoped_free) = text_of_element(element);
        char *longer = memory_text("%s%s%s", joined, i > 0 ? "; " : "", text);
        free(joined);
        joined = longer;
    }
    return joined;
}

static void set_value(struct table *table, const json_t *data, const char *key, const json_t *value)
{
    if (json_is_integer(value) && text_ends_with(key, "bytes")) {
        table_set_bytes(table, 1, data, key);
    } else if (json_is_real(value) && text_ends_with(key, "seconds")) {
        char duration[TEXT_DURATION_SIZE];
        text_format_duration(json_real_value(value), duration);
        table_set(table, 1, "%s", duration);
    } else if (json_is_array(value)) {
        char *joined SCOPED(scoped_free) = join_texts(value);
        table_set(table, 1, "%s", joined);
    } else if (json_is_object(value)) {
        char *line SCOPED(scoped_free) = json_to_line(value);
        table_set(table, 1, "%s", line);
    } else {
        table_set_text(table, 1, data, key);
    }
}

static bool is_empty(const json_t *value)
{
    return json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

void table_print_members(const struct invocation *invocation, const json_t *data)
{
    static const char *const titles[] = {"WHAT", "VALUE"};
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 2);
    const char *key;
    json_t *value;

    scols_table_enable_noheadings(table->columns, 1);
    json_object_foreach((json_t *)data, key, value)
    {
        if (is_empty(value))
            continue;
        char *name SCOPED(scoped_free) = name_of_key(key);
        table_add_row(table);
        table_set(table, 0, "%s", name);
        set_value(table, data, key, value);
    }
    table_print(table);
}
