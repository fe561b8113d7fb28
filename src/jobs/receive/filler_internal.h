#ifndef PGCOFFER_SRC_JOBS_RECEIVE_FILLER_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_FILLER_INTERNAL_H

#include "pgcoffer/pg/connection.h"
#include "pgcoffer/repo/wal_gaps.h"

/*
 * What is done about gaps beside the stream, in a thread of its own: the record is brought up to what is held, and
 * segments that are missing or damaged are fetched from whichever host of the list still has them. It connects as
 * "pgcoffer fill", without a slot, and reports nothing as flushed, so that no commit ever counts on it. The task is the
 * thread's only while it runs; nothing here logs.
 */
#define FILLER_APPLICATION_NAME "pgcoffer fill"
#define FILLER_MOST_SEGMENTS    64 /* of one task: they lie uncompressed until it is done */

enum filler_kind {
    FILLER_SETTLE, /* `held` and `gaps`: those there are */
    FILLER_FETCH,  /* the beginning of `gap` */
};

struct filler_task {
    enum filler_kind kind;
    const struct server_config *server; /* borrowed */
    struct wal_archive archive;
    int interrupt_fd;

    /* ---- FETCH ---- */
    struct wal_gap gap; /* its end is known */
    struct wal_segment finished[FILLER_MOST_SEGMENTS];
    size_t finished_count;
    bool has_advanced; /* something was fetched, if only a part of a segment */

    struct wal_ranges held;
    struct wal_gaps gaps;
    bool is_done; /* else `failure`; of a FETCH that of the last host */
    struct error failure;
};

void filler_run(struct filler_task *task);
void filler_done(struct filler_task *task);

#endif
