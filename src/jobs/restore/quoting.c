#include <ctype.h>
#include <string.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"

/* `text` with each character of `special` replaced by what `escape` says, between `quote`s. */
static char *quote(const char *text, const char *special, const char *(*escape)(char character), const char *around)
{
    size_t size = 2 * strlen(around) + 1;

    for (const char *at = text; *at != '\0'; at++)
        size += strchr(special, *at) != NULL ? strlen(escape(*at)) : 1;
    char *quoted = memory_new(size);
    char *end = stpcpy(quoted, around);
    for (const char *at = text; *at != '\0'; at++) {
        if (strchr(special, *at) != NULL)
            end = stpcpy(end, escape(*at));
        else
            *end++ = *at;
    }
    stpcpy(end, around);
    return quoted;
}

static const char *escape_for_shell(char character)
{
    (void)character;
    return "'\\''";
}

/* Quotes only where the shell would see something in the word: people read it. */
static bool is_plain_word(const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && strchr("/._-=:,+@%", *at) == NULL)
            return false;
    return text[0] != '\0';
}

char *restore_quote_for_shell(const char *text)
{
    if (is_plain_word(text))
        return memory_copy_text(text);
    return quote(text, "'", escape_for_shell, "'");
}

static const char *escape_for_conf(char character)
{
    switch (character) {
    case '\'':
        return "''";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    default:
        return "\\\\";
    }
}

char *quote_for_conf(const char *text)
{
    return quote(text, "'\\\n\r", escape_for_conf, "'");
}

static const char *escape_for_conninfo(char character)
{
    return character == '\'' ? "\\'" : "\\\\";
}

char *quote_for_conninfo(const char *text)
{
    return quote(text, "'\\", escape_for_conninfo, "'");
}

static const char *escape_for_restore_command(char character)
{
    (void)character;
    return "%%";
}

char *quote_percent(const char *text)
{
    return quote(text, "%", escape_for_restore_command, "");
}
