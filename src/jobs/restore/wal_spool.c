#include "jobs/restore/wal_spool_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "pgcoffer/base/crc32c.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define SEGMENT_NAME        "RECOVERYXLOG"
#define SEGMENT_PATH        "pg_wal/" SEGMENT_NAME /* PostgreSQL's %p for every segment, below its data directory */
#define LOCK                "lock"
#define HEADER_SIZE         64
#define PATIENCE_IN_SECONDS 30 /* without a byte more of the segment that is on its way */

/* ---- the folder ---- */

/* NULL: it is not where PostgreSQL wants a segment. */
static char *data_path_of(const char *path)
{
    size_t before = strlen(path) - strlen(SEGMENT_PATH);

    if (!text_ends_with(path, SEGMENT_PATH) || (before > 0 && path[before - 1] != '/'))
        return NULL;
    return before == 0 ? memory_copy_text(".") : memory_text("%.*s", (int)before, path);
}

bool wal_spool_is_needed(const struct wal_spool *spool)
{
    return faccessat(spool->data, "recovery.signal", F_OK, 0) == 0 ||
           faccessat(spool->data, "standby.signal", F_OK, 0) == 0;
}

static int open_folder(int parent, const char *name)
{
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool is_named(int parent, const char *name, int fd)
{
    struct stat opened;
    struct stat named;

    return fstat(fd, &opened) == 0 && fstatat(parent, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_ino == named.st_ino && opened.st_dev == named.st_dev && opened.st_uid == geteuid();
}

enum lock_outcome { LOCK_TAKEN, LOCK_OF_ANOTHER, LOCK_OF_NOTHING };

/* The lock of a folder that may be on its way out, together with its name. */
static enum lock_outcome take_lock(int parent, const char *name, int folder, int flags, int *ret_lock)
{
    int fd SCOPED(scoped_close) = openat(folder, LOCK, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600);

    if (fd < 0)
        return LOCK_OF_NOTHING;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK && is_named(parent, name, folder) ? LOCK_OF_ANOTHER : LOCK_OF_NOTHING;
    if (!is_named(folder, LOCK, fd) || !is_named(parent, name, folder))
        return LOCK_OF_NOTHING;
    *ret_lock = file_take_descriptor(&fd);
    return LOCK_TAKEN;
}

static void sweep(int folder, const char *kept)
{
    int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = again < 0 ? NULL : fdopendir(again);

    if (directory == NULL) {
        if (again >= 0)
            close(again);
        return;
    }
    for (const struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory))
        if (strcmp(entry->d_name, kept) != 0)
            unlinkat(folder, entry->d_name, 0);
    closedir(directory);
}

/* Under another name first: whoever comes now makes a new folder instead of using one that is being removed. */
static void remove_folder(int parent, const char *name, int folder)
{
    char gone[NAME_MAX + 1];

    if ((size_t)snprintf(gone, sizeof gone, "%s.%d", name, (int)getpid()) >= sizeof gone)
        return;
    if (renameat(parent, name, parent, gone) < 0)
        return;
    /* A caller that came before the rename may still put its word into the folder. */
    for (int attempt = 0; attempt < 4; attempt++) {
        sweep(folder, "");
        if (unlinkat(parent, gone, AT_REMOVEDIR) == 0 || errno != ENOTEMPTY)
            return;
    }
}

static void close_folder(struct wal_spool *spool)
{
    if (spool->lock >= 0)
        close(spool->lock);
    if (spool->folder >= 0)
        close(spool->folder);
    spool->lock = -1;
    spool->folder = -1;
}

static void join(struct wal_spool *spool, int flags)
{
    spool->folder = open_folder(spool->wal, spool->name);
    if (spool->folder < 0)
        return;
    switch (take_lock(spool->wal, spool->name, spool->folder, flags, &spool->lock)) {
    case LOCK_TAKEN:
        sweep(spool->folder, LOCK);
        break;
    case LOCK_OF_ANOTHER:
        break;
    case LOCK_OF_NOTHING:
        close_folder(spool);
        break;
    }
}

struct wal_spool *wal_spool_enter(const char *path, const char *server, const char *system_id, const char *source)
{
    char *data_path SCOPED(scoped_free) = data_path_of(path);
    struct wal_spool *spool SCOPED(scoped_wal_spool) = memory_new(sizeof *spool);

    *spool = (struct wal_spool){.data = -1, .wal = -1, .folder = -1, .lock = -1};
    if (data_path == NULL || system_id == NULL || source == NULL || !text_is_server_name(server) ||
        !text_parse_unsigned(system_id, UINT64_MAX, &spool->system))
        return NULL;
    snprintf(spool->name, sizeof spool->name, WAL_SPOOL_PREFIX "%s.%s.%08x", server, system_id,
             (unsigned)crc32c_update(0, source, strlen(source)));
    spool->data = open(data_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (spool->data < 0 || !wal_spool_is_needed(spool))
        return NULL;
    spool->wal = openat(spool->data, "pg_wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (spool->wal < 0)
        return NULL;
    join(spool, 0);
    return TAKE(spool);
}

void wal_spool_free(struct wal_spool *spool)
{
    if (spool == NULL)
        return;
    close_folder(spool);
    if (spool->wal >= 0)
        close(spool->wal);
    if (spool->data >= 0)
        close(spool->data);
    free(spool);
}

bool wal_spool_lead(struct wal_spool *spool)
{
    if (spool->folder < 0) {
        if (mkdirat(spool->wal, spool->name, 0700) < 0 && errno != EEXIST)
            return false;
        join(spool, O_CREAT);
    }
    return spool->lock >= 0;
}

unsigned wal_spool_capacity(const struct wal_spool *spool, struct wal_segment_size size)
{
    struct statvfs room;
    uint64_t count = WAL_SPOOL_MOST_BYTES / size.bytes;

    if (fstatvfs(spool->wal, &room) < 0)
        return 0;
    uint64_t free_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    if (count > free_bytes / 2 / size.bytes)
        count = free_bytes / 2 / size.bytes;
    return count < WAL_SPOOL_MOST ? (unsigned)count : WAL_SPOOL_MOST;
}

/* A call that was killed left it; one that lives has a lock on it, and makes another if this takes it away before. */
static void remove_temporary(int wal)
{
    int fd SCOPED(scoped_close) = openat(wal, SEGMENT_NAME WAL_SPOOL_TEMPORARY, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    /* One that has finished has given the file another name, and the lock on it is free: the name may be a new file's.
     */
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && is_named(wal, SEGMENT_NAME WAL_SPOOL_TEMPORARY, fd))
        unlinkat(wal, SEGMENT_NAME WAL_SPOOL_TEMPORARY, 0);
}

void wal_spool_remove(struct wal_spool *spool)
{
    if (spool->lock >= 0) {
        remove_folder(spool->wal, spool->name, spool->folder);
        remove_temporary(spool->wal);
    }
    close_folder(spool);
}

static void remove_stranger(int parent, const char *name)
{
    int lock SCOPED(scoped_close) = -1;
    int folder SCOPED(scoped_close) = open_folder(parent, name);

    if (folder >= 0 && take_lock(parent, name, folder, O_CREAT, &lock) == LOCK_TAKEN)
        remove_folder(parent, name, folder);
}

void wal_spool_remove_strangers(const struct wal_spool *spool)
{
    int again = openat(spool->wal, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = again < 0 ? NULL : fdopendir(again);

    if (directory == NULL) {
        if (again >= 0)
            close(again);
        return;
    }
    for (const struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory))
        if (text_starts_with(entry->d_name, WAL_SPOOL_PREFIX) && strcmp(entry->d_name, spool->name) != 0)
            remove_stranger(spool->wal, entry->d_name);
    closedir(directory);
}

/* ---- its files ---- */

bool wal_spool_check(int fd, const char *name, uint64_t system)
{
    uint8_t header[HEADER_SIZE];
    struct wal_segment segment;
    struct stat status;
    struct error ignored;

    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || !wal_segment_size_is_valid((uint64_t)status.st_size))
        return false;
    struct wal_segment_size size = {(uint32_t)status.st_size};
    return wal_segment_parse(name, size, &segment) &&
           file_read_exactly_at(fd, header, sizeof header, 0, name, &ignored) &&
           wal_segment_check_header(header, sizeof header, segment, size, system, &ignored);
}

static bool take_whole(const struct wal_spool *spool, const char *name, const char *path)
{
    int fd SCOPED(scoped_close) = openat(spool->folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    return fd >= 0 && wal_spool_check(fd, name, spool->system) && renameat(spool->folder, name, AT_FDCWD, path) == 0;
}

/* Its writer lives. */
static bool is_coming(const struct wal_spool *spool, const char *temporary, off_t *ret_size)
{
    struct stat status;
    int fd SCOPED(scoped_close) = openat(spool->folder, temporary, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK || fstat(fd, &status) < 0)
        return false;
    *ret_size = status.st_size;
    return true;
}

/* A rename, a removal, or the end of the writer's process, which closes its files. False: nothing for a long time. */
static bool await_change(int events)
{
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    struct pollfd wait = {.fd = events, .events = POLLIN};
    int ready;

    do
        ready = poll(&wait, 1, PATIENCE_IN_SECONDS * 1000);
    while (ready < 0 && errno == EINTR);
    return ready > 0 && read(events, buffer, sizeof buffer) > 0;
}

static bool take_when_it_came(const struct wal_spool *spool, const char *name, const char *temporary, const char *path)
{
    char place[64];
    off_t size = 0;
    off_t earlier = -1;
    int events SCOPED(scoped_close) = inotify_init1(IN_CLOEXEC);

    snprintf(place, sizeof place, "/proc/self/fd/%d", spool->folder);
    if (events < 0 || inotify_add_watch(events, place, IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE) < 0)
        return false;
    /* Whatever happened before the watch is seen by the first look, and the rest wakes the next one. */
    while (is_coming(spool, temporary, &size)) {
        if (!await_change(events) && size == earlier)
            return false;
        earlier = size;
        if (take_whole(spool, name, path))
            return true;
    }
    return take_whole(spool, name, path);
}

bool wal_spool_take(const struct wal_spool *spool, const char *name, const char *path)
{
    char temporary[WAL_SPOOL_NAME_SIZE];
    off_t size;

    if (spool->folder < 0 || spool->lock >= 0)
        return false;
    if (take_whole(spool, name, path))
        return true;
    if ((size_t)snprintf(temporary, sizeof temporary, "%s" WAL_SPOOL_TEMPORARY, name) >= sizeof temporary)
        return false;
    return is_coming(spool, temporary, &size) ? take_when_it_came(spool, name, temporary, path)
                                              : take_whole(spool, name, path);
}

void wal_spool_ask(const struct wal_spool *spool, const char *name)
{
    char asked[WAL_SPOOL_NAME_SIZE];

    if (spool->folder < 0 || spool->lock >= 0 ||
        (size_t)snprintf(asked, sizeof asked, "%s" WAL_SPOOL_ASKED, name) >= sizeof asked)
        return;
    int fd = openat(spool->folder, asked, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}
