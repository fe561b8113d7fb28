#include "jobs/backup/label_internal.h"

#include <string.h>

#include "pgcoffer/base/text.h"

#define LONGEST_LINE 2048 /* the label itself may have 1024 bytes */

struct found {
    bool has_start;
    bool has_timeline;
};

static bool read_start(const char *value, struct label *label, struct error *err)
{
    char position[WAL_POSITION_TEXT_SIZE];
    size_t size = strcspn(value, " ");

    if (size >= sizeof position)
        return error_set(err, ERROR_INTEGRITY, "START WAL LOCATION is too long");
    memcpy(position, value, size);
    position[size] = '\0';
    return wal_position_parse(position, &label->start_position, err);
}

static bool read_line(const char *line, struct label *label, struct found *found, struct error *err)
{
    static const char start[] = "START WAL LOCATION: ", from[] = "BACKUP FROM: ", at[] = "START TIME: ",
                      timeline[] = "START TIMELINE: ";
    struct error ignored;
    uint64_t number = 0;

    if (text_starts_with(line, start)) {
        found->has_start = true;
        return read_start(line + strlen(start), label, err);
    }
    if (text_starts_with(line, from))
        label->from_standby = strcmp(line + strlen(from), "standby") == 0;
    if (text_starts_with(line, at) && !timestamp_parse(line + strlen(at), &label->started_at, &ignored))
        label->started_at = (struct timestamp){0};
    if (text_starts_with(line, timeline)) {
        found->has_timeline = true;
        if (!text_parse_unsigned(line + strlen(timeline), UINT32_MAX, &number) || number == 0)
            return error_set(err, ERROR_INTEGRITY, "START TIMELINE is not a number");
        label->start_timeline = (struct timeline){(uint32_t)number};
    }
    return true;
}

bool label_parse(const char *text, size_t size, struct label *ret_label, struct error *err)
{
    struct label label = {0};
    struct found found = {0};
    char line[LONGEST_LINE];
    const char *end = text + size;

    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline != NULL ? newline : end;
        size_t length = (size_t)(line_end - text);
        if (length < sizeof line && memchr(text, '\0', length) == NULL) {
            memcpy(line, text, length);
            line[length] = '\0';
            if (!read_line(line, &label, &found, err)) {
                err->kind = ERROR_INTEGRITY;
                return error_wrap(err, "could not read the server's backup_label");
            }
        }
        text = newline != NULL ? newline + 1 : end;
    }
    if (!found.has_start || !found.has_timeline)
        return error_set(err, ERROR_INTEGRITY, "could not read the server's backup_label: it has no %s line",
                         found.has_start ? "START TIMELINE" : "START WAL LOCATION");
    *ret_label = label;
    return true;
}
