#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#include "repo/wal_gaps_internal.h"
#include "repo/wal_internal.h"

/* Nobody has it for longer than it takes to write a small file. */
#define WAITED_AT_MOST INT64_C(5000000)
#define TRIED_EVERY    20 /* milliseconds: flock(2) with a limit of time there is none */

static bool wait_for_lock(int fd, const char *path, struct error *err)
{
    int64_t until = clock_monotonic() + WAITED_AT_MOST;

    for (;;) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(err, "could not lock \"%s\"", path);
        if (clock_monotonic() >= until)
            return error_set(err, ERROR_BUSY, "\"%s\" is locked by another process", path);
        (void)poll(NULL, 0, TRIED_EVERY);
    }
}

/* A file that nobody else may open, for whoever can open one can lock it. It stays. */
bool wal_gaps_lock(const struct wal_archive *archive, int *ret_fd, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_path(archive, "gaps.lock");

    int fd SCOPED(scoped_close) = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, "could not open lock file \"%s\"", path);
    if (!wait_for_lock(fd, path, err))
        return false;
    *ret_fd = file_take_descriptor(&fd);
    return true;
}
