#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* Stands above our settings; the block of an earlier restore is known by it. */
#define COMMENT_START "# pgcoffer: "

/* Everything that steered an earlier recovery. recovery_target and all that begin with it are among them. */
static const char *const replaced[] = {"restore_command", "recovery_end_command", "archive_cleanup_command",
                                       "primary_conninfo", "primary_slot_name"};

struct conf_line {
    const char *text;
    size_t size;      /* with the newline */
    const char *name; /* NULL: not a setting */
    size_t name_size;
    const char *value; /* behind blanks and '='; ends at the line's end */
};

static bool is_blank(char character)
{
    return character == ' ' || character == '\t' || character == '\r';
}

/* As guc-file.l: a name, blanks, perhaps one '=', a value. */
static struct conf_line next_line(const char *text, const char *end)
{
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    const char *stop = newline != NULL ? newline : end;
    struct conf_line line = {.text = text, .size = (size_t)(stop - text) + (newline != NULL)};
    const char *at = text;

    while (at < stop && is_blank(*at))
        at++;
    const char *name = at;
    while (at < stop && (isalnum((unsigned char)*at) || *at == '_' || *at == '.' || *at == '$' || (*at & 0x80) != 0))
        at++;
    if (at == name)
        return line;
    line.name = name;
    line.name_size = (size_t)(at - name);
    while (at < stop && is_blank(*at))
        at++;
    if (at < stop && *at == '=')
        at++;
    while (at < stop && is_blank(*at))
        at++;
    line.value = at;
    return line;
}

static bool has_name(const struct conf_line *line, const char *name)
{
    return line->name != NULL && line->name_size == strlen(name) && strncasecmp(line->name, name, line->name_size) == 0;
}

static bool is_replaced(const struct conf_line *line)
{
    static const char target[] = "recovery_target";

    if (line->name == NULL)
        return line->size >= strlen(COMMENT_START) && memcmp(line->text, COMMENT_START, strlen(COMMENT_START)) == 0;
    if (line->name_size >= strlen(target) && strncasecmp(line->name, target, strlen(target)) == 0)
        return true;
    for (size_t i = 0; i < sizeof replaced / sizeof replaced[0]; i++)
        if (has_name(line, replaced[i]))
            return true;
    return false;
}

static bool append_text(struct buffer *buffer, const char *text, struct error *err)
{
    return buffer_append(buffer, text, strlen(text), err);
}

bool recovery_conf_rewrite(const char *old_text, size_t size, const char *comment, const struct conf_setting *settings,
                           struct buffer *ret_text, struct error *err)
{
    const char *end = old_text + size;

    for (const char *at = old_text; at < end;) {
        struct conf_line line = next_line(at, end);
        if (!is_replaced(&line) && !buffer_append(ret_text, line.text, line.size, err))
            return false;
        at += line.size;
    }
    if (ret_text->used > 0 && ret_text->bytes[ret_text->used - 1] != '\n' && !append_text(ret_text, "\n", err))
        return false;
    char *head SCOPED(scoped_free) = memory_text(COMMENT_START "%s\n", comment);
    if (!append_text(ret_text, head, err))
        return false;
    for (; settings->name != NULL; settings++) {
        char *value SCOPED(scoped_free) = quote_for_conf(settings->value);
        char *line SCOPED(scoped_free) = memory_text("%s = %s\n", settings->name, value);
        if (!append_text(ret_text, line, err))
            return false;
    }
    return true;
}

/* A quoted value ends at its closing quote ('' and \' are quotes), a bare one at a blank or '#'. */
static void copy_value(const char *at, const char *end, char *ret_value, size_t value_size)
{
    size_t used = 0;
    bool is_quoted = at < end && *at == '\'';

    for (at += is_quoted; at < end && *at != '\n' && used + 1 < value_size; at++) {
        if (!is_quoted && (is_blank(*at) || *at == '#'))
            break;
        if (is_quoted && *at == '\'') {
            if (at + 1 == end || at[1] != '\'')
                break;
            at++;
        } else if (is_quoted && *at == '\\' && at + 1 < end) {
            at++;
        }
        ret_value[used++] = *at;
    }
    ret_value[used] = '\0';
}

bool recovery_conf_find(const char *text, size_t size, const char *name, char *ret_value, size_t value_size)
{
    const char *end = text + size;
    bool is_found = false;

    for (const char *at = text; at < end;) {
        struct conf_line line = next_line(at, end);
        if (has_name(&line, name)) {
            copy_value(line.value, end, ret_value, value_size);
            is_found = true;
        }
        at += line.size;
    }
    return is_found;
}
