#include <stdlib.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/pool.h"

/* --with-wal: the WAL from the backup's start to the target goes into pg_wal. */

struct wal_task {
    const struct restore *restore;
    const char *name;
};

static bool attempt_file(void *context, struct fetcher *fetcher, struct error *err)
{
    const struct wal_task *task = context;
    const struct restore *restore = task->restore;
    char *path SCOPED(scoped_free) = memory_text("%s/pg_wal/%s", restore->places[0].path, task->name);
    struct wal_fetch fetch = {.server = restore->plan.server,
                              .file = task->name,
                              .system_id = restore->plan.system_id,
                              .path = path,
                              .mode = restore->plan.file_mode,
                              .is_durable = true,
                              .is_to_target = recovery_settings_have_target(&restore->options->request)};
    struct wal_fetched fetched;

    if (!wal_fetch(fetcher->stream, &fetch, &fetched, err))
        return false;
    if (fetched.kind == WAL_FETCHED_NOTHING)
        return error_set(err, ERROR_INTEGRITY, "WAL file %s, which the restore needs, is no longer held", task->name);
    return true;
}

static bool fetch_file(void *shared_restore, void *worker, void *task, struct error *err)
{
    const struct restore *restore = shared_restore;

    return fetcher_try(restore, worker, attempt_file, task, err);
}

struct wal_pool {
    struct restore *restore;
    struct pool *pool;
};

static void wal_pool_done(struct wal_pool *wal_pool)
{
    wal_pool->restore->is_ending = true;
    pool_free(wal_pool->pool, free);
    wal_pool->restore->is_ending = false;
}

static struct wal_task *next_task(const struct restore *restore, size_t *next)
{
    struct wal_task *task = memory_new(sizeof *task);

    *task = (struct wal_task){restore, restore->plan.wal_files[(*next)++]};
    return task;
}

bool restore_fetch_wal(struct restore *restore, struct error *err)
{
    static const struct pool_ops ops = {.begin = fetcher_begin, .work = fetch_file, .end = fetcher_end};
    unsigned jobs = restore_jobs(restore);
    size_t count = restore->plan.wal_file_count;
    struct wal_pool of_mine SCOPED(wal_pool_done) = {.restore = restore};
    size_t next = 0;

    if (count == 0)
        return true;
    if (!pool_new(&ops, restore, jobs, 2 * jobs, &of_mine.pool, err))
        return false;
    struct pool *pool = of_mine.pool;
    restore_enter_phase(restore, "wal", (uint64_t)count * restore->plan.segment_size);
    while (next < count || pool_in_flight(pool) > 0) {
        while (next < count && pool_has_room(pool))
            pool_submit(pool, next_task(restore, &next));
        struct wal_task *task SCOPED(scoped_free) = NULL;
        if (!pool_take(pool, (void **)&task, err) || !restore_may_go_on(restore, err))
            return false;
        restore_advance(restore, task->name, restore->plan.segment_size);
    }
    return true;
}
