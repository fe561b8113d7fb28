#ifndef PGCOFFER_SRC_JOBS_RECEIVE_FILLER_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_FILLER_INTERNAL_H

#include "pgcoffer/pg/connection.h"
#include "pgcoffer/repo/wal_gaps.h"

/*
 * What is done about gaps beside the stream, in a thread of its own: the record is brought up to what is held, and
 * segments that are missing or damaged are fetched from whichever host of the list still has them. It connects as
 * "pgcoffer fill", without a slot, and reports nothing as flushed, so that no commit ever counts on it. While it runs
 * the task is the thread's alone, but for the segments it has finished; nothing here logs.
 *
 * Nobody watches what a host sends here, so more is asked of it than of the one that is streamed from: its histories
 * must agree with those held, its records must go on from the last one before the gap and lead to the first one behind
 * it, and nothing of a segment stays that did not arrive whole. No segment is begun that would touch wal_reserve.
 */
#define FILLER_APPLICATION_NAME "pgcoffer fill"
#define FILLER_MOST_SEGMENTS    64 /* of one task */

enum filler_kind {
    FILLER_SETTLE, /* `held` and `gaps`: those there are */
    FILLER_FETCH,  /* the beginning of `gap` */
};

struct filler_task {
    enum filler_kind kind;
    const struct server_config *server; /* borrowed */
    struct wal_archive archive;
    int interrupt_fd;
    int finished_fd; /* an eventfd, written to with each segment that is finished */

    /* ---- FETCH ---- */
    struct wal_gap gap; /* its end is known */
    struct wal_segment finished[FILLER_MOST_SEGMENTS];
    size_t finished_count; /* atomic: those before it are the receiver's to compress */
    bool has_advanced;     /* something was fetched, if only a part of a segment */

    struct wal_ranges held;
    struct wal_gaps gaps;
    bool is_done; /* else `failure`; of a FETCH that of the last host */
    struct error failure;
};

void filler_run(struct filler_task *task);
/* Callable while it runs. */
size_t filler_finished(const struct filler_task *task);
/* filler_check.c: may WAL be taken from that host? */
bool filler_check_host(const struct wal_archive *archive, struct pg_connection *connection,
                       struct error *err) NODISCARD;
/* Does the part of a segment that was fetched, up to `end`, fit the timelines that fork off within it? */
bool filler_check_fork(const struct wal_archive *archive, struct timeline timeline, struct wal_position end,
                       struct error *err) NODISCARD;
void filler_done(struct filler_task *task);

#endif
