#ifndef PGCOFFER_SRC_JOBS_RECEIVE_TIMELINES_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_TIMELINES_INTERNAL_H

#include "pgcoffer/pg/connection.h"
#include "pgcoffer/repo/wal_archive.h"

/*
 * Histories and forks. One order everywhere, so that no recovery ever replays a dead branch: the bytes up to the fork
 * are durable on the new timeline, then its history file becomes visible.
 */
struct receive_history {
    struct history history;
    char *text; /* NULL for timeline 1 */
    size_t size;
};
/* What the server says about one of its timelines. */
bool receive_timelines_fetch(struct pg_connection *connection, struct timeline timeline,
                             struct receive_history *ret_history, struct error *err) NODISCARD;
void receive_history_done(struct receive_history *history);
static inline void scoped_receive_history(struct receive_history *history)
{
    receive_history_done(history);
}

/* Every history file of the archive; one that cannot be read is a failure. */
bool receive_timelines_load(const struct wal_archive *archive, struct wal_histories *ret_stored,
                            struct error *err) NODISCARD;

/* The new timeline's first segment, durable, as far as the old one has it. */
bool receive_timelines_copy_fork(const struct wal_archive *archive, struct timeline from, struct timeline to,
                                 struct wal_position fork, struct error *err) NODISCARD;
/*
 * Stores the histories of all timelines on the way to the server's, as far as `newest`, that are not stored yet. A
 * server made by pg_basebackup may lack those of its ancestors: *ret_missing names one, {0} when none is missing.
 */
bool receive_timelines_publish(const struct wal_archive *archive, struct pg_connection *connection,
                               const struct receive_history *server_history, struct timeline newest,
                               struct timeline *ret_missing, struct error *err) NODISCARD;
/* While streaming: `from` ended at `fork` and `to` goes on there. Copies, then publishes. */
bool receive_timelines_switch(const struct wal_archive *archive, struct pg_connection *connection, struct timeline from,
                              struct timeline to, struct wal_position fork, struct error *err) NODISCARD;

#endif
