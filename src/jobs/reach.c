#include "jobs/reach_internal.h"

#include <inttypes.h>
#include <stdio.h>

bool reach_is_on_path(const struct history *history, const struct backup_meta *meta)
{
    return history_passes(history, meta->start_timeline, meta->start_position) &&
           history_passes(history, meta->end_timeline, meta->end_position);
}

static const struct wal_range *find_range(const struct wal_ranges *ranges, struct timeline timeline,
                                          struct wal_position position)
{
    for (size_t i = 0; i < ranges->count; i++) {
        const struct wal_range *range = &ranges->ranges[i];
        if (range->timeline.value == timeline.value && range->start.value <= position.value &&
            position.value <= range->end.value)
            return range;
    }
    return NULL;
}

/* The next byte held on the way after `reach`, which has stopped on its timeline. */
static void look_behind(const struct wal_ranges *ranges, const struct history *history, struct reach *reach)
{
    struct wal_position switched_at;

    for (size_t i = 0; i < ranges->count; i++) {
        const struct wal_range *range = &ranges->ranges[i];
        bool is_later = range->timeline.value == reach->timeline.value ? range->start.value > reach->end.value
                                                                       : range->timeline.value > reach->timeline.value;
        if (!is_later || !history_contains(history, range->timeline))
            continue;
        if (history_switch_point(history, range->timeline, &switched_at) && range->start.value >= switched_at.value)
            continue; /* a dead branch */
        if (reach->has_gap &&
            (reach->gap_timeline.value < range->timeline.value ||
             (reach->gap_timeline.value == range->timeline.value && reach->gap_end.value <= range->start.value)))
            continue;
        reach->has_gap = true;
        reach->gap_timeline = range->timeline;
        reach->gap_end = range->start;
    }
}

struct reach reach_along(const struct wal_ranges *ranges, const struct history *history, struct timeline start_timeline,
                         struct wal_position start)
{
    struct reach reach = {.timeline = start_timeline, .end = start};

    for (;;) {
        const struct wal_range *range = find_range(ranges, reach.timeline, reach.end);
        struct wal_position switched_at;
        struct timeline next;

        if (range == NULL)
            break;
        reach.is_start_held = true;
        if (range->last_written_at.microseconds > reach.written_at.microseconds)
            reach.written_at = range->last_written_at;
        bool switches =
            history_switch_point(history, reach.timeline, &switched_at) && history_next(history, reach.timeline, &next);
        if (!switches || range->end.value < switched_at.value) {
            reach.end = range->end;
            break;
        }
        reach.end = switched_at;
        if (find_range(ranges, next, switched_at) == NULL)
            break; /* the new timeline has not come yet: everything up to the fork is here */
        reach.timeline = next;
    }
    look_behind(ranges, history, &reach);
    return reach;
}

/* While an old primary goes on alone, a note on its timeline says nothing about the one that has left it. */
struct timestamp reach_complete_at(const struct reach *reach, const struct history *history,
                                   const struct wal_complete *complete)
{
    bool is_within = reach->is_start_held && reach->timeline.value == history->timeline.value &&
                     complete->position.value <= reach->end.value;

    return is_within ? complete->at : (struct timestamp){0};
}

struct timestamp reach_stop_time(const struct backup_meta *meta)
{
    return meta->server_stopped_at.microseconds != 0 ? meta->server_stopped_at : meta->stopped_at;
}

struct timestamp reach_until(const struct backup_meta *meta, struct timestamp noted, struct timestamp transaction)
{
    struct timestamp until = reach_stop_time(meta);

    if (until.microseconds < noted.microseconds)
        until = noted;
    return until.microseconds < transaction.microseconds ? transaction : until;
}

const struct wal_gap *reach_find_gap(const struct reach *reach, const struct history *history,
                                     const struct wal_gaps *gaps)
{
    const struct wal_gap *gap = wal_gaps_at(gaps, reach->timeline, reach->end);
    struct wal_position switched_at;
    struct timeline next;

    if (gap == NULL && history_switch_point(history, reach->timeline, &switched_at) &&
        switched_at.value == reach->end.value && history_next(history, reach->timeline, &next))
        gap = wal_gaps_at(gaps, next, switched_at);
    return gap;
}

void reach_format_place(struct timeline timeline, struct wal_position position, struct wal_segment_size size,
                        char ret_text[REACH_PLACE_SIZE])
{
    char position_text[WAL_POSITION_TEXT_SIZE];
    char name[WAL_SEGMENT_NAME_SIZE] = "unknown";

    wal_position_format(position, position_text);
    if (size.bytes != 0)
        wal_segment_format(wal_segment_at(timeline, position, size), size, name);
    snprintf(ret_text, REACH_PLACE_SIZE, "WAL %s on timeline %" PRIu32 " (segment %s)", position_text, timeline.value,
             name);
}
