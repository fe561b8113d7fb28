#ifndef PGCOFFER_JOBS_REACH_INTERNAL_H
#define PGCOFFER_JOBS_REACH_INTERNAL_H

#include "pgcoffer/repo/backup_meta.h"
#include "pgcoffer/repo/wal_complete.h"
#include "pgcoffer/repo/wal_gaps.h"

/* Pure: how far the WAL held carries a recovery along a timeline's history. */

/* Does a recovery of this backup that follows `history` come by its end? */
bool reach_is_on_path(const struct history *history, const struct backup_meta *meta);

struct reach {
    bool is_start_held; /* false: nothing else is set but `end`, which is the start */
    struct timeline timeline;
    struct wal_position end;      /* every byte from the start up to here is held */
    struct timestamp written_at;  /* of the newest file up to there: received, which tells nothing about its WAL */
    bool has_gap;                 /* more is held behind a gap */
    struct timeline gap_timeline; /* where the next byte held lies */
    struct wal_position gap_end;
};

/* The whole stretch from `start` on, switching where `history` switches. */
struct reach reach_along(const struct wal_ranges *ranges, const struct history *history, struct timeline start_timeline,
                         struct wal_position start);

/*
 * Up to when, by the server's clock, all that was written on the way is within the reach, as far as it was noted for
 * the timeline that `history` leads to. 0: that is not known, because the reach ends before, or nothing was noted.
 */
struct timestamp reach_complete_at(const struct reach *reach, const struct history *history,
                                   const struct wal_complete *complete);

/* When the backup ended, by the server's clock where it is known: recovery targets are times of that clock. */
struct timestamp reach_stop_time(const struct backup_meta *meta);
/*
 * Every moment from the backup's end up to then lies within its reach: the latest of that end, of what was noted
 * (reach_complete_at()) and of a transaction that is within the reach.
 */
struct timestamp reach_until(const struct backup_meta *meta, struct timestamp noted, struct timestamp transaction);

/* What is missing behind `reach`, on its own timeline or at the beginning of the next; NULL when nothing is known to
 * be. */
const struct wal_gap *reach_find_gap(const struct reach *reach, const struct history *history,
                                     const struct wal_gaps *gaps);

/* "WAL 0/3000000 on timeline 1 (segment 000000010000000000000003)" for messages. */
#define REACH_PLACE_SIZE 96
void reach_format_place(struct timeline timeline, struct wal_position position, struct wal_segment_size size,
                        char ret_text[REACH_PLACE_SIZE]);

#endif
