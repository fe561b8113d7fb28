#include "jobs/gap_told_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "jobs/events_internal.h"

void gap_describe(const struct wal_gap *gap, char ret_text[GAP_TOLD_SIZE])
{
    char start[WAL_POSITION_TEXT_SIZE], end[WAL_POSITION_TEXT_SIZE];

    wal_position_format(gap->start, start);
    wal_position_format(gap->end, end);
    if (gap->end.value == 0)
        snprintf(ret_text, GAP_TOLD_SIZE, "from %s on, on timeline %" PRIu32 " (%s)", start, gap->timeline.value,
                 wal_gap_reason_text(gap->reason));
    else
        snprintf(ret_text, GAP_TOLD_SIZE, "from %s to %s on timeline %" PRIu32 " (%s)", start, end, gap->timeline.value,
                 wal_gap_reason_text(gap->reason));
}

static json_t *name_to_json(struct wal_segment segment, struct wal_segment_size size)
{
    char name[WAL_SEGMENT_NAME_SIZE];

    wal_segment_format(segment, size, name);
    return json_string(name);
}

json_t *gap_to_json(const struct wal_gap *gap, struct wal_segment_size size)
{
    bool is_open = gap->end.value == 0;
    json_t *json = json_object();

    json_object_set_new(json, "timeline", json_integer(gap->timeline.value));
    json_object_set_new(json, "start", events_position(gap->start));
    json_object_set_new(json, "end", is_open ? json_null() : events_position(gap->end));
    json_object_set_new(json, "segments",
                        is_open ? json_null() : json_integer((json_int_t)wal_gap_segments(gap, size)));
    json_object_set_new(json, "first_segment", name_to_json(wal_segment_at(gap->timeline, gap->start, size), size));
    json_object_set_new(json, "last_segment",
                        is_open ? json_null() : name_to_json(wal_segment_before(gap->timeline, gap->end, size), size));
    json_object_set_new(json, "reason", json_string(wal_gap_reason_word(gap->reason)));
    json_object_set_new(json, "what", json_string(wal_gap_reason_text(gap->reason)));
    json_object_set_new(json, "noticed_at", json_time(gap->noticed_at));
    json_object_set_new(json, "words", control_text(gap->words));
    return json;
}
