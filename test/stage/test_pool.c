#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/stage/pool.h"
#include "stage/capture.h"
#include "support/suite.h"

struct job {
    unsigned number;
    unsigned result;
    unsigned worker_number;
    bool must_fail;
    bool waits; /* for the gate to open */
};

/* What the workers share: a gate that holds back the jobs that wait, and counts of what happened. */
struct shared {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool is_open;
    unsigned begin_failures;
    atomic_uint begun;
    atomic_uint ended;
    atomic_uint worked;
    atomic_uint signals_unblocked;
};

static void shared_start(struct shared *shared)
{
    *shared = (struct shared){.is_open = false};
    pthread_mutex_init(&shared->lock, NULL);
    pthread_cond_init(&shared->opened, NULL);
}

static void open_gate(struct shared *shared)
{
    pthread_mutex_lock(&shared->lock);
    shared->is_open = true;
    pthread_cond_broadcast(&shared->opened);
    pthread_mutex_unlock(&shared->lock);
}

static bool begin(void *context, unsigned worker_number, void **ret_worker, struct error *err)
{
    struct shared *shared = context;
    sigset_t blocked;

    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    if (!sigismember(&blocked, SIGTERM))
        shared->signals_unblocked++;
    if (worker_number < shared->begin_failures)
        return error_set(err, ERROR_FAILED, "could not begin worker %u", worker_number);
    unsigned *number = memory_new(sizeof *number);
    *number = worker_number;
    *ret_worker = number;
    shared->begun++;
    return true;
}

static bool work(void *context, void *worker, void *task, struct error *err)
{
    struct shared *shared = context;
    struct job *job = task;

    if (job->waits) {
        pthread_mutex_lock(&shared->lock);
        while (!shared->is_open)
            pthread_cond_wait(&shared->opened, &shared->lock);
        pthread_mutex_unlock(&shared->lock);
    }
    for (volatile unsigned left = (job->number * 7919) % 5000; left > 0;)
        left = left - 1; /* so that tasks end in another order than they begin */
    job->result = job->number * 2;
    job->worker_number = *(unsigned *)worker;
    shared->worked++;
    return !job->must_fail || error_set(err, ERROR_INTEGRITY, "job %u failed", job->number);
}

static void end(void *context, void *worker)
{
    struct shared *shared = context;

    free(worker);
    shared->ended++;
}

static const struct pool_ops ops = {begin, work, end};

static struct pool *start_pool(struct shared *shared, unsigned workers, unsigned most_in_flight)
{
    struct pool *pool = NULL;

    ck_assert_works(pool_new(&ops, shared, workers, most_in_flight, &pool, err));
    return pool;
}

static struct job *job_new(unsigned number)
{
    struct job *job = memory_new(sizeof *job);

    job->number = number;
    return job;
}

static void take_in_order(struct pool *pool, unsigned number)
{
    void *task = NULL;

    ck_assert_works(pool_take(pool, &task, err));
    struct job *job = task;
    ck_assert_uint_eq(job->number, number);
    ck_assert_uint_eq(job->result, number * 2);
    free(job);
}

static const unsigned worker_counts[] = {1, 2, 3, 16};
#define WORKER_COUNTS (int)(sizeof worker_counts / sizeof worker_counts[0])

START_TEST(results_come_in_the_order_of_submission_whatever_the_number_of_workers)
{
    struct shared shared;
    unsigned taken = 0;

    shared_start(&shared);
    struct pool *pool = start_pool(&shared, worker_counts[_i], worker_counts[_i] + 2);
    for (unsigned number = 0; number < 3000; number++) {
        if (!pool_has_room(pool))
            take_in_order(pool, taken++);
        pool_submit(pool, job_new(number));
        ck_assert_uint_eq(pool_in_flight(pool), number + 1 - taken);
    }
    while (pool_in_flight(pool) > 0)
        take_in_order(pool, taken++);
    ck_assert_uint_eq(taken, 3000);
    pool_free(pool, NULL);
    ck_assert_uint_eq(shared.worked, 3000);
    ck_assert_uint_eq(shared.begun, worker_counts[_i]);
    ck_assert_uint_eq(shared.ended, worker_counts[_i]);
    ck_assert_uint_eq(shared.signals_unblocked, 0);
}
END_TEST

START_TEST(a_later_task_that_is_done_waits_for_the_oldest)
{
    struct shared shared;
    struct error err;
    void *task;

    shared_start(&shared);
    struct pool *pool = start_pool(&shared, 2, 4);
    struct pollfd event = {.fd = pool_event_descriptor(pool), .events = POLLIN};
    struct job *slow = job_new(0);
    slow->waits = true;
    pool_submit(pool, slow);
    for (unsigned number = 1; number < 4; number++)
        pool_submit(pool, job_new(number));
    while (shared.worked < 3)
        sched_yield();
    ck_assert(!pool_has_room(pool));
    ck_assert(pool_try_take(pool, &task, &err));
    ck_assert_ptr_null(task);
    ck_assert_int_eq(poll(&event, 1, 0), 0);

    open_gate(&shared);
    /* The event tells of each in turn and is quiet when nothing is left. */
    for (unsigned number = 0; number < 4; number++) {
        ck_assert_int_eq(poll(&event, 1, 10000), 1);
        ck_assert(pool_try_take(pool, &task, &err));
        ck_assert_ptr_nonnull(task);
        ck_assert_uint_eq(((struct job *)task)->number, number);
        free(task);
    }
    ck_assert_int_eq(poll(&event, 1, 0), 0);
    ck_assert(pool_try_take(pool, &task, &err));
    ck_assert_ptr_null(task);
    pool_free(pool, NULL);
}
END_TEST

START_TEST(a_failed_task_is_handed_back_with_its_error_and_the_others_go_on)
{
    struct shared shared;

    shared_start(&shared);
    struct pool *pool = start_pool(&shared, 2, 8);
    for (unsigned number = 0; number < 8; number++) {
        struct job *job = job_new(number);
        job->must_fail = number % 3 == 1;
        pool_submit(pool, job);
    }
    for (unsigned number = 0; number < 8; number++) {
        struct error err;
        char expected[32];
        void *task = NULL;
        bool ok = pool_take(pool, &task, &err);
        ck_assert_ptr_nonnull(task);
        ck_assert_uint_eq(((struct job *)task)->number, number);
        ck_assert_int_eq(ok, number % 3 != 1);
        snprintf(expected, sizeof expected, "job %u failed", number);
        if (!ok)
            ck_assert_str_eq(err.message, expected);
        free(task);
    }
    pool_free(pool, NULL);
}
END_TEST

static unsigned dropped;

static void drop(void *task)
{
    dropped++;
    free(task);
}

START_TEST(freeing_a_busy_pool_waits_for_what_runs_and_drops_all_that_was_not_taken)
{
    struct shared shared;

    dropped = 0;
    shared_start(&shared);
    struct pool *pool = start_pool(&shared, 2, 10);
    for (unsigned number = 0; number < 10; number++) {
        struct job *job = job_new(number);
        job->waits = number >= 4;
        pool_submit(pool, job);
    }
    take_in_order(pool, 0);
    open_gate(&shared);
    pool_free(pool, drop);
    ck_assert_uint_eq(dropped, 9);
    ck_assert_uint_eq(shared.ended, 2);
}
END_TEST

START_TEST(a_pool_can_be_freed_at_any_moment)
{
    for (unsigned round = 0; round < 200; round++) {
        struct shared shared;
        shared_start(&shared);
        struct pool *pool = start_pool(&shared, 1 + round % 4, 6);
        for (unsigned number = 0; number < round % 7; number++)
            pool_submit(pool, job_new(number));
        pool_free(pool, drop);
        ck_assert_uint_eq(shared.begun, shared.ended);
    }
    pool_free(NULL, drop);
}
END_TEST

START_TEST(a_worker_that_cannot_begin_means_no_pool)
{
    struct shared shared;
    struct pool *pool = NULL;
    struct error err;

    shared_start(&shared);
    shared.begin_failures = 1;
    ck_assert(!pool_new(&ops, &shared, 4, 4, &pool, &err));
    ck_assert_ptr_null(pool);
    ck_assert_str_eq(err.message, "could not begin worker 0");
    ck_assert_uint_eq(shared.begun, 3);
    ck_assert_uint_eq(shared.ended, 3);
}
END_TEST

static bool double_it(void *context, void *worker, void *task, struct error *err)
{
    (void)context, (void)err;
    ck_assert_ptr_null(worker);
    *(unsigned *)task *= 2;
    return true;
}

START_TEST(begin_and_end_may_be_missing_and_zero_workers_means_one_per_core)
{
    static const struct pool_ops plain_ops = {.work = double_it};
    struct pool *pool = NULL;
    struct shared shared;
    unsigned number = 21;
    void *task;

    shared_start(&shared);
    pool_free(start_pool(&shared, 0, 1), NULL);
    ck_assert_uint_eq(shared.begun, pool_default_workers());
    ck_assert_works(pool_new(&plain_ops, NULL, 0, 1, &pool, err));
    pool_submit(pool, &number);
    ck_assert_works(pool_take(pool, &task, err));
    ck_assert_uint_eq(number, 42);
    pool_free(pool, NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("pool");

    tcase_add_loop_test(tests, results_come_in_the_order_of_submission_whatever_the_number_of_workers, 0,
                        WORKER_COUNTS);
    tcase_add_test(tests, a_later_task_that_is_done_waits_for_the_oldest);
    tcase_add_test(tests, a_failed_task_is_handed_back_with_its_error_and_the_others_go_on);
    tcase_add_test(tests, freeing_a_busy_pool_waits_for_what_runs_and_drops_all_that_was_not_taken);
    tcase_add_test(tests, a_pool_can_be_freed_at_any_moment);
    tcase_add_test(tests, a_worker_that_cannot_begin_means_no_pool);
    tcase_add_test(tests, begin_and_end_may_be_missing_and_zero_workers_means_one_per_core);
    return suite_run("pool", tests);
}
