#include "jobs/receive/lifeline_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/pool.h"

#define SECOND INT64_C(1000000)
/* So many patiences without a visit, and the thread sleeps until the next one. */
#define QUIET_MOST 20

struct receive_lifeline {
    struct pool *thread;
    int64_t patience;
    void (*speak)(void *context);
    void *context;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_ending;
    bool is_awake; /* the thread looks by itself */
    bool is_at_disk;
    bool is_word_due;
    uint64_t visits, words;
};

static void wait_for_patience(struct receive_lifeline *lifeline)
{
    int64_t until = clock_monotonic() + lifeline->patience;
    struct timespec at = {.tv_sec = until / SECOND, .tv_nsec = until % SECOND * 1000};

    while (!lifeline->is_ending && pthread_cond_timedwait(&lifeline->changed, &lifeline->lock, &at) == 0)
        continue;
}

/* Nothing was said for a patience. Between two visits the connection is the stream's own: it says so itself. */
static void speak_up(struct receive_lifeline *lifeline)
{
    lifeline->is_word_due = !lifeline->is_at_disk;
    if (lifeline->is_at_disk)
        lifeline->speak(lifeline->context);
}

static bool watch(void *shared, void *worker, void *task, struct error *err)
{
    struct receive_lifeline *lifeline = task;
    unsigned quiet = 0;

    (void)shared;
    (void)worker;
    (void)err;
    pthread_mutex_lock(&lifeline->lock);
    while (!lifeline->is_ending) {
        if (!lifeline->is_awake) {
            pthread_cond_wait(&lifeline->changed, &lifeline->lock);
            continue;
        }
        uint64_t visits = lifeline->visits, words = lifeline->words;
        wait_for_patience(lifeline);
        bool is_quiet = lifeline->visits == visits && !lifeline->is_at_disk;
        if (lifeline->words == words && !is_quiet && !lifeline->is_ending)
            speak_up(lifeline);
        quiet = is_quiet ? quiet + 1 : 0;
        lifeline->is_awake = quiet < QUIET_MOST;
    }
    pthread_mutex_unlock(&lifeline->lock);
    return true;
}

static const struct pool_ops thread_ops = {.work = watch};

bool receive_lifeline_new(int64_t patience, void (*speak)(void *context), void *context,
                          struct receive_lifeline **ret_lifeline, struct error *err)
{
    struct receive_lifeline *lifeline = memory_new(sizeof *lifeline);
    pthread_condattr_t monotonic;

    *lifeline = (struct receive_lifeline){.patience = patience, .speak = speak, .context = context};
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&lifeline->lock, NULL);
    pthread_cond_init(&lifeline->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (!pool_new(&thread_ops, NULL, 1, 1, &lifeline->thread, err)) {
        receive_lifeline_free(lifeline);
        return false;
    }
    pool_submit(lifeline->thread, lifeline);
    *ret_lifeline = lifeline;
    return true;
}

void receive_lifeline_free(struct receive_lifeline *lifeline)
{
    if (lifeline == NULL)
        return;
    pthread_mutex_lock(&lifeline->lock);
    lifeline->is_ending = true;
    pthread_cond_signal(&lifeline->changed);
    pthread_mutex_unlock(&lifeline->lock);
    pool_free(lifeline->thread, NULL);
    pthread_cond_destroy(&lifeline->changed);
    pthread_mutex_destroy(&lifeline->lock);
    free(lifeline);
}

void receive_lifeline_enter(struct receive_lifeline *lifeline)
{
    if (lifeline == NULL)
        return;
    pthread_mutex_lock(&lifeline->lock);
    lifeline->is_at_disk = true;
    lifeline->visits++;
    if (!lifeline->is_awake) {
        lifeline->is_awake = true;
        pthread_cond_signal(&lifeline->changed);
    }
    pthread_mutex_unlock(&lifeline->lock);
}

void receive_lifeline_leave(struct receive_lifeline *lifeline)
{
    if (lifeline == NULL)
        return;
    pthread_mutex_lock(&lifeline->lock);
    lifeline->is_at_disk = false;
    if (lifeline->is_word_due)
        lifeline->speak(lifeline->context);
    lifeline->is_word_due = false;
    pthread_mutex_unlock(&lifeline->lock);
}

void receive_lifeline_note_word(struct receive_lifeline *lifeline)
{
    if (lifeline == NULL)
        return;
    pthread_mutex_lock(&lifeline->lock);
    lifeline->words++;
    lifeline->is_word_due = false;
    pthread_mutex_unlock(&lifeline->lock);
}
