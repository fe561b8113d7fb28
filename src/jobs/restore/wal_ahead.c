#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>

#include "jobs/restore/wal_ahead_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/stage/pool.h"

/* A replay of one segment takes less, a recovery that has paused takes more: then the room is the server's again. */
#define PATIENCE_IN_SECONDS 60
#define MOST_WORKERS        4 /* connections: the daemon allows a user 32, and two recoveries may run at once */
#define NICE                5
#define POSTMASTER_PID      "postmaster.pid"

struct wal_ahead *wal_ahead_new(struct wal_spool *spool, const char *server, const char *system_id,
                                struct wal_segment taken, struct wal_segment_size size, unsigned capacity)
{
    struct wal_ahead *ahead = memory_new(sizeof *ahead);

    ahead->spool = spool;
    ahead->server = memory_copy_text(server);
    snprintf(ahead->system_id, sizeof ahead->system_id, "%s", system_id);
    ahead->size = size;
    ahead->capacity = capacity;
    ahead->taken = taken;
    ahead->next = taken.number + 1;
    return ahead;
}

void wal_ahead_free(struct wal_ahead *ahead)
{
    if (ahead == NULL)
        return;
    wal_spool_free(ahead->spool);
    free(ahead->server);
    free(ahead);
}

void wal_ahead_cancel(struct wal_ahead *ahead)
{
    wal_spool_remove(ahead->spool);
    wal_ahead_free(ahead);
}

/* ---- a process of its own ---- */

static int compare_numbers(const void *a, const void *b)
{
    int first = *(const int *)a;
    int second = *(const int *)b;

    return (first > second) - (first < second);
}

/* PostgreSQL's descriptors, the caller's pipes and the connection that served it. */
static void close_others(const struct wal_spool *spool)
{
    int kept[] = {spool->data, spool->wal, spool->folder, spool->lock};
    unsigned from = STDERR_FILENO + 1;

    qsort(kept, sizeof kept / sizeof kept[0], sizeof kept[0], compare_numbers);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if ((unsigned)kept[i] > from)
            close_range(from, (unsigned)kept[i] - 1, 0);
        from = (unsigned)kept[i] + 1;
    }
    close_range(from, ~0u, 0);
}

void wal_ahead_detach(const struct wal_ahead *ahead)
{
    static const int changed[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);

    setsid(); /* PostgreSQL signals the group of the command it waits for */
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++)
        signal(changed[i], SIG_DFL);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (nowhere < 0 || dup2(nowhere, fd) < 0)
            close(fd);
    close_others(ahead->spool);
    if (nice(NICE) < 0)
        return; /* then it is as urgent as the recovery, which waits for it anyway */
}

/* ---- the window: what lies behind the segment the recovery has ---- */

static bool is_wanted(const struct wal_ahead *ahead, struct wal_segment segment)
{
    return segment.timeline.value == ahead->taken.timeline.value && segment.number > ahead->taken.number &&
           segment.number <= ahead->taken.number + ahead->capacity;
}

static void remove_file(const struct wal_ahead *ahead, struct wal_segment segment)
{
    char name[WAL_SEGMENT_NAME_SIZE];

    wal_segment_format(segment, ahead->size, name);
    unlinkat(ahead->spool->folder, name, 0);
}

/* Whole segments lie in the window only: those of the earlier one go, unless they are in this one too. */
static void move_window(struct wal_ahead *ahead, struct wal_segment taken)
{
    struct wal_segment before = ahead->taken;

    ahead->taken = taken;
    for (unsigned i = 1; i <= ahead->capacity; i++) {
        struct wal_segment segment = {before.timeline, before.number + i};
        if (!is_wanted(ahead, segment))
            remove_file(ahead, segment);
    }
}

/* Everything in it is looked for anew; what is there stays. */
static void begin_window(struct wal_ahead *ahead, struct wal_segment taken)
{
    move_window(ahead, taken);
    ahead->next = taken.number + 1;
    ahead->has_end = false;
}

/* The recovery has this one now. */
static void note_taken(struct wal_ahead *ahead, struct wal_segment taken)
{
    bool is_in_order =
        is_wanted(ahead, taken) && taken.number < ahead->next && !(ahead->has_end && taken.number >= ahead->end);

    ahead->last_taken_at = clock_monotonic();
    if (is_in_order)
        move_window(ahead, taken);
    else
        begin_window(ahead, taken);
}

static bool is_all_taken(const struct wal_ahead *ahead)
{
    return ahead->has_end && ahead->taken.number + 1 >= ahead->end;
}

static void submit(struct wal_ahead *ahead, struct pool *pool)
{
    while (!ahead->is_over && !ahead->has_end && pool_has_room(pool) &&
           ahead->next <= ahead->taken.number + ahead->capacity) {
        bool is_spool_full;
        struct wal_segment segment = {ahead->taken.timeline, ahead->next++};
        struct ahead_task *task = ahead_task_new(ahead, segment, &is_spool_full);
        if (task != NULL)
            pool_submit(pool, task);
        ahead->is_over = is_spool_full;
    }
}

static void take_results(struct wal_ahead *ahead, struct pool *pool)
{
    while (pool_in_flight(pool) > 0) {
        struct ahead_task *task = NULL;
        struct error ignored;
        bool is_done = pool_try_take(pool, (void **)&task, &ignored);
        if (task == NULL)
            return;
        if (is_done && task->is_here) {
            if (!is_wanted(ahead, task->segment))
                remove_file(ahead, task->segment);
        } else if (is_wanted(ahead, task->segment) && (!ahead->has_end || task->segment.number < ahead->end)) {
            ahead->has_end = true;
            ahead->end = task->segment.number;
        }
        ahead->is_over |= task->is_spool_full;
        ahead_task_free(task);
    }
}

/* ---- what happens meanwhile ---- */

struct watches {
    int events; /* inotify */
    int data, folder;
    int signals;
};

static void watches_done(struct watches *watches)
{
    scoped_close(&watches->events);
    scoped_close(&watches->signals);
}

static int watch_folder(int events, int folder, uint32_t mask)
{
    char place[64];

    snprintf(place, sizeof place, "/proc/self/fd/%d", folder);
    return inotify_add_watch(events, place, mask);
}

static bool watches_begin(const struct wal_ahead *ahead, struct watches *ret_watches)
{
    sigset_t ending;

    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGHUP);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    ret_watches->signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
    ret_watches->events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (ret_watches->signals < 0 || ret_watches->events < 0)
        return false;
    /* A file taken is renamed away, and a caller that fetched one itself leaves its word. */
    ret_watches->folder = watch_folder(ret_watches->events, ahead->spool->folder, IN_MOVED_FROM | IN_CREATE);
    /* The end of a recovery removes the signal file, the end of a server its pid file. */
    ret_watches->data = watch_folder(ret_watches->events, ahead->spool->data, IN_DELETE | IN_MOVED_FROM | IN_MOVE_SELF);
    return ret_watches->folder >= 0 && ret_watches->data >= 0;
}

static void note_file(struct wal_ahead *ahead, const struct inotify_event *event)
{
    char name[WAL_SPOOL_NAME_SIZE];
    struct wal_segment segment;

    if (event->len == 0 || (size_t)snprintf(name, sizeof name, "%s", event->name) >= sizeof name)
        return;
    if ((event->mask & IN_MOVED_FROM) != 0 && wal_segment_parse(name, ahead->size, &segment)) {
        note_taken(ahead, segment);
    } else if ((event->mask & IN_CREATE) != 0 && text_ends_with(name, WAL_SPOOL_ASKED)) {
        unlinkat(ahead->spool->folder, name, 0);
        name[strlen(name) - strlen(WAL_SPOOL_ASKED)] = '\0';
        if (wal_segment_parse(name, ahead->size, &segment)) {
            ahead->last_taken_at = clock_monotonic();
            begin_window(ahead, segment);
        }
    }
}

static void note_event(struct wal_ahead *ahead, const struct watches *watches, const struct inotify_event *event)
{
    if ((event->mask & IN_Q_OVERFLOW) != 0)
        ahead->is_over = true;
    else if (event->wd == watches->folder)
        note_file(ahead, event);
    else if ((event->mask & IN_MOVE_SELF) != 0 || (event->len > 0 && strcmp(event->name, POSTMASTER_PID) == 0) ||
             !wal_spool_is_needed(ahead->spool))
        ahead->is_over = true;
}

static void note_events(struct wal_ahead *ahead, const struct watches *watches)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t size;

    while ((size = read(watches->events, events, sizeof events)) > 0)
        for (char *at = events; at < events + size;) {
            const struct inotify_event *event = (const void *)at;
            note_event(ahead, watches, event);
            at += sizeof *event + event->len;
        }
}

static void await(struct wal_ahead *ahead, const struct watches *watches, struct pool *pool)
{
    int64_t left = ahead->last_taken_at + INT64_C(1000000) * PATIENCE_IN_SECONDS - clock_monotonic();
    struct pollfd waits[] = {{.fd = watches->events, .events = POLLIN},
                             {.fd = watches->signals, .events = POLLIN},
                             {.fd = pool_event_descriptor(pool), .events = POLLIN}};

    if (left <= 0) {
        ahead->is_over = true;
        return;
    }
    if (poll(waits, sizeof waits / sizeof waits[0], (int)(left / 1000) + 1) < 0 && errno != EINTR)
        ahead->is_over = true;
    if (waits[1].revents != 0)
        ahead->is_over = true;
}

static void drop_task(void *task)
{
    ahead_task_free(task);
}

static void fetch_until_over(struct wal_ahead *ahead, const struct watches *watches)
{
    static const struct pool_ops ops = {
        .begin = ahead_worker_begin, .work = ahead_worker_work, .end = ahead_worker_end};
    unsigned workers = pool_default_workers();
    struct pool *pool = NULL;
    struct error ignored;

    if (workers > MOST_WORKERS)
        workers = MOST_WORKERS;
    if (!pool_new(&ops, ahead, workers, 2 * workers, &pool, &ignored))
        return;
    while (!ahead->is_over) {
        note_events(ahead, watches);
        take_results(ahead, pool);
        if (pool_in_flight(pool) == 0 && is_all_taken(ahead))
            break;
        submit(ahead, pool);
        if (!ahead->is_over)
            await(ahead, watches, pool);
    }
    pool_free(pool, drop_task);
}

void wal_ahead_run(struct wal_ahead *ahead, const struct connector *connector)
{
    struct watches watches SCOPED(watches_done) = {.events = -1, .signals = -1};

    ahead->connector = connector;
    ahead->last_taken_at = clock_monotonic();
    wal_spool_remove_strangers(ahead->spool);
    if (watches_begin(ahead, &watches) && wal_spool_is_needed(ahead->spool))
        fetch_until_over(ahead, &watches);
    wal_spool_remove(ahead->spool);
    wal_ahead_free(ahead);
}
