#include "pgcoffer/stage/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"

struct pool_slot {
    void *task;
    bool is_done;
    bool has_failed;
    struct error error;
};

/*
 * A ring of slots. The three counters only grow: taken <= started <= submitted <= taken + most_in_flight, and
 * task n lies in slot n % most_in_flight. The caller's thread alone changes `submitted` and `taken`.
 */
struct pool {
    const struct pool_ops *ops;
    void *shared;
    unsigned workers;
    pthread_t *threads;
    unsigned threads_started;
    unsigned most_in_flight;
    struct pool_slot *slots;
    int event_descriptor;

    pthread_mutex_t lock;
    pthread_cond_t work_changed; /* for workers: something to start, or the end */
    pthread_cond_t done_changed; /* for the caller: a worker has begun, or the oldest task is done */
    uint64_t submitted;
    uint64_t started;
    uint64_t taken;
    bool is_ending;
    unsigned workers_begun; /* ended their begin(), well or not */
    bool has_begin_failed;
    struct error begin_error;
};

static struct pool_slot *slot_of(const struct pool *pool, uint64_t number)
{
    return &pool->slots[number % pool->most_in_flight];
}

/* The counter of an eventfd cannot overflow here, and a full one would be readable just the same. */
static void raise_event(const struct pool *pool)
{
    uint64_t one = 1;
    ssize_t ignored = write(pool->event_descriptor, &one, sizeof one);
    (void)ignored;
}

static void clear_event(const struct pool *pool)
{
    uint64_t count;
    ssize_t ignored = read(pool->event_descriptor, &count, sizeof count);
    (void)ignored;
}

static void run_task(struct pool *pool, void *worker, uint64_t number)
{
    struct pool_slot *slot = slot_of(pool, number);

    pthread_mutex_unlock(&pool->lock);
    bool ok = pool->ops->work(pool->shared, worker, slot->task, &slot->error);
    pthread_mutex_lock(&pool->lock);
    slot->has_failed = !ok;
    slot->is_done = true;
    if (number == pool->taken) {
        raise_event(pool);
        pthread_cond_signal(&pool->done_changed);
    }
}

/* Returns whether the worker may serve; the first failure is kept for pool_new(). */
static bool begin_worker(struct pool *pool, void **ret_worker)
{
    struct error error;
    pthread_mutex_lock(&pool->lock);
    unsigned number = pool->workers_begun;
    bool ok = pool->ops->begin == NULL || pool->ops->begin(pool->shared, number, ret_worker, &error);
    if (!ok && !pool->has_begin_failed) {
        pool->has_begin_failed = true;
        pool->begin_error = error;
    }
    pool->workers_begun++;
    pthread_cond_signal(&pool->done_changed);
    pthread_mutex_unlock(&pool->lock);
    return ok;
}

static void *worker_main(void *argument)
{
    struct pool *pool = argument;
    void *worker = NULL;

    if (!begin_worker(pool, &worker))
        return NULL;
    pthread_mutex_lock(&pool->lock);
    while (!pool->is_ending) {
        if (pool->started < pool->submitted)
            run_task(pool, worker, pool->started++);
        else
            pthread_cond_wait(&pool->work_changed, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    if (pool->ops->end != NULL)
        pool->ops->end(pool->shared, worker);
    return NULL;
}

unsigned pool_default_workers(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (unsigned)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

/* Signals belong to the thread that runs the event loop: the workers start with all of them blocked. */
static bool start_threads(struct pool *pool, struct error *err)
{
    sigset_t all, before;
    int failure = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (failure == 0 && pool->threads_started < pool->workers) {
        failure = pthread_create(&pool->threads[pool->threads_started], NULL, worker_main, pool);
        if (failure == 0)
            pool->threads_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);

    if (failure != 0) {
        errno = failure;
        return error_set_kind_errno(err, ERROR_FAILED, "could not start a worker thread");
    }
    return true;
}

static bool wait_for_begin(struct pool *pool, struct error *err)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->workers_begun < pool->workers)
        pthread_cond_wait(&pool->done_changed, &pool->lock);
    bool ok = !pool->has_begin_failed;
    pthread_mutex_unlock(&pool->lock);
    if (!ok)
        *err = pool->begin_error;
    return ok;
}

bool pool_new(const struct pool_ops *ops, void *shared, unsigned workers, unsigned most_in_flight,
              struct pool **ret_pool, struct error *err)
{
    assert(most_in_flight > 0);
    struct pool *pool = memory_new(sizeof *pool);

    pool->ops = ops;
    pool->shared = shared;
    pool->workers = workers > 0 ? workers : pool_default_workers();
    pool->most_in_flight = most_in_flight;
    pool->threads = memory_new(pool->workers * sizeof *pool->threads);
    pool->slots = memory_new(most_in_flight * sizeof *pool->slots);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work_changed, NULL);
    pthread_cond_init(&pool->done_changed, NULL);

    pool->event_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok =
        pool->event_descriptor >= 0 || error_set_kind_errno(err, ERROR_FAILED, "could not create an event descriptor");
    if (!ok || !start_threads(pool, err) || !wait_for_begin(pool, err)) {
        pool_free(pool, NULL);
        return false;
    }
    *ret_pool = pool;
    return true;
}

bool pool_has_room(const struct pool *pool)
{
    return pool_in_flight(pool) < pool->most_in_flight;
}

unsigned pool_in_flight(const struct pool *pool)
{
    return (unsigned)(pool->submitted - pool->taken);
}

void pool_submit(struct pool *pool, void *task)
{
    assert(pool_has_room(pool));
    pthread_mutex_lock(&pool->lock);
    struct pool_slot *slot = slot_of(pool, pool->submitted);
    slot->task = task;
    slot->is_done = false;
    pool->submitted++;
    pthread_cond_signal(&pool->work_changed);
    pthread_mutex_unlock(&pool->lock);
}

/* With the lock held and the oldest task done. The event follows the task that is the oldest now. */
static struct pool_slot *retire_oldest(struct pool *pool)
{
    struct pool_slot *slot = slot_of(pool, pool->taken++);

    clear_event(pool);
    if (pool->taken < pool->submitted && slot_of(pool, pool->taken)->is_done)
        raise_event(pool);
    return slot;
}

bool pool_take(struct pool *pool, void **ret_task, struct error *err)
{
    assert(pool_in_flight(pool) > 0);
    pthread_mutex_lock(&pool->lock);
    while (!slot_of(pool, pool->taken)->is_done)
        pthread_cond_wait(&pool->done_changed, &pool->lock);
    struct pool_slot *slot = retire_oldest(pool);
    pthread_mutex_unlock(&pool->lock);

    *ret_task = slot->task;
    if (slot->has_failed)
        *err = slot->error;
    return !slot->has_failed;
}

bool pool_try_take(struct pool *pool, void **ret_task, struct error *err)
{
    *ret_task = NULL;
    if (pool_in_flight(pool) == 0)
        return true;
    pthread_mutex_lock(&pool->lock);
    bool is_done = slot_of(pool, pool->taken)->is_done;
    pthread_mutex_unlock(&pool->lock);
    return !is_done || pool_take(pool, ret_task, err);
}

int pool_event_descriptor(const struct pool *pool)
{
    return pool->event_descriptor;
}

void pool_free(struct pool *pool, void (*drop)(void *task))
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->is_ending = true;
    pthread_cond_broadcast(&pool->work_changed);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads_started; i++)
        pthread_join(pool->threads[i], NULL);

    for (; drop != NULL && pool->taken < pool->submitted; pool->taken++)
        drop(slot_of(pool, pool->taken)->task);
    if (pool->event_descriptor >= 0)
        close(pool->event_descriptor);
    pthread_cond_destroy(&pool->done_changed);
    pthread_cond_destroy(&pool->work_changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->slots);
    free(pool->threads);
    free(pool);
}
