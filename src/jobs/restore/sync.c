#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/pool.h"

#define BATCH_SIZE         64
#define TICK_NANOSECONDS   250000000
#define SECOND_NANOSECONDS 1000000000

/* Neighbouring members of the index; their fsyncs wait for the disk, so several threads wait at once. */
struct batch {
    size_t first, count;
};

static const struct restore_place *place_of(const struct restore *restore, const char *archive)
{
    for (size_t i = 0; i < restore->place_count; i++)
        if (strcmp(restore->places[i].archive, archive) == 0)
            return &restore->places[i];
    abort(); /* the writer has met every archive */
}

static bool sync_member(const struct restore *restore, const struct index_member *member, struct error *err)
{
    const struct restore_place *place = place_of(restore, member->archive);
    char *path SCOPED(scoped_free) = memory_text("%s/%s", place->path, member->path);

    if (place->oid == 0 && strcmp(member->path, RESTORE_PG_CONTROL) == 0)
        return true; /* not there yet */
    int flags = member->type == MEMBER_DIRECTORY ? O_RDONLY | O_DIRECTORY : O_RDONLY;
    int fd SCOPED(scoped_close) = tree_open(place, member->path, flags, 0);
    if (fd < 0)
        return error_set_errno(err, "could not open \"%s\"", path);
    return file_sync(fd, path, err);
}

static bool sync_batch(void *shared_restore, void *worker, void *task, struct error *err)
{
    const struct restore *restore = shared_restore;
    const struct batch *batch = task;

    (void)worker;
    for (size_t i = 0; i < batch->count; i++)
        if (!sync_member(restore, &restore->index.members[batch->first + i], err))
            return false;
    return true;
}

static void scoped_pool(struct pool **pool)
{
    pool_free(*pool, free);
}

static struct batch *next_batch(const struct index *index, size_t *next)
{
    struct batch *batch = memory_new(sizeof *batch);
    size_t left = index->member_count - *next;

    *batch = (struct batch){*next, left < BATCH_SIZE ? left : BATCH_SIZE};
    *next += batch->count;
    return batch;
}

static bool sync_members(struct restore *restore, struct error *err)
{
    static const struct pool_ops ops = {.work = sync_batch};
    unsigned jobs = restore_jobs(restore);
    struct pool *pool SCOPED(scoped_pool) = NULL;
    size_t next = 0;

    /* More than there are cores: the disk is what they wait for. */
    if (!pool_new(&ops, restore, 4 * jobs, 8 * jobs, &pool, err))
        return false;
    while (next < restore->index.member_count || pool_in_flight(pool) > 0) {
        while (next < restore->index.member_count && pool_has_room(pool))
            pool_submit(pool, next_batch(&restore->index, &next));
        struct batch *batch SCOPED(scoped_free) = NULL;
        if (!pool_take(pool, (void **)&batch, err) || !restore_may_go_on(restore, err))
            return false;
        restore_advance(restore, "", 0);
    }
    return true;
}

/*
 * One journal commit for everything instead of one for each file. The fsyncs afterwards are then quick; they alone
 * count, because older kernels do not tell the errors of syncfs().
 */
static void *start_writing(void *context)
{
    const struct restore *restore = context;

    for (size_t i = 0; i < restore->place_count; i++)
        (void)syncfs(restore->places[i].fd);
    return NULL;
}

/* It takes as long as the disk does, and says nothing meanwhile; who looks at the clock shall see it go on. */
static void write_all(struct restore *restore)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, start_writing, restore) != 0) {
        start_writing(restore);
        return;
    }
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_NANOSECONDS;
        until.tv_sec += until.tv_nsec / SECOND_NANOSECONDS;
        until.tv_nsec %= SECOND_NANOSECONDS;
        if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
            return;
        restore_advance(restore, "", 0);
    }
}

bool restore_sync(struct restore *restore, struct error *err)
{
    restore_enter_phase(restore, "sync", 0);
    write_all(restore);
    if (!sync_members(restore, err))
        return false;
    for (size_t i = 0; i < restore->place_count; i++)
        if (!file_sync(restore->places[i].fd, restore->places[i].path, err) ||
            !file_sync_parent(restore->places[i].path, err))
            return false;
    return true;
}
