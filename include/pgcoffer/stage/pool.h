#ifndef PGCOFFER_STAGE_POOL_H
#define PGCOFFER_STAGE_POOL_H

#include <stddef.h>

#include "pgcoffer/base/error.h"

/*
 * The only place with threads besides the receiver's lifeline: a fixed number of workers, a bounded number of tasks in
 * flight, results in the order of submission. A task is the thread's from pool_submit() until it is taken; what else
 * `work` touches is its worker's own, or has a lock or an atomic of its own. Where bytes are in an order (a file, a
 * connection) one task has them all, or they stay with the thread that submits and takes.
 */
struct pool;

struct pool_ops {
    /* Called once in each worker thread's life; *ret_worker may be left NULL. May be NULL. */
    bool (*begin)(void *shared, unsigned worker_number, void **ret_worker, struct error *err);
    /* One task. On failure the error is handed out by pool_take(). */
    bool (*work)(void *shared, void *worker, void *task, struct error *err);
    void (*end)(void *shared, void *worker); /* may be NULL */
};

/* One per core that this process may run on. */
unsigned pool_default_workers(void);
/*
 * workers 0 means pool_default_workers(). Signals are blocked in the threads. Returns when every worker's begin() has
 * succeeded; one that fails is handed out here. Failing to start a thread is FAILED.
 */
bool pool_new(const struct pool_ops *ops, void *shared, unsigned workers, unsigned most_in_flight,
              struct pool **ret_pool, struct error *err) NODISCARD;
/* True when pool_submit() would not have to wait for a pool_take(). */
bool pool_has_room(const struct pool *pool);
unsigned pool_in_flight(const struct pool *pool); /* submitted and not yet taken */
/* Needs room: asserts it. */
void pool_submit(struct pool *pool, void *task);
/* Waits for the oldest task and hands it back, with its error on failure. *ret_task is set either way. Needs one in
 * flight. */
bool pool_take(struct pool *pool, void **ret_task, struct error *err) NODISCARD;
/* Like pool_take(), but *ret_task is NULL when the oldest is not done yet. */
bool pool_try_take(struct pool *pool, void **ret_task, struct error *err) NODISCARD;
/* An eventfd that is readable whenever the oldest task may be done, for poll(2). Owned by the pool. */
int pool_event_descriptor(const struct pool *pool);
/* Waits for running tasks, drops the queued ones through `drop` (may be NULL), ends the threads. NULL is fine. */
void pool_free(struct pool *pool, void (*drop)(void *task));

#endif
