#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"

#include "repo/wal_gaps_internal.h"

/*
 * A path is the way of one history through its timelines, each from the first byte of the segment of the fork that
 * began it to its own fork. What is not held of it between the first byte held and the last one is a hole.
 */
struct finder {
    const struct wal_gaps_input *input;
    struct wal_ranges ranges;
    struct wal_gaps holes; /* their reasons are not looked at */
};

/* ---- what is held ---- */

static bool is_damaged(const void *context, const struct wal_file *file)
{
    const struct wal_gaps_input *input = context;

    return input->is_damaged[file - input->files->files];
}

static void add_hole(struct finder *finder, struct timeline timeline, uint64_t start, uint64_t end)
{
    const struct wal_gap hole = {.timeline = timeline, .start = {start}, .end = {end}};

    if (start < end)
        wal_gaps_add(&finder->holes, &hole);
}

/* The first and the last of a timeline's files stand at no hole's edge; that they are there tells of them. */
static void add_damaged_files(struct finder *finder)
{
    const struct wal_gaps_input *input = finder->input;

    for (size_t i = 0; i < input->files->count; i++) {
        const struct wal_file *file = &input->files->files[i];
        uint64_t start = wal_segment_start(file->segment, input->segment_size).value;
        if (file->held_bytes > 0 && is_damaged(input, file))
            add_hole(finder, file->segment.timeline, start, start + file->held_bytes);
    }
}

/* ---- holes ---- */

static bool has_range(const struct finder *finder, struct timeline timeline)
{
    for (size_t i = 0; i < finder->ranges.count; i++)
        if (finder->ranges.ranges[i].timeline.value == timeline.value)
            return true;
    return false;
}

static uint64_t last_end(const struct finder *finder, struct timeline timeline)
{
    uint64_t end = 0;

    for (size_t i = 0; i < finder->ranges.count; i++)
        if (finder->ranges.ranges[i].timeline.value == timeline.value)
            end = finder->ranges.ranges[i].end.value;
    return end;
}

/* One timeline of a path from `from` (0: from its first byte held) to `to`. *has_before: something older is held. */
static void walk_timeline(struct finder *finder, struct timeline timeline, uint64_t from, uint64_t to, bool *has_before)
{
    uint64_t next = from;

    for (size_t i = 0; i < finder->ranges.count; i++) {
        const struct wal_range *range = &finder->ranges.ranges[i];
        if (range->timeline.value != timeline.value || range->start.value >= to || range->end.value <= from)
            continue;
        if (*has_before)
            add_hole(finder, timeline, next, range->start.value);
        *has_before = true;
        next = range->end.value;
    }
    if (*has_before)
        add_hole(finder, timeline, next, to);
}

static void walk_path(struct finder *finder, const struct history *history)
{
    const struct wal_segment_size size = finder->input->segment_size;
    bool has_before = false;
    uint64_t from = 0;

    for (size_t i = 0; i < history->entry_count; i++) {
        const struct history_entry *entry = &history->entries[i];
        walk_timeline(finder, entry->timeline, from, entry->switched_at.value, &has_before);
        from = wal_segment_start(wal_segment_at(entry->timeline, entry->switched_at, size), size).value;
    }
    walk_timeline(finder, history->timeline, from, last_end(finder, history->timeline), &has_before);
}

static void find_holes(struct finder *finder)
{
    for (size_t i = 0; i < finder->ranges.count; i++) {
        struct timeline timeline = finder->ranges.ranges[i].timeline;
        const struct history alone = {.timeline = timeline};
        const struct history *history =
            histories_find(finder->input->histories, finder->input->history_count, timeline);
        if (i == 0 || finder->ranges.ranges[i - 1].timeline.value != timeline.value)
            walk_path(finder, history != NULL ? history : &alone);
    }
    add_damaged_files(finder);
    wal_gaps_arrange(&finder->holes);
}

/* ---- what is recorded of them ---- */

/* The loss of a timeline's end goes on in the beginning of the one that follows. */
static const struct wal_gap *find_inherited(const struct wal_gaps_input *input, const struct wal_gap *hole)
{
    const struct history *history = histories_find(input->histories, input->history_count, hole->timeline);

    if (history == NULL || history->entry_count == 0)
        return NULL;
    const struct history_entry *fork = &history->entries[history->entry_count - 1];
    for (size_t i = 0; i < input->recorded->count; i++) {
        const struct wal_gap *gap = &input->recorded->gaps[i];
        if (gap->timeline.value == fork->timeline.value && gap->start.value <= fork->switched_at.value &&
            wal_gap_end(gap) >= fork->switched_at.value && hole->start.value <= fork->switched_at.value)
            return gap;
    }
    return NULL;
}

/* Where another record begins, or the recorded one ends, at the latest at `most`. */
static uint64_t piece_end(const struct wal_gaps_input *input, const struct wal_gap *recorded, struct timeline timeline,
                          uint64_t from, uint64_t most)
{
    uint64_t end = recorded != NULL && wal_gap_end(recorded) < most ? wal_gap_end(recorded) : most;

    for (size_t i = 0; i < input->recorded->count; i++) {
        const struct wal_gap *gap = &input->recorded->gaps[i];
        if (gap->timeline.value == timeline.value && gap->start.value > from && gap->start.value < end)
            end = gap->start.value;
    }
    return end;
}

static void explain_hole(const struct wal_gaps_input *input, const struct wal_gap *hole, struct wal_gaps *gaps)
{
    uint64_t end = wal_gap_end(hole);

    for (uint64_t from = hole->start.value, to; from < end; from = to) {
        const struct wal_gap *recorded = wal_gaps_at(input->recorded, hole->timeline, (struct wal_position){from});
        to = piece_end(input, recorded, hole->timeline, from, end);
        if (recorded == NULL)
            recorded = find_inherited(input, hole);
        struct wal_gap piece = {.reason = WAL_GAP_MISSING, .words = ""};
        if (recorded != NULL)
            piece = *recorded;
        piece.timeline = hole->timeline;
        piece.start.value = from;
        piece.end.value = to;
        wal_gaps_add(gaps, &piece);
    }
}

/* ---- recorded, and no hole in the files: nothing is held behind it ---- */

static bool is_anything_held_before(const struct finder *finder, const struct wal_gap *gap)
{
    for (size_t i = 0; i < finder->ranges.count; i++) {
        const struct wal_range *range = &finder->ranges.ranges[i];
        if (range->timeline.value < gap->timeline.value ||
            (range->timeline.value == gap->timeline.value && range->start.value < gap->start.value))
            return true;
    }
    return false;
}

/* Held from `position` on; gives the first byte that is not. */
static uint64_t held_until(const struct finder *finder, struct timeline timeline, uint64_t position)
{
    for (size_t i = 0; i < finder->ranges.count; i++) {
        const struct wal_range *range = &finder->ranges.ranges[i];
        if (range->timeline.value == timeline.value && range->start.value <= position && position < range->end.value)
            return range->end.value;
    }
    return position;
}

/* A timeline that is held goes on behind the loss: whatever is missing on the way to it is a hole. */
static bool is_passed_by_fork(const struct finder *finder, const struct wal_gap *gap)
{
    const struct wal_gaps_input *input = finder->input;

    for (size_t i = 0; i < input->history_count; i++) {
        struct wal_position fork;
        if (has_range(finder, input->histories[i].timeline) &&
            history_switch_point(&input->histories[i], gap->timeline, &fork) && fork.value >= gap->start.value)
            return true;
    }
    return false;
}

static bool is_in(const struct wal_gaps *gaps, const struct wal_gap *gap)
{
    for (size_t i = 0; i < gaps->count; i++)
        if (gaps->gaps[i].timeline.value == gap->timeline.value && gaps->gaps[i].start.value < wal_gap_end(gap) &&
            gap->start.value < wal_gap_end(&gaps->gaps[i]))
            return true;
    return false;
}

static void add_unfollowed(const struct finder *finder, const struct wal_gap *recorded, struct wal_gaps *gaps)
{
    struct wal_gap gap = *recorded;

    if (is_in(&finder->holes, recorded) || !is_anything_held_before(finder, recorded))
        return;
    gap.start.value = held_until(finder, gap.timeline, gap.start.value);
    /* The stream went on after all, or the end was filled. */
    if (gap.end.value == 0 ? gap.start.value != recorded->start.value || is_passed_by_fork(finder, recorded)
                           : gap.start.value >= gap.end.value)
        return;
    if (gap.reason != WAL_GAP_DAMAGED || gap.end.value != 0)
        wal_gaps_add(gaps, &gap);
}

static void take_out_expired(const struct wal_gaps_input *input, struct wal_gaps *gaps)
{
    for (size_t i = 0; i < input->expired->count; i++) {
        const struct wal_range *range = &input->expired->ranges[i];
        for (int reason = 0; reason < WAL_GAP_REASON_COUNT; reason++)
            wal_gaps_cut(gaps, (enum wal_gap_reason)reason, range->timeline, range->start, range->end);
    }
}

void wal_gaps_find(const struct wal_gaps_input *input, struct wal_ranges *ret_ranges, struct wal_gaps *ret_gaps)
{
    struct finder finder = {.input = input, .ranges = {NULL, 0}, .holes = {NULL, 0}};
    struct wal_gaps gaps = {NULL, 0};

    wal_ranges_build(input->files, input->segment_size, is_damaged, input, &finder.ranges);
    find_holes(&finder);
    for (size_t i = 0; i < finder.holes.count; i++)
        explain_hole(input, &finder.holes.gaps[i], &gaps);
    for (size_t i = 0; i < input->recorded->count; i++)
        add_unfollowed(&finder, &input->recorded->gaps[i], &gaps);
    wal_gaps_done(&finder.holes);
    wal_gaps_arrange(&gaps);
    take_out_expired(input, &gaps);
    *ret_ranges = finder.ranges;
    *ret_gaps = gaps;
}
