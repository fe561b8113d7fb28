#ifndef PGCOFFER_SRC_REPO_RETENTION_INTERNAL_H
#define PGCOFFER_SRC_REPO_RETENTION_INTERNAL_H

#include "pgcoffer/repo/retention.h"

/* ---- retention_ways.c ---- */

/* Does the way to the history's own timeline lead through all of the backup? */
bool retention_is_on_way(const struct history *history, const struct retention_backup *backup);
const struct history *retention_find_history(const struct retention_wal *wal, struct timeline timeline); /* or NULL */
/* The highest timeline, and the one that was written last: a server may have gone back to an older one. */
bool retention_is_live(const struct retention_wal *wal, struct timeline timeline);
bool retention_is_written_since(const struct retention_wal *wal, struct timeline timeline, int64_t microseconds);

/* ---- retention_calendar.c ---- */

#define RETENTION_DAY_MICROSECONDS (INT64_C(86400) * 1000000)

enum retention_period { RETENTION_OF_WEEK, RETENTION_OF_MONTH, RETENTION_OF_YEAR };
/* Consecutive numbers of days, and of weeks that begin on Monday, of months, of years. */
int64_t retention_day_number(struct timestamp time);
int64_t retention_period_number(enum retention_period period, struct timestamp time);
/* "week 2026-W47", "month 2026-11", "year 2026" */
void retention_period_words(enum retention_period period, struct timestamp time, char ret_words[RETENTION_WORDS_SIZE]);

#endif
