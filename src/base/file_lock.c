#include "pgcoffer/base/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/text.h"

#define HOLDER_SIZE 256

#define AWAITED_AT_MOST INT64_C(5000000)
#define TRIED_EVERY     20 /* milliseconds: flock(2) with a limit of time there is none */

/* The line of the last exclusive holder, unless that process is known to be gone. */
static bool read_holder(int fd, char ret_holder[HOLDER_SIZE])
{
    int pid;

    ssize_t size = pread(fd, ret_holder, HOLDER_SIZE - 1, 0);
    if (size <= 0)
        return false;
    ret_holder[size] = '\0';
    ret_holder[strcspn(ret_holder, "\n")] = '\0';
    text_make_printable(ret_holder);
    if (sscanf(ret_holder, "pid %d", &pid) == 1 && kill(pid, 0) < 0 && errno == ESRCH)
        return false;
    return ret_holder[0] != '\0';
}

static bool fail_to_lock(int fd, const char *path, struct error *err)
{
    char holder[HOLDER_SIZE];

    if (errno != EWOULDBLOCK)
        return error_set_errno(err, "could not lock \"%s\"", path);
    if (read_holder(fd, holder))
        return error_set(err, ERROR_BUSY, "\"%s\" is locked by %s", path, holder);
    return error_set(err, ERROR_BUSY, "\"%s\" is locked by another process", path);
}

static bool is_still_named(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && status.st_nlink > 0;
}

static bool write_holder(int fd, const char *path, const char *holder, struct error *err)
{
    char line[HOLDER_SIZE];

    if (holder != NULL)
        snprintf(line, sizeof line, "%s\n", holder);
    else
        snprintf(line, sizeof line, "pid %d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0)
        return error_set_errno(err, "could not empty \"%s\"", path);
    return file_write_all_at(fd, line, strlen(line), 0, path, err);
}

bool file_lock_exclusive(const char *path, const char *holder, struct file_lock *ret_lock, struct error *err)
{
    for (;;) {
        int fd SCOPED(scoped_close) = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            return error_set_errno(err, "could not open lock file \"%s\"", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return fail_to_lock(fd, path, err);
        if (!is_still_named(fd))
            continue; /* removed between open and flock: a lock nobody else would see */
        if (!write_holder(fd, path, holder, err))
            return false;
        *ret_lock = (struct file_lock){.fd = file_take_descriptor(&fd)};
        return true;
    }
}

static bool wait_for_lock(int fd, const char *path, struct error *err)
{
    int64_t until = clock_monotonic() + AWAITED_AT_MOST;

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(err, "could not lock \"%s\"", path);
        if (clock_monotonic() >= until)
            return error_set(err, ERROR_BUSY, "\"%s\" is locked by another process", path);
        (void)poll(NULL, 0, TRIED_EVERY);
    }
    return true;
}

bool file_lock_await(const char *path, struct file_lock *ret_lock, struct error *err)
{
    int fd SCOPED(scoped_close) = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_set_errno(err, "could not open lock file \"%s\"", path);
    if (!wait_for_lock(fd, path, err))
        return false;
    *ret_lock = (struct file_lock){.fd = file_take_descriptor(&fd)};
    return true;
}

bool file_lock_shared(const char *path, struct file_lock *ret_lock, struct error *err)
{
    int fd SCOPED(scoped_close) = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "could not open lock file \"%s\"", path);
    if (flock(fd, LOCK_SH | LOCK_NB) < 0)
        return fail_to_lock(fd, path, err);
    if (!is_still_named(fd)) {
        errno = ENOENT;
        return error_set_errno(err, "could not lock \"%s\"", path);
    }
    *ret_lock = (struct file_lock){.fd = file_take_descriptor(&fd)};
    return true;
}

void file_lock_done(struct file_lock *lock)
{
    if (lock->fd >= 0)
        close(lock->fd);
    *lock = FILE_LOCK_NONE;
}
