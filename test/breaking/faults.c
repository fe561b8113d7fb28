#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "board.h"
#include "ledger.h"

/*
 * Every call of the C library that this machine can let fail, under its own name. Each asks the board first. What
 * reaches the library otherwise (stdio's own writes, io_uring) is not used for anything of the repository.
 */
#define PATH_SIZE LEDGER_PATH_SIZE

/*
 * The calls themselves are made of the kernel: what another library under the program (a sanitizer's) makes of their
 * names may not be ready yet when it makes the first of them itself.
 */
static long make(long number, long one, long two, long three, long four, long five, long six)
{
    long result = board_system_call(number, one, two, three, four, five, six);

    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

/* ---- what a call is about ---- */

/* "" when the descriptor has no path. */
static void path_of(int fd, char path[PATH_SIZE])
{
    char link[64];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long size = board_system_call(SYS_readlinkat, AT_FDCWD, (long)link, (long)path, PATH_SIZE - 1, 0, 0);
    path[size > 0 ? size : 0] = '\0';
}

static void path_at(int folder, const char *name, char path[PATH_SIZE])
{
    char parent[PATH_SIZE];

    path[0] = '\0';
    if (!board_is_attached())
        return;
    if (name[0] == '/' || folder == AT_FDCWD) {
        snprintf(path, PATH_SIZE, "%s", name);
        return;
    }
    path_of(folder, parent);
    if (snprintf(path, PATH_SIZE, "%s/%s", parent, name) >= PATH_SIZE)
        path[0] = '\0';
}

static bool is_there(const char *path)
{
    return board_system_call(SYS_faccessat, AT_FDCWD, (long)path, F_OK, 0, 0, 0) == 0;
}

static bool is_watched_socket(int fd)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof name;

    if (getsockname(fd, (struct sockaddr *)&name, &size) < 0)
        return false;
    return name.ss_family == AF_INET || name.ss_family == AF_INET6 ||
           (name.ss_family == AF_UNIX && board_takes_unix_sockets());
}

/* A connection that was reset is one for the other end too. */
static void close_both_ways(int fd, enum fault fault)
{
    if (fault == FAULT_RESET || fault == FAULT_END)
        shutdown(fd, SHUT_RDWR);
}

/* What is to happen to a call on a descriptor. */
static enum fault decide_for(int fd, enum call_class file_class, enum call_class socket_class, const char *call)
{
    char path[PATH_SIZE];
    int errnum = errno;
    enum fault fault = FAULT_NONE;

    if (!board_is_for_us())
        return FAULT_NONE;
    path_of(fd, path);
    if (file_class != CALL_CLASSES && board_is_watched(path))
        fault = board_decide(file_class, call, path);
    else if (socket_class != CALL_CLASSES && strncmp(path, "socket:", 7) == 0 && is_watched_socket(fd))
        fault = board_decide(socket_class, call, path);
    close_both_ways(fd, fault);
    errno = errnum;
    return fault;
}

static enum fault decide_for_path(const char *path, enum call_class class, const char *call)
{
    return board_is_for_us() && board_is_watched(path) ? board_decide(class, call, path) : FAULT_NONE;
}

/* ---- what happens ---- */

/* True when the call is not to be made: errno is set, or the process is gone. */
static bool is_refused(enum fault fault)
{
    switch (fault) {
    case FAULT_NONE:
    case FAULT_SHORT:
    case FAULT_END:
    case FAULT_TORN:
        return false;
    case FAULT_EIO:
        errno = EIO;
        return true;
    case FAULT_ENOSPC:
        errno = ENOSPC;
        return true;
    case FAULT_RESET:
        errno = ECONNRESET;
        return true;
    case FAULT_KILL:
    case FAULT_POWER:
        board_die(fault);
    }
    return false;
}

static size_t part_of(enum fault fault, size_t size)
{
    return (fault == FAULT_SHORT || fault == FAULT_TORN) && size > 1 ? size / 2 : size;
}

static ssize_t torn(enum fault fault, ssize_t done)
{
    if (fault == FAULT_TORN)
        board_die(fault);
    return done;
}

/* ---- writing ---- */

ssize_t write(int fd, const void *bytes, size_t size)
{
    enum fault fault = decide_for(fd, CALL_WRITE, CALL_SEND, "write");
    if (is_refused(fault))
        return -1;
    return torn(fault, make(SYS_write, fd, (long)bytes, (long)part_of(fault, size), 0, 0, 0));
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    enum fault fault = decide_for(fd, CALL_WRITE, CALL_CLASSES, "pwrite");
    if (is_refused(fault))
        return -1;
    return torn(fault, make(SYS_pwrite64, fd, (long)bytes, (long)part_of(fault, size), offset, 0, 0));
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
    enum fault fault = decide_for(fd, CALL_WRITE, CALL_CLASSES, "pwrite64");
    if (is_refused(fault))
        return -1;
    return torn(fault, make(SYS_pwrite64, fd, (long)bytes, (long)part_of(fault, size), offset, 0, 0));
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    enum fault fault = decide_for(fd, CALL_WRITE, CALL_SEND, "writev");
    if (is_refused(fault))
        return -1;
    struct iovec half = {count > 0 ? parts[0].iov_base : NULL, count > 0 ? part_of(fault, parts[0].iov_len) : 0};
    bool is_cut = fault == FAULT_SHORT || fault == FAULT_TORN;
    return torn(fault, make(SYS_writev, fd, (long)(is_cut ? &half : parts), is_cut ? 1 : count, 0, 0, 0));
}

/* ---- syncing ---- */

/*
 * With a ledger the disk is spared: what is durable is what the ledger says, and thousands of cases would wait for the
 * disk for nothing else.
 */
static int sync_descriptor(int fd, const char *call, long number)
{
    char path[PATH_SIZE];

    if (is_refused(decide_for(fd, CALL_SYNC, CALL_CLASSES, call)))
        return -1;
    if (!ledger_is_kept())
        return (int)make(number, fd, 0, 0, 0, 0, 0);
    path_of(fd, path);
    if (!board_is_watched(path))
        return (int)make(number, fd, 0, 0, 0, 0, 0);
    ledger_synced(fd, path, ledger_size_of(fd));
    return 0;
}

int fsync(int fd)
{
    return sync_descriptor(fd, "fsync", SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_descriptor(fd, "fdatasync", SYS_fdatasync);
}

/* No promise rests on it: the ledger hears nothing of it. */
int syncfs(int fd)
{
    return ledger_is_kept() ? 0 : (int)make(SYS_syncfs, fd, 0, 0, 0, 0, 0);
}

/* ---- names ---- */

static int rename_at(int from_folder, const char *from, int to_folder, const char *to, unsigned flags, const char *call)
{
    char from_path[PATH_SIZE], to_path[PATH_SIZE];

    path_at(from_folder, from, from_path);
    path_at(to_folder, to, to_path);
    if (is_refused(decide_for_path(to_path, CALL_RENAME, call)))
        return -1;
    bool has_overwritten = ledger_is_kept() && is_there(to_path);
    int result = (int)make(SYS_renameat2, from_folder, (long)from, to_folder, (long)to, flags, 0);
    if (result == 0)
        ledger_renamed(from_path, to_path, has_overwritten);
    return result;
}

int rename(const char *from, const char *to)
{
    return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0, "rename");
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return rename_at(from_folder, from, to_folder, to, 0, "renameat");
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    return rename_at(from_folder, from, to_folder, to, flags, "renameat2");
}

static int remove_at(int folder, const char *name, int flags, const char *call)
{
    char path[PATH_SIZE];

    path_at(folder, name, path);
    if (is_refused(decide_for_path(path, CALL_UNLINK, call)))
        return -1;
    int result = (int)make(SYS_unlinkat, folder, (long)name, flags, 0, 0, 0);
    if (result == 0)
        ledger_removed(path);
    return result;
}

int unlink(const char *name)
{
    return remove_at(AT_FDCWD, name, 0, "unlink");
}

int unlinkat(int folder, const char *name, int flags)
{
    return remove_at(folder, name, flags, "unlinkat");
}

int rmdir(const char *name)
{
    return remove_at(AT_FDCWD, name, AT_REMOVEDIR, "rmdir");
}

static int make_folder_at(int folder, const char *name, mode_t mode, const char *call)
{
    char path[PATH_SIZE];

    path_at(folder, name, path);
    if (is_refused(decide_for_path(path, CALL_CREATE, call)))
        return -1;
    int result = (int)make(SYS_mkdirat, folder, (long)name, mode, 0, 0, 0);
    if (result == 0)
        ledger_folder(path);
    return result;
}

int mkdir(const char *name, mode_t mode)
{
    return make_folder_at(AT_FDCWD, name, mode, "mkdir");
}

int mkdirat(int folder, const char *name, mode_t mode)
{
    return make_folder_at(folder, name, mode, "mkdirat");
}

static int link_at(const char *target, int folder, const char *name, const char *call)
{
    char path[PATH_SIZE];

    path_at(folder, name, path);
    if (is_refused(decide_for_path(path, CALL_CREATE, call)))
        return -1;
    return (int)make(SYS_symlinkat, (long)target, folder, (long)name, 0, 0, 0);
}

int symlink(const char *target, const char *name)
{
    return link_at(target, AT_FDCWD, name, "symlink");
}

int symlinkat(const char *target, int folder, const char *name)
{
    return link_at(target, folder, name, "symlinkat");
}

/* ---- files that come into being ---- */

/* False when the file is not to be opened; *ret_is_new tells whether it is to be noted afterwards. */
static bool may_create(const char *path, int flags, const char *call, bool *ret_is_new)
{
    *ret_is_new = false;
    if ((flags & O_CREAT) == 0)
        return true;
    if (is_refused(decide_for_path(path, CALL_CREATE, call)))
        return false;
    *ret_is_new = ledger_is_kept() && board_is_watched(path) && !is_there(path);
    return true;
}

#define DEFINE_OPEN(name)                                                                                              \
    int name(const char *file, int flags, ...)                                                                         \
    {                                                                                                                  \
        char path[PATH_SIZE];                                                                                          \
        va_list args;                                                                                                  \
        bool is_new = false;                                                                                           \
        va_start(args, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;                                        \
        va_end(args);                                                                                                  \
        path_at(AT_FDCWD, file, path);                                                                                 \
        if (!may_create(path, flags, #name, &is_new))                                                                  \
            return -1;                                                                                                 \
        int fd = (int)make(SYS_openat, AT_FDCWD, (long)file, flags, mode, 0, 0);                                       \
        if (fd >= 0 && is_new)                                                                                         \
            ledger_created(path);                                                                                      \
        return fd;                                                                                                     \
    }

#define DEFINE_OPENAT(name)                                                                                            \
    int name(int folder, const char *file, int flags, ...)                                                             \
    {                                                                                                                  \
        char path[PATH_SIZE];                                                                                          \
        va_list args;                                                                                                  \
        bool is_new = false;                                                                                           \
        va_start(args, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;                                        \
        va_end(args);                                                                                                  \
        if ((flags & O_CREAT) != 0)                                                                                    \
            path_at(folder, file, path);                                                                               \
        if (!may_create(path, flags, #name, &is_new))                                                                  \
            return -1;                                                                                                 \
        int fd = (int)make(SYS_openat, folder, (long)file, flags, mode, 0, 0);                                         \
        if (fd >= 0 && is_new)                                                                                         \
            ledger_created(path);                                                                                      \
        return fd;                                                                                                     \
    }

DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

/* openat2() has no function in the C library. */
long syscall(long number, ...)
{
    long words[6];
    va_list args;
    char path[PATH_SIZE];
    bool is_new = false;

    va_start(args, number);
    for (size_t i = 0; i < 6; i++)
        words[i] = va_arg(args, long);
    va_end(args);
    if (number != SYS_openat2)
        return make(number, words[0], words[1], words[2], words[3], words[4], words[5]);
    const struct open_how *how = (const struct open_how *)words[2];
    if ((how->flags & O_CREAT) != 0)
        path_at((int)words[0], (const char *)words[1], path);
    if (!may_create(path, (int)how->flags, "openat2", &is_new))
        return -1;
    long fd = make(number, words[0], words[1], words[2], words[3], words[4], words[5]);
    if (fd >= 0 && is_new)
        ledger_created(path);
    return fd;
}

#define DEFINE_ALLOCATE(name, offset_type)                                                                             \
    int name(int fd, int mode, offset_type offset, offset_type size)                                                   \
    {                                                                                                                  \
        if (is_refused(decide_for(fd, CALL_CREATE, CALL_CLASSES, #name)))                                              \
            return -1;                                                                                                 \
        return (int)make(SYS_fallocate, fd, mode, offset, size, 0, 0);                                                 \
    }

DEFINE_ALLOCATE(fallocate, off_t)
DEFINE_ALLOCATE(fallocate64, off64_t)

int fchmod(int fd, mode_t mode)
{
    if (is_refused(decide_for(fd, CALL_CREATE, CALL_CLASSES, "fchmod")))
        return -1;
    return (int)make(SYS_fchmod, fd, mode, 0, 0, 0, 0);
}

/* ---- the network ---- */

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    enum fault fault = decide_for(fd, CALL_CLASSES, CALL_SEND, "send");
    if (is_refused(fault))
        return -1;
    return torn(fault, make(SYS_sendto, fd, (long)bytes, (long)part_of(fault, size), flags, 0, 0));
}

ssize_t sendto(int fd, const void *bytes, size_t size, int flags, const struct sockaddr *to, socklen_t to_size)
{
    enum fault fault = decide_for(fd, CALL_CLASSES, CALL_SEND, "sendto");
    if (is_refused(fault))
        return -1;
    return torn(fault, make(SYS_sendto, fd, (long)bytes, (long)part_of(fault, size), flags, (long)to, to_size));
}

ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    enum fault fault = decide_for(fd, CALL_CLASSES, CALL_RECEIVE, "recv");
    if (is_refused(fault))
        return -1;
    return fault == FAULT_END ? 0 : make(SYS_recvfrom, fd, (long)bytes, (long)part_of(fault, size), flags, 0, 0);
}

ssize_t recvfrom(int fd, void *bytes, size_t size, int flags, struct sockaddr *from, socklen_t *from_size)
{
    enum fault fault = decide_for(fd, CALL_CLASSES, CALL_RECEIVE, "recvfrom");
    if (is_refused(fault))
        return -1;
    return fault == FAULT_END
               ? 0
               : make(SYS_recvfrom, fd, (long)bytes, (long)part_of(fault, size), flags, (long)from, (long)from_size);
}

ssize_t read(int fd, void *bytes, size_t size)
{
    enum fault fault = decide_for(fd, CALL_CLASSES, CALL_RECEIVE, "read");
    if (is_refused(fault))
        return -1;
    return fault == FAULT_END ? 0 : make(SYS_read, fd, (long)bytes, (long)part_of(fault, size), 0, 0, 0);
}
