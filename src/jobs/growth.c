#include "jobs/growth_internal.h"

#define DAY INT64_C(86400000000)

static void count(struct growth_part *part, struct timestamp at, uint64_t bytes)
{
    int64_t number = at.microseconds / DAY;
    size_t place = (size_t)(number % (GROWTH_DAYS + 1));

    if (part->days[place].number > number)
        return; /* too long ago */
    if (part->days[place].number < number) {
        part->days[place].number = number;
        part->days[place].bytes = 0;
    }
    part->days[place].bytes += bytes;
}

static void add(struct growth_part *part, struct timestamp at, uint64_t bytes)
{
    part->count++;
    part->bytes += bytes;
    if (at.microseconds <= 0)
        return;
    if (part->first.microseconds != 0 && part->first.microseconds <= at.microseconds) {
        count(part, at, bytes);
        return;
    }
    if (part->first.microseconds != 0)
        count(part, part->first, part->first_bytes);
    part->first = at;
    part->first_bytes = bytes;
}

void growth_add_backup(struct growth *growth, struct timestamp taken_at, uint64_t bytes)
{
    add(&growth->backups, taken_at, bytes);
}

void growth_add_segment(struct growth *growth, struct timestamp written_at, uint64_t bytes)
{
    add(&growth->wal, written_at, bytes);
}

/* Whole days before today, and what there is of today. */
static bool per_day(const struct growth_part *part, struct timestamp now, uint64_t *bytes_added)
{
    int64_t today = now.microseconds / DAY;
    int64_t start = (today - GROWTH_DAYS) * DAY;
    uint64_t bytes = 0;

    if (part->first.microseconds == 0 || now.microseconds - part->first.microseconds < DAY)
        return false;
    if (start < part->first.microseconds)
        start = part->first.microseconds;
    for (size_t i = 0; i <= GROWTH_DAYS; i++)
        if (part->days[i].number >= today - GROWTH_DAYS && part->days[i].number <= today)
            bytes += part->days[i].bytes;
    *bytes_added += (uint64_t)((double)bytes * (double)DAY / (double)(now.microseconds - start));
    return true;
}

bool growth_per_day(const struct growth *growth, struct timestamp now, uint64_t *ret_bytes)
{
    *ret_bytes = 0;
    bool has_backups = per_day(&growth->backups, now, ret_bytes);

    return per_day(&growth->wal, now, ret_bytes) || has_backups;
}
