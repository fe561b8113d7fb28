#include "repo/retention_internal.h"

bool retention_is_on_way(const struct history *history, const struct retention_backup *backup)
{
    return history_passes(history, backup->start_timeline, backup->start) &&
           history_passes(history, backup->end_timeline, backup->end);
}

const struct history *retention_find_history(const struct retention_wal *wal, struct timeline timeline)
{
    return histories_find(wal->histories, wal->history_count, timeline);
}

bool retention_is_live(const struct retention_wal *wal, struct timeline timeline)
{
    const struct wal_file *files = wal->files->files, *last = &files[wal->files->count - 1], *newest = last;

    for (size_t i = 0; i < wal->files->count; i++)
        if (files[i].written_at.microseconds > newest->written_at.microseconds)
            newest = &files[i];
    return timeline.value == last->segment.timeline.value || timeline.value == newest->segment.timeline.value;
}

bool retention_is_written_since(const struct retention_wal *wal, struct timeline timeline, int64_t microseconds)
{
    for (size_t i = 0; i < wal->files->count; i++)
        if (wal->files->files[i].segment.timeline.value == timeline.value &&
            wal->files->files[i].written_at.microseconds >= microseconds)
            return true;
    return false;
}

void retention_find_ways(const struct retention_policy *policy, const struct retention_wal *wal, struct timestamp now,
                         struct retention_way *ret_ways, size_t *ret_count)
{
    int64_t opens_at = now.microseconds - policy->wal_seconds * 1000000;

    *ret_count = 0;
    for (size_t i = 0; i < wal->files->count; i++) {
        struct timeline timeline = wal->files->files[i].segment.timeline;
        if (i > 0 && wal->files->files[i - 1].segment.timeline.value == timeline.value)
            continue;
        bool is_live = retention_is_live(wal, timeline);
        if (is_live || (policy->wal_seconds > 0 && retention_is_written_since(wal, timeline, opens_at)))
            ret_ways[(*ret_count)++] =
                (struct retention_way){wal->system, timeline, retention_find_history(wal, timeline), is_live};
    }
}
