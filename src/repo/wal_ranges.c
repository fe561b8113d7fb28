#include <stdlib.h>

#include "pgcoffer/repo/wal_archive.h"

#include "repo/repo_internal.h"
#include "repo/wal_gaps_internal.h"

static void scoped_wal_files(struct wal_files *files)
{
    wal_files_done(files);
}

void wal_ranges_build(const struct wal_files *files, struct wal_segment_size size,
                      bool (*is_left_out)(const void *context, const struct wal_file *file), const void *context,
                      struct wal_ranges *ret_ranges)
{
    struct wal_ranges ranges = {NULL, 0};

    for (size_t i = 0; i < files->count; i++) {
        const struct wal_file *file = &files->files[i];
        struct wal_range *last = ranges.count > 0 ? &ranges.ranges[ranges.count - 1] : NULL;
        struct wal_position start = wal_segment_start(file->segment, size);
        struct wal_position end = {start.value + file->held_bytes};

        if (file->held_bytes == 0 || (is_left_out != NULL && is_left_out(context, file)))
            continue;
        if (file->held_bytes == size.bytes)
            end = wal_segment_end(file->segment, size);
        /* A range that ends in a partial never touches the next segment's start. */
        if (last == NULL || last->timeline.value != file->segment.timeline.value || last->end.value != start.value) {
            ranges.ranges = repo_grow(ranges.ranges, ranges.count, sizeof *ranges.ranges);
            last = &ranges.ranges[ranges.count++];
            *last = (struct wal_range){.timeline = file->segment.timeline, .start = start};
        }
        last->end = end;
        if (file->written_at.microseconds > last->last_written_at.microseconds)
            last->last_written_at = file->written_at;
    }
    *ret_ranges = ranges;
}

bool wal_archive_ranges(const struct wal_archive *archive, struct wal_ranges *ret_ranges, struct error *err)
{
    struct wal_files files SCOPED(scoped_wal_files) = {NULL, 0};

    if (!wal_archive_list(archive, &files, err))
        return false;
    wal_ranges_build(&files, archive->segment_size, NULL, NULL, ret_ranges);
    return true;
}

void wal_ranges_done(struct wal_ranges *ranges)
{
    free(ranges->ranges);
    *ranges = (struct wal_ranges){NULL, 0};
}

/* How far `timeline` is held without a gap from `position`, whose whole segment is needed from its first byte. */
static struct wal_position reach(const struct wal_ranges *ranges, struct timeline timeline,
                                 struct wal_position position, struct wal_segment_size size)
{
    struct wal_position first = wal_segment_start(wal_segment_at(timeline, position, size), size);

    for (size_t i = 0; i < ranges->count; i++) {
        const struct wal_range *range = &ranges->ranges[i];
        if (range->timeline.value == timeline.value && range->start.value <= first.value &&
            range->end.value > position.value)
            return range->end;
    }
    return position;
}

bool wal_ranges_cover(const struct wal_ranges *ranges, const struct history *history, struct timeline start_timeline,
                      struct wal_position start, struct wal_position end, struct wal_segment_size size,
                      struct timeline *ret_missing_timeline, struct wal_position *ret_missing)
{
    struct timeline timeline = start_timeline;
    struct wal_position position = start;
    bool is_on_the_way = history_contains(history, timeline);

    while (is_on_the_way && position.value < end.value) {
        struct wal_position wanted = end, fork;
        bool has_fork = history_switch_point(history, timeline, &fork);
        /* Beyond its fork a timeline's bytes belong to a dead branch. */
        if (has_fork && position.value > fork.value)
            break;
        if (has_fork && fork.value < wanted.value)
            wanted = fork;
        if (position.value < wanted.value) {
            struct wal_position held = reach(ranges, timeline, position, size);
            position = held.value < wanted.value ? held : wanted;
            if (position.value < wanted.value)
                break;
        }
        if (position.value < end.value && !history_next(history, timeline, &timeline))
            break;
    }
    if (is_on_the_way && position.value >= end.value)
        return true;
    *ret_missing_timeline = timeline;
    *ret_missing = position;
    return false;
}
