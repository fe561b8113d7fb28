#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "jobs/restore/wal_ahead_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

/* A daemon that is silent for so long gets nobody waiting for it here: who needs the segment asks by itself. */
#define PATIENCE_IN_MILLISECONDS 60000

struct ahead_worker {
    struct control_stream *stream;
};

bool ahead_worker_begin(void *shared_ahead, unsigned number, void **ret_worker, struct error *err)
{
    (void)shared_ahead;
    (void)number;
    (void)err;
    *ret_worker = memory_new(sizeof(struct ahead_worker));
    return true;
}

void ahead_worker_end(void *shared_ahead, void *worker)
{
    struct ahead_worker *of_mine = worker;

    (void)shared_ahead;
    control_stream_free(of_mine->stream);
    free(of_mine);
}

static bool connect_once(const struct wal_ahead *ahead, struct ahead_worker *worker, struct error *err)
{
    if (worker->stream != NULL)
        return true;
    if (!ahead->connector->open(ahead->connector->context, &worker->stream, err))
        return false;
    control_stream_set_timeout(worker->stream, PATIENCE_IN_MILLISECONDS);
    return true;
}

static bool try_once(const struct wal_ahead *ahead, struct ahead_worker *worker, struct ahead_task *task,
                     struct error *err)
{
    struct wal_fetch fetch = {
        .server = ahead->server, .file = task->name, .system_id = ahead->system_id, .path = task->temporary};
    struct wal_fetched fetched = {0};

    if (!connect_once(ahead, worker, err))
        return false;
    bool is_answered = wal_fetch_whole(worker->stream, &fetch, task->fd, &fetched, err);
    if (is_answered && fetched.kind == WAL_FETCHED_WHOLE)
        task->is_here = fetched.length == ahead->size.bytes &&
                        wal_spool_check(task->fd, task->name, ahead->spool->system) &&
                        renameat(ahead->spool->folder, task->temporary, ahead->spool->folder, task->name) == 0;
    else if (!is_answered || fetched.kind != WAL_FETCHED_NOTHING)
        control_stream_free(TAKE(worker->stream)); /* there may be bytes on it that nobody reads */
    return is_answered;
}

bool ahead_worker_work(void *shared_ahead, void *worker, void *task, struct error *err)
{
    const struct wal_ahead *ahead = shared_ahead;
    struct ahead_task *of_mine = task;
    struct error failure = {0};

    (void)err;
    /* A daemon that was started anew has closed the connection; everything else the caller will see for itself. */
    if (!try_once(ahead, worker, of_mine, &failure) && failure.kind == ERROR_DAEMON) {
        failure = (struct error){0};
        if (ftruncate(of_mine->fd, 0) == 0 && lseek(of_mine->fd, 0, SEEK_SET) == 0 &&
            !try_once(ahead, worker, of_mine, &failure))
            of_mine->is_here = false;
    }
    of_mine->is_spool_full = failure.errnum == ENOSPC || failure.errnum == EDQUOT;
    if (!of_mine->is_here)
        unlinkat(ahead->spool->folder, of_mine->temporary, 0);
    close(of_mine->fd);
    of_mine->fd = -1;
    return true;
}

struct ahead_task *ahead_task_new(const struct wal_ahead *ahead, struct wal_segment segment, bool *ret_is_spool_full)
{
    struct ahead_task *task = memory_new(sizeof *task);
    int folder = ahead->spool->folder;

    task->segment = segment;
    wal_segment_format(segment, ahead->size, task->name);
    snprintf(task->temporary, sizeof task->temporary, "%s" WAL_SPOOL_TEMPORARY, task->name);
    task->fd = -1;
    errno = 0;
    if (faccessat(folder, task->name, F_OK, 0) < 0)
        task->fd = openat(folder, task->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    *ret_is_spool_full = task->fd < 0 && (errno == ENOSPC || errno == EDQUOT);
    /* For a moment only: a caller that has opened it asks whether it is locked. */
    while (task->fd >= 0 && flock(task->fd, LOCK_EX) < 0 && errno == EINTR)
        continue;
    if (task->fd >= 0)
        return task;
    free(task);
    return NULL;
}

void ahead_task_free(struct ahead_task *task)
{
    if (task == NULL)
        return;
    if (task->fd >= 0)
        close(task->fd);
    free(task);
}
