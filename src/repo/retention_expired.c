#include <string.h>

#include "repo/repo_internal.h"
#include "repo/retention_internal.h"

static void add_range(struct wal_ranges *ranges, struct timeline timeline, uint64_t start, uint64_t end)
{
    ranges->ranges = repo_grow(ranges->ranges, ranges->count, sizeof *ranges->ranges);
    ranges->ranges[ranges->count++] =
        (struct wal_range){.timeline = timeline, .start = {start}, .end = {end}, .last_written_at = {0}};
}

void retention_expired(const struct retention_wal *wal, const struct retention_wal_verdict *verdicts,
                       struct wal_ranges *ret_expired)
{
    struct wal_ranges expired = {NULL, 0};

    for (size_t i = 0; i < wal->files->count; i++) {
        const struct wal_segment segment = wal->files->files[i].segment;
        const struct wal_file *before = i > 0 ? &wal->files->files[i - 1] : NULL;
        struct wal_range *last = expired.count > 0 ? &expired.ranges[expired.count - 1] : NULL;
        bool is_first = before == NULL || before->segment.timeline.value != segment.timeline.value;
        if (verdicts[i].is_kept) {
            if (!is_first && !verdicts[i - 1].is_kept)
                last->end = wal_segment_start(segment, wal->segment_size);
            continue;
        }
        uint64_t end = wal_segment_end(segment, wal->segment_size).value;
        if (!is_first && !verdicts[i - 1].is_kept)
            last->end.value = end;
        else
            add_range(&expired, segment.timeline,
                      is_first ? 0 : wal_segment_start(before->segment, wal->segment_size).value + before->held_bytes,
                      end);
    }
    *ret_expired = expired;
}

/* What a kept backup needs, held or not: a hole in it is a gap, which may still be filled. */
static void add_own_wal(const struct retention_wal *wal, const struct retention_backup *backup, struct wal_ranges *kept)
{
    uint64_t start =
        wal_segment_start(wal_segment_at(backup->start_timeline, backup->start, wal->segment_size), wal->segment_size)
            .value;

    for (uint32_t timeline = backup->start_timeline.value; timeline <= backup->end_timeline.value; timeline++)
        add_range(kept, (struct timeline){timeline}, start, backup->end.value);
}

void retention_kept(const struct retention_stock *stock, const struct retention_verdict *verdicts,
                    const struct retention_wal *wal, const struct retention_wal_verdict *wal_verdicts,
                    struct wal_ranges *ret_kept)
{
    struct wal_ranges kept = {NULL, 0};

    for (size_t i = 0; i < wal->files->count; i++) {
        const struct wal_segment segment = wal->files->files[i].segment;
        if (wal_verdicts[i].is_kept)
            add_range(&kept, segment.timeline, wal_segment_start(segment, wal->segment_size).value,
                      wal_segment_end(segment, wal->segment_size).value);
    }
    for (size_t i = 0; i < stock->count; i++)
        if (verdicts[i].is_kept && stock->backups[i].end.value != 0 &&
            strcmp(stock->backups[i].system.text, wal->system.text) == 0)
            add_own_wal(wal, &stock->backups[i], &kept);
    *ret_kept = kept;
}
