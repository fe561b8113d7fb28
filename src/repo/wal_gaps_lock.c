#include "pgcoffer/base/file.h"
#include "pgcoffer/base/file_lock.h"
#include "pgcoffer/base/memory.h"

#include "repo/wal_gaps_internal.h"
#include "repo/wal_internal.h"

/* A file that nobody else may open, for whoever can open one can lock it. It stays. */
bool wal_gaps_lock(const struct wal_archive *archive, int *ret_fd, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_path(archive, "gaps.lock");
    struct file_lock lock = FILE_LOCK_NONE;

    if (!file_lock_await(path, &lock, err))
        return false;
    *ret_fd = lock.fd;
    return true;
}
