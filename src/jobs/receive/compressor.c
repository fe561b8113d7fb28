#include "jobs/receive/compressor_internal.h"

#include <errno.h>
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
 * With so many waiting the receiver is catching up, and raw segments take their room until they are compressed. On WAL
 * these levels are up to twice as fast as level 3 and leave 1.1 and 1.3 times its size.
 */
static const struct {
    size_t waiting;
    int level;
} haste[] = {{4, 1}, {16, -1}};

/* A segment that did not fit is tried again with this part of a segment more. */
#define MORE_ROOM_PART 16

/* The pool's one task. */
struct compression {
    struct wal_segment segment;
    int level;
    uint64_t budget;
};

struct receive_compressor {
    struct wal_archive archive;
    int level;
    struct pool *pool;
    struct wal_packer *packer;   /* of the pool's one thread, while a task is in flight */
    struct wal_segment *waiting; /* a ring */
    size_t room, first, count;
    struct compression at_hand;
    bool is_overrun;  /* some were left out of `waiting` */
    int64_t retry_at; /* 0: not waiting for a retry */
    bool is_stuck;    /* the last try failed, and was told */
    struct receive_compressor_watch watch;
    bool is_polite, has_stepped_back;
    size_t refusals; /* in a row: segments that did not fit, the last one into so many bytes */
    uint64_t refused_budget;
};

/* The thread's own niceness, which on Linux is not the process's. It need not succeed. */
static void step_back(struct receive_compressor *compressor)
{
    if (compressor->is_polite && !compressor->has_stepped_back)
        setpriority(PRIO_PROCESS, (id_t)gettid(), POLITE_NICENESS);
    compressor->has_stepped_back = compressor->is_polite;
}

static bool compress_segment(void *shared, void *worker, void *task, struct error *err)
{
    struct receive_compressor *compressor = shared;
    const struct compression *compression = task;

    (void)worker;
    step_back(compressor);
    return wal_packer_pack(compressor->packer, compression->segment, compression->level, compression->budget, err);
}

static const struct pool_ops compress_ops = {.work = compress_segment};

bool receive_compressor_new(const struct wal_archive *archive, int level, struct receive_compressor **ret_compressor,
                            struct error *err)
{
    struct receive_compressor *compressor = memory_new(sizeof *compressor);

    compressor->archive = *archive;
    compressor->level = level;
    if (!pool_new(&compress_ops, compressor, 1, 1, &compressor->pool, err)) {
        free(compressor);
        return false;
    }
    compressor->packer = wal_packer_new(archive);
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

static void note_stored(struct receive_compressor *compressor)
{
    compressor->is_stuck = false;
    compressor->refusals = 0;
    if (compressor->watch.stored != NULL)
        compressor->watch.stored(compressor->watch.context, compressor->at_hand.segment);
}

static bool take_done(struct receive_compressor *compressor, struct error *err)
{
    void *task = NULL;

    if (pool_try_take(compressor->pool, &task, err)) {
        if (task != NULL)
            note_stored(compressor);
        return true;
    }
    /* Room may come back; what is damaged will not mend, and verify names it. */
    if (err->kind != ERROR_STORAGE || err->errnum == ENOENT)
        return false;
    receive_compressor_add(compressor, compressor->at_hand.segment);
    if (err->errnum == ENOSPC && compressor->at_hand.budget != UINT64_MAX) {
        compressor->refusals++;
        compressor->refused_budget = compressor->at_hand.budget;
    }
    return put_off(compressor);
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

static int level_now(const struct receive_compressor *compressor)
{
    int level = compressor->level;

    for (size_t i = 0; i < sizeof haste / sizeof haste[0]; i++)
        if (compressor->count >= haste[i].waiting && level > haste[i].level)
            level = haste[i].level;
    return level;
}

bool receive_compressor_turn(struct receive_compressor *compressor, struct error *err)
{
    bool ok = take_done(compressor, err);

    if (!pool_has_room(compressor->pool) || clock_monotonic() < compressor->retry_at)
        return ok;
    compressor->retry_at = 0;
    if (ok && compressor->count == 0 && compressor->is_overrun)
        ok = find_left_out(compressor, err);
    if (compressor->count == 0) {
        wal_packer_rest(compressor->packer);
        return ok;
    }
    uint64_t budget = budget_now(compressor);
    if (budget == 0) {
        compressor->retry_at = clock_monotonic() + RETRY_MICROSECONDS;
        return ok;
    }
    compressor->at_hand = (struct compression){
        .segment = compressor->waiting[compressor->first], .level = level_now(compressor), .budget = budget};
    compressor->first = (compressor->first + 1) % compressor->room;
    compressor->count--;
    pool_submit(compressor->pool, &compressor->at_hand);
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
    if (!receive_compressor_is_working(compressor))
        return 0;
    return wal_archive_compressing_bytes(&compressor->archive, compressor->at_hand.segment);
}

bool receive_compressor_is_working(const struct receive_compressor *compressor)
{
    return pool_in_flight(compressor->pool) > 0;
}

void receive_compressor_free(struct receive_compressor *compressor)
{
    if (compressor == NULL)
        return;
    pool_free(compressor->pool, NULL);
    wal_packer_free(compressor->packer);
    free(compressor->waiting);
    free(compressor);
}
