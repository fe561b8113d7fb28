#include "pgcoffer/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int exit_status;
    const char *word;
} kinds[ERROR_KIND_COUNT] = {
#define ERROR_KIND(name, status, word) [ERROR_##name] = {status, word},
#include "pgcoffer/base/error_kinds.def"
#undef ERROR_KIND
};

static void PRINTF_LIKE(4, 0)
    set_with_errnum(struct error *err, enum error_kind kind, int errnum, const char *format, va_list args)
{
    char message[sizeof err->message] = ""; /* not in place: the arguments may point into *err */

    int length = vsnprintf(message, sizeof message, format, args);
    size_t used = (size_t)length < sizeof message ? (size_t)length : sizeof message - 1;
    if (errnum != 0)
        snprintf(message + used, sizeof message - used, ": %s", strerror(errnum));
    *err = (struct error){.kind = kind, .errnum = errnum};
    memcpy(err->message, message, sizeof message);
}

bool error_set(struct error *err, enum error_kind kind, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_with_errnum(err, kind, 0, format, args);
    va_end(args);
    return false;
}

bool error_set_errno(struct error *err, const char *format, ...)
{
    int errnum = errno;
    va_list args;

    va_start(args, format);
    set_with_errnum(err, ERROR_STORAGE, errnum, format, args);
    va_end(args);
    return false;
}

bool error_set_kind_errno(struct error *err, enum error_kind kind, const char *format, ...)
{
    int errnum = errno;
    va_list args;

    va_start(args, format);
    set_with_errnum(err, kind, errnum, format, args);
    va_end(args);
    return false;
}

/* What the end of the message cut off is no part of the cause. */
static void mark_cause(struct error *err, size_t at, size_t size)
{
    size_t length = strlen(err->message);

    if (at >= length || size == 0) {
        err->cause_at = err->cause_size = 0;
        return;
    }
    err->cause_at = (unsigned)at;
    err->cause_size = (unsigned)(size < length - at ? size : length - at);
}

bool error_set_cause(struct error *err, enum error_kind kind, const char *before, const char *cause, const char *behind)
{
    size_t at = strlen(before), size = strlen(cause); /* now: they may point into *err */

    error_set(err, kind, "%s%s%s", before, cause, behind);
    mark_cause(err, at, size);
    return false;
}

bool error_wrap(struct error *err, const char *format, ...)
{
    char context[512];
    char inner[sizeof err->message];
    va_list args;

    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);

    memcpy(inner, err->message, sizeof inner);
    int used = snprintf(err->message, sizeof err->message, "%s: ", context);
    snprintf(err->message + used, sizeof err->message - (size_t)used, "%s", inner);
    mark_cause(err, err->cause_at + (size_t)used, err->cause_size);
    return false;
}

bool error_detail(struct error *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(err->detail, sizeof err->detail, format, args);
    va_end(args);
    return false;
}

bool error_hint(struct error *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(err->hint, sizeof err->hint, format, args);
    va_end(args);
    return false;
}

bool error_check(struct error *err, const char *name)
{
    snprintf(err->check, sizeof err->check, "%s", name);
    return false;
}

int error_exit_status(const struct error *err)
{
    return kinds[err->kind].exit_status;
}

const char *error_kind_word(enum error_kind kind)
{
    return kinds[kind].word;
}

enum error_kind error_kind_from_word(const char *word)
{
    for (int kind = 0; kind < ERROR_KIND_COUNT; kind++)
        if (strcmp(kinds[kind].word, word) == 0)
            return (enum error_kind)kind;
    return ERROR_FAILED;
}
