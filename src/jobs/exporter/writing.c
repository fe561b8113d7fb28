#include <stdarg.h>
#include <string.h>

#include "jobs/exporter/exporter_internal.h"
#include "pgcoffer/base/memory.h"

void write_bytes(struct buffer *out, const char *bytes, size_t size)
{
    struct error ignored;

    if (out->limit > 0 && buffer_append(out, bytes, size, &ignored))
        return;
    out->used = out->limit = 0;
}

void write_text(struct buffer *out, const char *text)
{
    write_bytes(out, text, strlen(text));
}

void write_format(struct buffer *out, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    char *text SCOPED(scoped_free) = memory_text_of(format, arguments);
    va_end(arguments);
    write_text(out, text);
}
