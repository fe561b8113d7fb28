#include "pgcoffer/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/text.h"

#define LINE_SIZE 8192

static const struct {
    const char *word;
    int journal_priority; /* syslog(3) */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARNING] = {"warning", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

static char identity[128];
static enum log_level least_level = LOG_LEVEL_INFO;

void log_set_identity(const char *who)
{
    snprintf(identity, sizeof identity, "%s", who);
}

void log_set_level(enum log_level least)
{
    least_level = least;
}

bool log_level_from_word(const char *word, enum log_level *ret_level)
{
    for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++) {
        if (strcmp(levels[level].word, word) == 0) {
            *ret_level = (enum log_level)level;
            return true;
        }
    }
    return false;
}

static size_t write_head(enum log_level level, char line[LINE_SIZE])
{
    const char *separator = identity[0] == '\0' ? "" : ": ";
    char now[TIMESTAMP_TEXT_SIZE];

    if (getenv("JOURNAL_STREAM") != NULL)
        return (size_t)snprintf(line, LINE_SIZE, "<%d>%s%s", levels[level].journal_priority, identity, separator);
    timestamp_format(clock_now(), now);
    return (size_t)snprintf(line, LINE_SIZE, "%s %-7s %s%s", now, levels[level].word, identity, separator);
}

/* One write(2) a line, so that lines of several processes on one descriptor do not mix. */
static void PRINTF_LIKE(2, 0) write_line(enum log_level level, const char *format, va_list args)
{
    char line[LINE_SIZE];
    int errnum = errno;

    if (level > least_level)
        return;
    size_t used = write_head(level, line);
    vsnprintf(line + used, sizeof line - used - 1, format, args);
    text_make_printable(line);
    used = strlen(line);
    line[used++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written; /* there is nobody left to tell */
    errno = errnum;
}

void log_warning(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(LOG_LEVEL_WARNING, format, args);
    va_end(args);
}

void log_info(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(LOG_LEVEL_INFO, format, args);
    va_end(args);
}

void log_debug(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(LOG_LEVEL_DEBUG, format, args);
    va_end(args);
}

static void PRINTF_LIKE(2, 3) write_formatted(enum log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(level, format, args);
    va_end(args);
}

void log_failure(enum log_level level, const struct error *err)
{
    const char *before_detail = err->detail[0] != '\0' ? "; detail: " : "";
    const char *before_hint = err->hint[0] != '\0' ? "; hint: " : "";

    write_formatted(level, "%s%s%s%s%s", err->message, before_detail, err->detail, before_hint, err->hint);
}
