#ifndef PGCOFFER_WAL_HISTORY_H
#define PGCOFFER_WAL_HISTORY_H

#include <stddef.h>

#include "pgcoffer/wal/position.h"

/*
 * A timeline's history: its ancestors, oldest first, each with the position
 * where the next one forked off. Timeline 1 has an empty history. Source of the
 * format: PostgreSQL's access/transam/timeline.c.
 */
#define HISTORY_MOST_BYTES   (1 << 20)
#define HISTORY_MOST_ENTRIES 16384

struct history_entry {
    struct timeline timeline;
    struct wal_position switched_at;
};

struct history {
    struct timeline timeline; /* whose history this is */
    struct history_entry *entries;
    size_t entry_count;
};

/* Timelines must increase and stay below `timeline`; switch points must not decrease. Kind INTEGRITY. */
bool history_parse(struct timeline timeline, const void *text, size_t size, struct history *ret_history,
                   struct error *err) NODISCARD;
void history_done(struct history *history);

/* Is `timeline` the history's own or one of its ancestors? */
bool history_contains(const struct history *history, struct timeline timeline);
/* Where `timeline` ended on the way to history->timeline; false for the own one (it has no end) and strangers. */
bool history_switch_point(const struct history *history, struct timeline timeline, struct wal_position *ret_position);
/* Does the way to history->timeline come by this position of `timeline`? A fork below it is another branch. */
bool history_passes(const struct history *history, struct timeline timeline, struct wal_position position);
/* The timeline that follows `timeline` on the way to history->timeline; false for the own one and strangers. */
bool history_next(const struct history *history, struct timeline timeline, struct timeline *ret_next);
/* That of `timeline` among so many; NULL: it is not one of them. */
const struct history *histories_find(const struct history *histories, size_t count, struct timeline timeline);
/* The timeline that wrote the byte at `position`. */
struct timeline history_timeline_at(const struct history *history, struct wal_position position);
/* Same ancestors and switch points? Reasons and blanks do not count. */
bool history_is_same(const struct history *one, const struct history *other);

#endif
