#include "jobs/events_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

bool events_log(struct control_stream *events, struct error *err, const char *level, const char *format, ...)
{
    char message[2048];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    text_make_printable(message);
    json_t *line SCOPED(scoped_json) = json_object();
    json_object_set_new(line, "event", json_string("log"));
    json_object_set_new(line, "level", json_string(level));
    json_object_set_new(line, "message", control_text(message));
    return control_send(events, line, err);
}

json_t *events_position(struct wal_position position)
{
    char text[WAL_POSITION_TEXT_SIZE];

    wal_position_format(position, text);
    return json_string(text);
}

static size_t line_size(const json_t *json)
{
    char *line SCOPED(scoped_free) = json_to_line(json);

    return strlen(line);
}

json_t *events_backup(const struct backup_meta *meta)
{
    static const char *const lists[] = {"notices", "files", "tablespaces"};
    json_t *json = backup_meta_to_json(meta);

    for (size_t i = 0; i < sizeof lists / sizeof lists[0] && line_size(json) > EVENTS_META_MOST_BYTES; i++) {
        json_object_del(json, lists[i]);
        if (json_object_get(json, "left_out") == NULL)
            json_object_set_new(json, "left_out", json_array());
        json_array_append_new(json_object_get(json, "left_out"), json_string(lists[i]));
    }
    return json;
}
