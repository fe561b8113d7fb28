#ifndef PGCOFFER_SRC_JOBS_GROWTH_INTERNAL_H
#define PGCOFFER_SRC_JOBS_GROWTH_INTERNAL_H

#include "pgcoffer/base/clock.h"

/*
 * What a server's backups and WAL take, and how much more a day. Pure. Learnt from what is stored: each backup counts
 * at the time it was taken, each segment at the time its last byte came, over up to GROWTH_DAYS. What was removed
 * meanwhile is not known any more, so with a retention that removes as much as comes this is what comes, not what
 * remains.
 */
#define GROWTH_DAYS 30
struct growth_part {
    uint64_t bytes, count;
    struct {
        int64_t number; /* of days since 1970 */
        uint64_t bytes;
    } days[GROWTH_DAYS + 1];
    struct timestamp first; /* of all; it is what the others came after, so its own bytes do not count. 0: none */
    uint64_t first_bytes;
};
struct growth {
    struct growth_part backups, wal; /* a first backup would count for much where WAL came before it */
};

void growth_add_backup(struct growth *growth, struct timestamp taken_at, uint64_t bytes);
void growth_add_segment(struct growth *growth, struct timestamp written_at, uint64_t bytes);
/* Bytes a day. False: what is stored is less than a day old and says nothing yet. */
bool growth_per_day(const struct growth *growth, struct timestamp now, uint64_t *ret_bytes) NODISCARD;

#endif
