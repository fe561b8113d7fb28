#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define SCHEMA 1

bool output_is_json(const struct invocation *invocation)
{
    return invocation_has(invocation, OPTION_ID_json);
}

bool output_is_quiet(const struct invocation *invocation)
{
    return invocation_has(invocation, OPTION_ID_quiet) || invocation_has(invocation, OPTION_ID_nagios);
}

/* https://no-color.org: any value that is not empty; --color overrides. */
bool output_has_color(const struct invocation *invocation, FILE *stream)
{
    const char *when = invocation_text(invocation, OPTION_ID_color);
    const char *terminal = getenv("TERM");

    if (when != NULL && strcmp(when, "auto") != 0)
        return strcmp(when, "always") == 0;
    return text_is_empty(getenv("NO_COLOR")) && isatty(fileno(stream)) && terminal != NULL &&
           strcmp(terminal, "dumb") != 0;
}

char *output_printable(const char *text)
{
    char *copy = memory_copy_text(text);

    text_make_printable(copy);
    return copy;
}

static char *PRINTF_LIKE(1, 0) format_printable(const char *format, va_list args)
{
    char *text = memory_text_of(format, args);

    text_make_printable(text);
    return text;
}

void output_line(const struct invocation *invocation, const char *format, ...)
{
    va_list args;

    if (output_is_quiet(invocation) || output_is_json(invocation))
        return;
    va_start(args, format);
    char *text SCOPED(scoped_free) = format_printable(format, args);
    va_end(args);
    printf("%s\n", text);
}

/* "pgcoffer: warning: ..." with the word in color where there is any. */
static void print_message(const struct invocation *invocation, const char *word, const char *color, const char *text)
{
    bool has_color = output_has_color(invocation, stderr);

    fflush(stdout); /* results and messages may go to one terminal */
    fprintf(stderr, "pgcoffer: %s%s:%s %s\n", has_color ? color : "", word, has_color ? "\033[0m" : "", text);
}

void output_warning(const struct invocation *invocation, const char *format, ...)
{
    va_list args;

    if (output_is_quiet(invocation))
        return;
    va_start(args, format);
    char *text SCOPED(scoped_free) = format_printable(format, args);
    va_end(args);
    print_message(invocation, "warning", "\033[33m", text);
}

void output_detail(const struct invocation *invocation, const char *format, ...)
{
    va_list args;

    if (output_is_quiet(invocation) || !invocation_has(invocation, OPTION_ID_verbose))
        return;
    va_start(args, format);
    char *text SCOPED(scoped_free) = format_printable(format, args);
    va_end(args);
    fflush(stdout);
    fprintf(stderr, "pgcoffer: %s\n", text);
}

void output_json(const json_t *data)
{
    json_t *object SCOPED(scoped_json) = json_object();

    json_object_set_new(object, "schema", json_integer(SCHEMA));
    if (data != NULL)
        json_object_update(object, (json_t *)data);
    char *line SCOPED(scoped_free) = json_to_line(object);
    printf("%s\n", line);
    fflush(stdout); /* `follow` prints one after the other, and whoever reads a pipe waits for each */
}

static void print_error_object(const struct invocation *invocation, const struct error *err)
{
    json_t *event SCOPED(scoped_json) = control_error_to_json(err);
    json_t *data SCOPED(scoped_json) = invocation->findings != NULL ? json_copy(invocation->findings) : json_object();

    json_object_del(event, "event");
    json_object_set(data, "error", event);
    output_json(data);
}

void output_error(const struct invocation *invocation, const struct error *err)
{
    char *message SCOPED(scoped_free) = output_printable(err->message);
    char *detail SCOPED(scoped_free) = output_printable(err->detail);
    char *hint SCOPED(scoped_free) = output_printable(err->hint);

    if (output_is_json(invocation) && !invocation->error_is_printed)
        print_error_object(invocation, err);
    print_message(invocation, "error", "\033[31m", message);
    if (detail[0] != '\0')
        fprintf(stderr, "detail: %s\n", detail);
    if (hint[0] != '\0')
        fprintf(stderr, "hint: %s\n", hint);
}

void output_moments(const struct invocation *invocation, const char *server, const json_t *moments)
{
    const json_t *moment;
    size_t i;

    json_array_foreach(moments, i, moment)
    {
        const char *from = json_text_or(moment, "from", "?");
        const char *until = json_text_or(moment, "until", "?");
        const char *commit = json_text_or_null(moment, "last_commit_at");
        output_line(invocation, "%s: every moment from %s to %s can be restored, on timeline %lld%s%s",
                    server != NULL ? server : "?", from, until, (long long)json_number_or(moment, "timeline", 0),
                    commit != NULL ? "; last commit: " : "", commit != NULL ? commit : "");
    }
}
