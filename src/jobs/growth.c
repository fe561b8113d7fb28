#include "jobs/growth_internal.h"

#define DAY INT64_C(86400000000)

static void count(struct growth *growth, struct timestamp at, uint64_t bytes)
{
    int64_t number = at.microseconds / DAY;
    size_t place = (size_t)(number % (GROWTH_DAYS + 1));

    if (growth->days[place].number > number)
        return; /* too long ago */
    if (growth->days[place].number < number) {
        growth->days[place].number = number;
        growth->days[place].bytes = 0;
    }
    growth->days[place].bytes += bytes;
}

static void add(struct growth *growth, struct timestamp at, uint64_t bytes)
{
    if (at.microseconds <= 0)
        return;
    if (growth->first.microseconds != 0 && growth->first.microseconds <= at.microseconds) {
        count(growth, at, bytes);
        return;
    }
    if (growth->first.microseconds != 0)
        count(growth, growth->first, growth->first_bytes);
    growth->first = at;
    growth->first_bytes = bytes;
}

void growth_add_backup(struct growth *growth, struct timestamp taken_at, uint64_t bytes)
{
    growth->backups++;
    growth->backup_bytes += bytes;
    add(growth, taken_at, bytes);
}

void growth_add_segment(struct growth *growth, struct timestamp written_at, uint64_t bytes)
{
    growth->segments++;
    growth->wal_bytes += bytes;
    add(growth, written_at, bytes);
}

/* Whole days before today, and what there is of today. */
uint64_t growth_per_day(const struct growth *growth, struct timestamp now)
{
    int64_t today = now.microseconds / DAY;
    int64_t start = (today - GROWTH_DAYS) * DAY;
    uint64_t bytes = 0;

    if (growth->first.microseconds == 0 || now.microseconds - growth->first.microseconds < DAY)
        return 0;
    if (start < growth->first.microseconds)
        start = growth->first.microseconds;
    for (size_t i = 0; i <= GROWTH_DAYS; i++)
        if (growth->days[i].number >= today - GROWTH_DAYS && growth->days[i].number <= today)
            bytes += growth->days[i].bytes;
    return (uint64_t)((double)bytes * (double)DAY / (double)(now.microseconds - start));
}
