#include <ctype.h>
#include <string.h>

#include "jobs/restore/restore_internal.h"

/*
 * A line is "OID PATH", ended by a newline. In the path newline, carriage return and backslash are preceded by a
 * backslash. Source: PostgreSQL's read_tablespace_map().
 */
static size_t line_size(const char *text, size_t size)
{
    bool is_escaped = false;

    for (size_t i = 0; i < size; i++) {
        if (!is_escaped && text[i] == '\n')
            return i + 1;
        is_escaped = !is_escaped && text[i] == '\\';
    }
    return size;
}

static bool append_path(struct buffer *buffer, const char *path, struct error *err)
{
    for (; *path != '\0'; path++) {
        if ((*path == '\n' || *path == '\r' || *path == '\\') && !buffer_append(buffer, "\\", 1, err))
            return false;
        if (!buffer_append(buffer, path, 1, err))
            return false;
    }
    return true;
}

static bool append_line(struct buffer *buffer, const char *line, size_t size, const struct restore_place *places,
                        size_t count, struct error *err)
{
    uint64_t oid = 0;
    size_t digits = 0;

    for (; digits < size && digits < 10 && isdigit((unsigned char)line[digits]); digits++)
        oid = oid * 10 + (uint64_t)(line[digits] - '0');
    if (digits == 0 || digits == size || line[digits] != ' ')
        return error_set(err, ERROR_INTEGRITY, "the backup's tablespace_map is damaged");
    for (size_t i = 0; i < count; i++)
        if (places[i].oid == oid && oid != 0)
            return buffer_append(buffer, line, digits + 1, err) && append_path(buffer, places[i].path, err) &&
                   buffer_append(buffer, "\n", 1, err);
    return error_set(err, ERROR_INTEGRITY, "the backup's tablespace_map names a tablespace %llu that it does not hold",
                     (unsigned long long)oid);
}

bool tablespace_map_rewrite(const char *text, size_t size, const struct restore_place *places, size_t count,
                            struct buffer *ret_text, struct error *err)
{
    while (size > 0) {
        size_t line = line_size(text, size);
        if (!append_line(ret_text, text, line, places, count, err))
            return false;
        text += line;
        size -= line;
    }
    return true;
}
