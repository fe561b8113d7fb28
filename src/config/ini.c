#include "pgcoffer/config/ini.h"

#include <stdbool.h>
#include <string.h>

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

struct ini_reader {
    const struct ini_handler *handler;
    struct ini_place place;
    bool has_section;
    char section[INI_LINE_SIZE];
};

static bool is_blank(char character)
{
    return character == ' ' || character == '\t';
}

static char *skip_blanks(char *at)
{
    while (is_blank(*at))
        at++;
    return at;
}

static void cut_blanks(char *text)
{
    size_t size = strlen(text);

    while (size > 0 && is_blank(text[size - 1]))
        size--;
    text[size] = '\0';
}

static bool is_end(const char *at)
{
    return *at == '\0' || *at == '#' || *at == ';';
}

/* The kind and the place are the same for all of them. */
#define FAIL(reader, err, ...)                                                                                         \
    (error_set((err), ERROR_CONFIG, __VA_ARGS__),                                                                      \
     error_wrap((err), "%s:%u", (reader)->place.file, (reader)->place.line))

static bool read_section(struct ini_reader *reader, char *line, struct error *err)
{
    char *name = skip_blanks(line + 1);
    char *end = strchr(name, ']');

    if (end == NULL) {
        FAIL(reader, err, "a section's name ends with \"]\"");
        return error_hint(err, "Write it as [%s].", name);
    }
    if (!is_end(skip_blanks(end + 1)))
        return FAIL(reader, err, "\"%s\" stands behind the section's name", skip_blanks(end + 1));
    *end = '\0';
    cut_blanks(name);
    if (name[0] == '\0')
        return FAIL(reader, err, "a section needs a name");
    memcpy(reader->section, name, strlen(name) + 1);
    reader->has_section = true;
    return reader->handler->section(reader->handler->context, &reader->place, reader->section, err);
}

/* Takes the quotes and backslashes away in place. */
static bool unquote(const struct ini_reader *reader, char *value, struct error *err)
{
    char *to = value;
    char *from = value + 1;

    for (; *from != '"'; from++) {
        if (*from == '\\') {
            from++;
            if (*from != '"' && *from != '\\')
                return FAIL(reader, err, "a backslash in quotes stands only before \\ and \"");
        }
        if (*from == '\0') {
            FAIL(reader, err, "the closing quote is missing");
            return error_hint(err, "Write a quote in a value as \\\".");
        }
        *to++ = *from;
    }
    if (!is_end(skip_blanks(from + 1)))
        return FAIL(reader, err, "\"%s\" stands behind the closing quote", skip_blanks(from + 1));
    *to = '\0';
    return true;
}

/* A comment begins at the start of the value or after a blank, so "a#b" is a value. */
static void cut_comment(char *value)
{
    for (char *at = value; *at != '\0'; at++) {
        if ((*at == '#' || *at == ';') && (at == value || is_blank(at[-1]))) {
            *at = '\0';
            break;
        }
    }
    cut_blanks(value);
}

static bool read_pair(struct ini_reader *reader, char *line, struct error *err)
{
    char *equals = strchr(line, '=');

    if (equals == NULL) {
        cut_comment(line);
        FAIL(reader, err, "\"%s\" is neither a [section] nor a key with a value", line);
        return error_hint(err, "Write it as: key = value");
    }
    *equals = '\0';
    char *value = skip_blanks(equals + 1);
    cut_blanks(line);
    if (line[0] == '\0')
        return FAIL(reader, err, "the key before \"=\" is missing");
    if (!reader->has_section) {
        FAIL(reader, err, "\"%s\" stands outside of a section", line);
        return error_hint(err, "Put it below a line such as [pgcoffer] or [primary].");
    }
    if (value[0] != '"')
        cut_comment(value);
    else if (!unquote(reader, value, err))
        return false;
    return reader->handler->pair(reader->handler->context, &reader->place, reader->section, line, value, err);
}

static bool has_control_character(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f)
            return true;
    return false;
}

static bool read_line(struct ini_reader *reader, const char *text, size_t size, struct error *err)
{
    char line[INI_LINE_SIZE + 1];

    if (size > 0 && text[size - 1] == '\r')
        size--;
    if (size > INI_LINE_SIZE)
        return FAIL(reader, err, "the line is longer than %d bytes", INI_LINE_SIZE);
    if (has_control_character(text, size)) {
        FAIL(reader, err, "the line has a control character");
        return error_hint(err, "Only text, blanks and tabs are allowed; was the file saved as UTF-8 text?");
    }
    memcpy(line, text, size);
    line[size] = '\0';
    char *start = skip_blanks(line);
    if (is_end(start))
        return true;
    return *start == '[' ? read_section(reader, start, err) : read_pair(reader, start, err);
}

bool ini_parse(const char *text, size_t size, const char *file_name, const struct ini_handler *handler,
               struct error *err)
{
    struct ini_reader reader = {.handler = handler, .place = {.file = file_name}};
    size_t mark_size = strlen(BYTE_ORDER_MARK);

    if (size >= mark_size && memcmp(text, BYTE_ORDER_MARK, mark_size) == 0) {
        text += mark_size;
        size -= mark_size;
    }
    while (size > 0) {
        const char *newline = memchr(text, '\n', size);
        size_t line_size = newline == NULL ? size : (size_t)(newline - text);
        size_t consumed = line_size + (newline != NULL);

        reader.place.line++;
        if (!read_line(&reader, text, line_size, err))
            return false;
        text += consumed;
        size -= consumed;
    }
    return true;
}
