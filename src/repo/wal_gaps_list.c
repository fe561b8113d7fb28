#include <stdlib.h>
#include <string.h>

#include "repo/wal_gaps_internal.h"

const char *wal_gap_reason_word(enum wal_gap_reason reason)
{
    switch (reason) {
    case WAL_GAP_MISSING:
        return "missing";
    case WAL_GAP_REMOVED:
        return "removed";
    case WAL_GAP_SLOT_LOST:
        return "slot-lost";
    case WAL_GAP_DAMAGED:
        return "damaged";
    }
    return "";
}

const char *wal_gap_reason_text(enum wal_gap_reason reason)
{
    switch (reason) {
    case WAL_GAP_MISSING:
        return "missing from the archive";
    case WAL_GAP_REMOVED:
        return "removed by the server before it was received";
    case WAL_GAP_SLOT_LOST:
        return "removed by the server, which had invalidated the replication slot";
    case WAL_GAP_DAMAGED:
        return "damaged in the archive";
    }
    return "";
}

void wal_gaps_done(struct wal_gaps *gaps)
{
    free(gaps->gaps);
    *gaps = (struct wal_gaps){NULL, 0};
}

uint64_t wal_gap_segments(const struct wal_gap *gap, struct wal_segment_size size)
{
    if (gap->end.value == 0)
        return 0;
    return wal_segment_before(gap->timeline, gap->end, size).number -
           wal_segment_at(gap->timeline, gap->start, size).number + 1;
}

const struct wal_gap *wal_gaps_at(const struct wal_gaps *gaps, struct timeline timeline, struct wal_position position)
{
    for (size_t i = 0; i < gaps->count; i++) {
        const struct wal_gap *gap = &gaps->gaps[i];
        if (gap->timeline.value == timeline.value && gap->start.value <= position.value &&
            position.value < wal_gap_end(gap))
            return gap;
    }
    return NULL;
}

void wal_gaps_add(struct wal_gaps *gaps, const struct wal_gap *gap)
{
    gaps->gaps = repo_grow(gaps->gaps, gaps->count, sizeof *gaps->gaps);
    gaps->gaps[gaps->count++] = *gap;
}

static int compare(const void *one, const void *other)
{
    const struct wal_gap *left = one, *right = other;

    if (left->timeline.value != right->timeline.value)
        return left->timeline.value < right->timeline.value ? -1 : 1;
    return left->start.value < right->start.value ? -1 : left->start.value > right->start.value;
}

static bool says_the_same(const struct wal_gap *one, const struct wal_gap *other)
{
    return one->timeline.value == other->timeline.value && one->reason == other->reason;
}

/* What is damaged is so since it was last looked at: a file written later is another one. */
static void take_over_words(struct wal_gap *gap, const struct wal_gap *other)
{
    bool is_later = other->noticed_at.microseconds > gap->noticed_at.microseconds;
    bool is_wanted = gap->noticed_at.microseconds == 0 || (gap->reason == WAL_GAP_DAMAGED) == is_later;

    if (other->noticed_at.microseconds != 0 && is_wanted)
        gap->noticed_at = other->noticed_at;
    if (gap->words[0] == '\0')
        memcpy(gap->words, other->words, sizeof gap->words);
}

void wal_gaps_arrange(struct wal_gaps *gaps)
{
    size_t kept = 0;

    if (gaps->count > 0)
        qsort(gaps->gaps, gaps->count, sizeof *gaps->gaps, compare);
    for (size_t i = 0; i < gaps->count; i++) {
        struct wal_gap *last = kept > 0 ? &gaps->gaps[kept - 1] : NULL;
        const struct wal_gap *gap = &gaps->gaps[i];
        if (last != NULL && says_the_same(last, gap) && wal_gap_end(last) >= gap->start.value) {
            if (wal_gap_end(gap) > wal_gap_end(last))
                last->end = gap->end;
            take_over_words(last, gap);
        } else {
            gaps->gaps[kept++] = *gap;
        }
    }
    gaps->count = kept;
}

/* The parts of `gap` that lie outside [start, end). */
static void add_outside(struct wal_gaps *gaps, const struct wal_gap *gap, uint64_t start, uint64_t end)
{
    struct wal_gap piece = *gap;

    if (gap->start.value < start) {
        if (wal_gap_end(gap) > start)
            piece.end.value = start;
        wal_gaps_add(gaps, &piece);
    }
    piece = *gap;
    if (wal_gap_end(gap) > end) {
        if (gap->start.value < end)
            piece.start.value = end;
        wal_gaps_add(gaps, &piece);
    }
}

static bool overlap(const struct wal_gap *one, const struct wal_gap *other)
{
    return one->timeline.value == other->timeline.value && one->start.value < wal_gap_end(other) &&
           other->start.value < wal_gap_end(one);
}

static void take_out(struct wal_gaps *gaps, const struct wal_gap *stretch)
{
    struct wal_gaps left = {NULL, 0};

    for (size_t i = 0; i < gaps->count; i++) {
        const struct wal_gap *gap = &gaps->gaps[i];
        if (gap->reason == stretch->reason && overlap(gap, stretch))
            add_outside(&left, gap, stretch->start.value, wal_gap_end(stretch));
        else
            wal_gaps_add(&left, gap);
    }
    wal_gaps_done(gaps);
    *gaps = left;
}

void wal_gaps_cut(struct wal_gaps *gaps, enum wal_gap_reason reason, struct timeline timeline,
                  struct wal_position start, struct wal_position end)
{
    const struct wal_gap stretch = {.timeline = timeline, .start = start, .end = end, .reason = reason};

    take_out(gaps, &stretch);
    wal_gaps_arrange(gaps);
}

void wal_gaps_merge(struct wal_gaps *gaps, const struct wal_gap *gap)
{
    struct wal_gaps pieces = {NULL, 0};
    struct wal_gap unexplained = *gap;

    /* A reason takes the place of none; two reasons stand side by side, the first one known where they meet. */
    unexplained.reason = WAL_GAP_MISSING;
    if (gap->reason != WAL_GAP_MISSING)
        take_out(gaps, &unexplained);
    wal_gaps_add(&pieces, gap);
    for (size_t i = 0; i < gaps->count; i++) {
        const struct wal_gap *known = &gaps->gaps[i];
        struct wal_gaps left = {NULL, 0};
        if (known->reason == gap->reason)
            continue;
        for (size_t j = 0; j < pieces.count; j++) {
            if (overlap(&pieces.gaps[j], known))
                add_outside(&left, &pieces.gaps[j], known->start.value, wal_gap_end(known));
            else
                wal_gaps_add(&left, &pieces.gaps[j]);
        }
        wal_gaps_done(&pieces);
        pieces = left;
    }
    for (size_t i = 0; i < pieces.count; i++)
        wal_gaps_add(gaps, &pieces.gaps[i]);
    wal_gaps_done(&pieces);
    wal_gaps_arrange(gaps);
}

bool wal_gaps_are_same(const struct wal_gaps *one, const struct wal_gaps *other)
{
    if (one->count != other->count)
        return false;
    for (size_t i = 0; i < one->count; i++) {
        const struct wal_gap *left = &one->gaps[i], *right = &other->gaps[i];
        if (compare(left, right) != 0 || left->end.value != right->end.value || left->reason != right->reason ||
            left->noticed_at.microseconds != right->noticed_at.microseconds || strcmp(left->words, right->words) != 0)
            return false;
    }
    return true;
}

/* The least told reason first; within it the oldest position. */
static bool drop_one(struct wal_gaps *gaps)
{
    static const enum wal_gap_reason order[] = {WAL_GAP_MISSING, WAL_GAP_REMOVED, WAL_GAP_SLOT_LOST};

    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        for (size_t j = 0; j < gaps->count; j++)
            if (gaps->gaps[j].reason == order[i] && gaps->gaps[j].end.value != 0) {
                memmove(&gaps->gaps[j], &gaps->gaps[j + 1], (gaps->count - j - 1) * sizeof *gaps->gaps);
                gaps->count--;
                return true;
            }
    return false;
}

bool wal_gaps_limit(struct wal_gaps *gaps)
{
    while (gaps->count > WAL_GAPS_MOST)
        if (!drop_one(gaps))
            return false;
    return true;
}
