#include "jobs/receive/compressor_internal.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/wal_packer.h"
#include "pgcoffer/stage/pool.h"

#define RETRY_MICROSECONDS INT64_C(10000000)
/* Segments that wait, in memory; beyond that they are found again by listing the archive. */
#define MOST_WAITING    65536
#define POLITE_NICENESS 10

/*
 * With so many waiting the receiver is catching up, and raw segments take their room until they are compressed: until
 * none waits, these levels are taken. On WAL they are up to twice as fast as level 3 and leave 1.1 and 1.3 times its
 * size.
 */
static const struct {
    size_t waiting;
    int level;
} haste[] = {{4, 1}, {16, -1}};

/* A segment that did not fit is tried again with this part of a segment more. */
#define MORE_ROOM_PART 16

/*
 * A receiver that catches up compresses in two threads, each a run of segments: a record that runs in from the segment
 * before has to be read there once a run only.
 */
#define LANES     2
#define RUN_MOST  8
#define RUN_BYTES ((uint64_t)128 << 20)

/* The pool's task: one segment, or a run of them. */
struct compression {
    struct wal_packer *packer;
    struct wal_segment segments[RUN_MOST];
    size_t count;
    size_t done; /* the first ones */
    int level;
    uint64_t budget; /* of each */
    bool is_at_hand;
};

struct receive_compressor {
    struct wal_archive archive;
    int level, level_now;
    struct pool *pool;
    struct compression lanes[LANES]; /* in steady state the first one alone */
    struct wal_segment *waiting;     /* a ring */
    size_t room, first, count;
    bool is_overrun;  /* some were left out of `waiting` */
    int64_t retry_at; /* 0: not waiting for a retry */
    bool is_stuck;    /* the last try failed, and was told */
    struct receive_compressor_watch watch;
    bool is_polite, is_hasty;
    atomic_bool is_ending;
    size_t refusals; /* in a row: segments that did not fit, the last one into so many bytes */
    uint64_t refused_budget;
};

/* The thread's own niceness, which on Linux is not the process's. It need not succeed. */
static void step_back(const struct receive_compressor *compressor)
{
    if (compressor->is_polite)
        setpriority(PRIO_PROCESS, (id_t)gettid(), POLITE_NICENESS);
}

static bool compress_run(void *shared, void *worker, void *task, struct error *err)
{
    struct receive_compressor *compressor = shared;
    struct compression *run = task;

    (void)worker;
    step_back(compressor);
    for (run->done = 0; run->done < run->count && !atomic_load(&compressor->is_ending); run->done++)
        if (!wal_packer_pack(run->packer, run->segments[run->done], run->level, run->budget, err))
            return false;
    return true;
}

static const struct pool_ops compress_ops = {.work = compress_run};

bool receive_compressor_new(const struct wal_archive *archive, int level, struct receive_compressor **ret_compressor,
                            struct error *err)
{
    struct receive_compressor *compressor = memory_new(sizeof *compressor);

    compressor->archive = *archive;
    compressor->level = compressor->level_now = level;
    if (!pool_new(&compress_ops, compressor, LANES, LANES, &compressor->pool, err)) {
        free(compressor);
        return false;
    }
    for (size_t i = 0; i < LANES; i++)
        compressor->lanes[i].packer = wal_packer_new(archive);
    *ret_compressor = compressor;
    return true;
}

void receive_compressor_be_polite(struct receive_compressor *compressor)
{
    compressor->is_polite = true;
}

void receive_compressor_watch(struct receive_compressor *compressor, const struct receive_compressor_watch *watch)
{
    compressor->watch = *watch;
}

static void make_room(struct receive_compressor *compressor)
{
    size_t room = compressor->room == 0 ? 64 : compressor->room * 2;
    struct wal_segment *waiting = memory_new(room * sizeof *waiting);

    for (size_t i = 0; i < compressor->count; i++)
        waiting[i] = compressor->waiting[(compressor->first + i) % compressor->room];
    free(compressor->waiting);
    compressor->waiting = waiting;
    compressor->room = room;
    compressor->first = 0;
}

void receive_compressor_add(struct receive_compressor *compressor, struct wal_segment segment)
{
    if (compressor->count == MOST_WAITING) {
        compressor->is_overrun = true;
        return;
    }
    if (compressor->count == compressor->room)
        make_room(compressor);
    compressor->waiting[(compressor->first + compressor->count++) % compressor->room] = segment;
}

/* Tries again later; false when that is to be told, which it is once. */
static bool put_off(struct receive_compressor *compressor)
{
    bool was_stuck = compressor->is_stuck;

    compressor->retry_at = clock_monotonic() + RETRY_MICROSECONDS;
    compressor->is_stuck = true;
    return was_stuck;
}

/* Those that found no room in the ring lie raw in the archive. */
static bool find_left_out(struct receive_compressor *compressor, struct error *err)
{
    struct wal_files files;

    if (!wal_archive_list(&compressor->archive, &files, err))
        return put_off(compressor);
    compressor->is_stuck = false;
    compressor->is_overrun = false; /* unless they are again too many */
    for (size_t i = 0; i < files.count; i++)
        if (files.files[i].state == WAL_FILE_RAW)
            receive_compressor_add(compressor, files.files[i].segment);
    wal_files_done(&files);
    return true;
}

static void note_stored(struct receive_compressor *compressor, const struct compression *run)
{
    if (run->done == 0)
        return;
    compressor->is_stuck = false;
    compressor->refusals = 0;
    for (size_t i = 0; i < run->done && compressor->watch.stored != NULL; i++)
        compressor->watch.stored(compressor->watch.context, run->segments[i]);
}

/* Room may come back; what is damaged will not mend, and verify names it. */
static bool is_to_try_again(const struct error *err)
{
    return err->kind == ERROR_STORAGE && err->errnum != ENOENT;
}

static bool take_failed(struct receive_compressor *compressor, const struct compression *run, const struct error *err)
{
    bool again = is_to_try_again(err);

    for (size_t i = run->done + (again ? 0 : 1); i < run->count; i++)
        receive_compressor_add(compressor, run->segments[i]);
    if (!again)
        return false;
    if (err->errnum == ENOSPC && run->budget != UINT64_MAX) {
        compressor->refusals++;
        compressor->refused_budget = run->budget;
    }
    return put_off(compressor);
}

/* One run, or none: then *ret_taken is false. */
static bool take_done(struct receive_compressor *compressor, bool *ret_taken, struct error *err)
{
    void *task = NULL;
    bool ok = pool_try_take(compressor->pool, &task, err);
    struct compression *run = task;

    *ret_taken = run != NULL;
    if (run == NULL)
        return true;
    run->is_at_hand = false;
    note_stored(compressor, run);
    return ok || take_failed(compressor, run, err);
}

/*
 * What did not fit will not fit into the same room: once each that waits was refused, none is tried again until there
 * is more, for every try costs processor time. 0: not now.
 */
static uint64_t budget_now(struct receive_compressor *compressor)
{
    if (compressor->watch.budget == NULL)
        return UINT64_MAX;
    uint64_t budget = compressor->watch.budget(compressor->watch.context);
    uint64_t more = compressor->archive.segment_size.bytes / MORE_ROOM_PART;
    if (compressor->refusals > 0 && budget > compressor->refused_budget + more)
        compressor->refusals = 0;
    return compressor->refusals > 0 && compressor->refusals >= compressor->count ? 0 : budget;
}

static void choose_level(struct receive_compressor *compressor)
{
    if (compressor->count >= haste[0].waiting)
        compressor->is_hasty = true;
    for (size_t i = 0; i < sizeof haste / sizeof haste[0]; i++)
        if (compressor->count >= haste[i].waiting && compressor->level_now > haste[i].level)
            compressor->level_now = haste[i].level;
}

static struct compression *free_lane(struct receive_compressor *compressor)
{
    for (size_t i = 0; i < LANES; i++)
        if (!compressor->lanes[i].is_at_hand)
            return &compressor->lanes[i];
    return NULL;
}

static bool is_same(struct wal_segment left, struct wal_segment right)
{
    return left.timeline.value == right.timeline.value && left.number == right.number;
}

static bool is_at_hand(const struct receive_compressor *compressor, struct wal_segment segment)
{
    for (size_t lane = 0; lane < LANES; lane++)
        for (size_t i = 0; compressor->lanes[lane].is_at_hand && i < compressor->lanes[lane].count; i++)
            if (is_same(compressor->lanes[lane].segments[i], segment))
                return true;
    return false;
}

/* Runs in two lanes: far behind, with nobody to give way to and ample room. Otherwise one after the other. */
static size_t run_length(const struct receive_compressor *compressor, uint64_t budget)
{
    uint64_t size = compressor->archive.segment_size.bytes;
    size_t share = compressor->count / LANES / LANES;
    size_t most = size * RUN_MOST <= RUN_BYTES ? RUN_MOST : (size_t)(RUN_BYTES / size);

    if (!compressor->is_hasty || compressor->is_polite || budget < size * LANES * LANES)
        return 0;
    return share == 0 || most == 0 ? 1 : share < most ? share : most;
}

static struct wal_segment next_waiting(const struct receive_compressor *compressor)
{
    return compressor->waiting[compressor->first];
}

static void hand_out(struct receive_compressor *compressor, struct compression *lane, size_t most, uint64_t budget)
{
    lane->is_at_hand = true;
    lane->level = compressor->level_now;
    lane->budget = budget;
    lane->count = lane->done = 0;
    do {
        lane->segments[lane->count++] = next_waiting(compressor);
        compressor->first = (compressor->first + 1) % compressor->room;
        compressor->count--;
    } while (lane->count < most && compressor->count > 0 && !is_at_hand(compressor, next_waiting(compressor)));
    pool_submit(compressor->pool, lane);
}

static void rest(struct receive_compressor *compressor)
{
    compressor->is_hasty = false;
    compressor->level_now = compressor->level;
    for (size_t i = 0; i < LANES; i++)
        wal_packer_rest(compressor->lanes[i].packer);
}

/* False: nothing more can be handed out now. */
static bool hand_out_next(struct receive_compressor *compressor)
{
    struct compression *lane = free_lane(compressor);

    if (compressor->count == 0 || lane == NULL || is_at_hand(compressor, next_waiting(compressor)))
        return false;
    uint64_t budget = budget_now(compressor);
    choose_level(compressor);
    size_t run = run_length(compressor, budget);
    if (run == 0 && receive_compressor_is_working(compressor))
        return false;
    if (budget == 0) {
        compressor->retry_at = clock_monotonic() + RETRY_MICROSECONDS;
        return false;
    }
    hand_out(compressor, lane, run == 0 ? 1 : run, budget);
    return true;
}

bool receive_compressor_turn(struct receive_compressor *compressor, struct error *err)
{
    bool ok = true;

    for (bool taken = true; ok && taken;)
        ok = take_done(compressor, &taken, err);
    if (clock_monotonic() < compressor->retry_at)
        return ok;
    compressor->retry_at = 0;
    if (ok && compressor->count == 0 && compressor->is_overrun && !receive_compressor_is_working(compressor))
        ok = find_left_out(compressor, err);
    while (hand_out_next(compressor))
        continue;
    if (!receive_compressor_is_working(compressor) && compressor->count == 0)
        rest(compressor);
    return ok;
}

int64_t receive_compressor_due(const struct receive_compressor *compressor)
{
    return compressor->retry_at != 0 ? compressor->retry_at : INT64_MAX;
}

int receive_compressor_descriptor(const struct receive_compressor *compressor)
{
    return pool_event_descriptor(compressor->pool);
}

uint64_t receive_compressor_unfinished_bytes(const struct receive_compressor *compressor)
{
    uint64_t bytes = 0;

    for (size_t lane = 0; lane < LANES; lane++)
        for (size_t i = 0; compressor->lanes[lane].is_at_hand && i < compressor->lanes[lane].count; i++)
            bytes += wal_archive_compressing_bytes(&compressor->archive, compressor->lanes[lane].segments[i]);
    return bytes;
}

bool receive_compressor_is_working(const struct receive_compressor *compressor)
{
    return pool_in_flight(compressor->pool) > 0;
}

void receive_compressor_end(struct receive_compressor *compressor)
{
    atomic_store(&compressor->is_ending, true);
}

void receive_compressor_free(struct receive_compressor *compressor)
{
    if (compressor == NULL)
        return;
    receive_compressor_end(compressor);
    pool_free(compressor->pool, NULL);
    for (size_t i = 0; i < LANES; i++)
        wal_packer_free(compressor->lanes[i].packer);
    free(compressor->waiting);
    free(compressor);
}
