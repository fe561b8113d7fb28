#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "jobs/export/export_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#define PIECE_SIZE 65536

/* One file in memory: its size must be known before it goes into a tar, and a broken connection begins it anew. */
struct wal_task {
    const struct restore *restore;
    const char *name;
    int fd;
    uint64_t length;
};

static bool attempt_file(void *context, struct fetcher *fetcher, struct error *err)
{
    struct wal_task *task = context;
    const struct restore_plan *plan = &task->restore->plan;
    struct wal_fetch fetch = {.server = plan->server,
                              .file = task->name,
                              .system_id = plan->system_id,
                              .path = task->name,
                              .is_to_target = true}; /* the backup's end, which the plan has seen */
    struct wal_fetched fetched;

    if (ftruncate(task->fd, 0) < 0 || lseek(task->fd, 0, SEEK_SET) < 0)
        return error_set_errno(err, "could not keep \"%s\" in memory", task->name);
    if (!wal_fetch_into(fetcher->stream, &fetch, task->fd, &fetched, err))
        return false;
    if (fetched.kind == WAL_FETCHED_NOTHING)
        return error_set(err, ERROR_INTEGRITY, "WAL file %s, which the backup needs, is no longer held", task->name);
    task->length = fetched.length;
    return true;
}

static bool add_content(struct export *export, const struct wal_task *task, struct error *err)
{
    char *path SCOPED(scoped_free) = memory_text("pg_wal/%s", task->name);
    /* PostgreSQL would archive what it finds without this mark, under a name that the archive has already. */
    char *mark SCOPED(scoped_free) = memory_text("pg_wal/archive_status/%s.done", task->name);
    uint8_t piece[PIECE_SIZE];

    if (!export->output->functions->file(export->output, path, task->length, err))
        return false;
    for (uint64_t at = 0; at < task->length;) {
        size_t size = task->length - at < sizeof piece ? (size_t)(task->length - at) : sizeof piece;
        if (!file_read_exactly_at(task->fd, piece, size, at, task->name, err) ||
            !export->output->functions->data(export->output, piece, size, err))
            return false;
        at += size;
    }
    export->restore.written_bytes += task->length;
    return export->output->functions->file(export->output, mark, 0, err);
}

static bool add_files(struct export *export, struct fetcher *fetcher, struct error *err)
{
    struct restore *restore = &export->restore;

    restore_enter_phase(restore, "wal", (uint64_t)restore->plan.wal_file_count * restore->plan.segment_size);
    for (size_t i = 0; i < restore->plan.wal_file_count; i++) {
        int fd SCOPED(scoped_close) = memfd_create("wal", MFD_CLOEXEC);
        struct wal_task task = {.restore = restore, .name = restore->plan.wal_files[i], .fd = fd};
        if (fd < 0)
            return error_set_errno(err, "could not keep \"%s\" in memory", task.name);
        if (!restore_may_go_on(restore, err) || !fetcher_try(restore, fetcher, attempt_file, &task, err) ||
            !add_content(export, &task, err))
            return false;
        restore_advance(restore, task.name, restore->plan.segment_size);
    }
    return true;
}

bool export_add_wal(struct export *export, struct error *err)
{
    void *fetcher = NULL;

    if (!fetcher_begin(&export->restore, 0, &fetcher, err))
        return false;
    bool is_added = add_files(export, fetcher, err);
    fetcher_end(&export->restore, fetcher);
    return is_added;
}
