#ifndef PGCOFFER_JOBS_WAL_AHEAD_INTERNAL_H
#define PGCOFFER_JOBS_WAL_AHEAD_INTERNAL_H

#include "jobs/restore/restore_internal.h"
#include "jobs/restore/wal_spool_internal.h"
#include "pgcoffer/jobs/wal_get.h"
#include "pgcoffer/repo/layout.h"

struct wal_ahead {
    struct wal_spool *spool;
    char *server;
    char system_id[SYSTEM_ID_TEXT_SIZE];
    struct wal_segment_size size;
    unsigned capacity;
    /* The segment the recovery has; those behind it on its timeline are wanted. PostgreSQL decides where it leaves a
     * timeline, so only it can name the first segment of another one. */
    struct wal_segment taken;

    const struct connector *connector;
    uint64_t next; /* the first number that was not asked for yet */
    bool has_end;  /* `end` could not be had, as the caller may learn by itself */
    uint64_t end;  /* a number */
    bool is_over;
    int64_t last_taken_at; /* clock_monotonic() */
};

/* Takes the spool. */
struct wal_ahead *wal_ahead_new(struct wal_spool *spool, const char *server, const char *system_id,
                                struct wal_segment taken, struct wal_segment_size size, unsigned capacity) NEVER_NULL;

/* ---- wal_ahead_fetch.c: one segment, in a thread of the pool ---- */
struct ahead_task {
    struct wal_segment segment;
    char name[WAL_SEGMENT_NAME_SIZE];
    char temporary[WAL_SPOOL_NAME_SIZE];
    int fd; /* of the temporary file, locked: who wants the segment waits for it */
    bool is_here;
    bool is_spool_full;
};
bool ahead_worker_begin(void *shared_ahead, unsigned number, void **ret_worker, struct error *err);
bool ahead_worker_work(void *shared_ahead, void *worker, void *task, struct error *err);
void ahead_worker_end(void *shared_ahead, void *worker);
/* NULL: it is there or on its way already, or its file cannot be made (then *ret_is_spool_full). */
struct ahead_task *ahead_task_new(const struct wal_ahead *ahead, struct wal_segment segment, bool *ret_is_spool_full);
void ahead_task_free(struct ahead_task *task);

#endif
