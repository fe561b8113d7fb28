#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "jobs/drill/drill_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define NAME_START "pgcoffer-drill."
#define NAME       NAME_START "XXXXXX"
#define SOCKET     "/.s.PGSQL." DRILL_PORT
/* What PostgreSQL leaves for a moment when it has ended: a process that fetched WAL ahead, for one. */
#define ATTEMPTS           50
#define PAUSE_MILLISECONDS 100

/* ---- what others have left ---- */

/* Ours, and locked by nobody: neither by a drill nor by a PostgreSQL that still ends. A parent may hand its setgid bit
 * down. */
static bool is_left_behind(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && status.st_uid == geteuid() && (status.st_mode & 0777) == 0700 &&
           flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* Whatever cannot be removed does not stop this drill: the next one tries again. */
static void sweep_one(int parent, const char *parent_path, const char *name)
{
    char *path SCOPED(scoped_free) = memory_text("%s/%s", parent_path, name);
    /* Locked until it is gone: a drill that is just beginning has made it, perhaps, and sees then that it is not its.
     */
    int fd SCOPED(scoped_close) = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct error ignored;

    if (fd >= 0 && is_left_behind(fd))
        (void)!file_remove_tree(path, &ignored);
}

static void sweep(const char *parent)
{
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;

    if (folder == NULL) {
        scoped_close(&fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (text_starts_with(entry->d_name, NAME_START))
            sweep_one(dirfd(folder), parent, entry->d_name);
    closedir(folder);
}

/* ---- our own ---- */

static bool check_path(const char *parent, struct error *err)
{
    static const size_t most = sizeof((struct sockaddr_un){0}).sun_path - sizeof("/" NAME SOCKET);

    if (strlen(parent) <= most && strchr(parent, ',') == NULL)
        return true;
    if (strchr(parent, ',') != NULL) {
        error_set(err, ERROR_USAGE, "the folder \"%s\" has a comma in its path, where PostgreSQL begins another",
                  parent);
        return error_hint(err, "Name another folder with --scratch DIR.");
    }
    error_set(err, ERROR_USAGE, "the folder \"%s\" is too deep for PostgreSQL's socket: its path may have %zu bytes",
              parent, most);
    return error_hint(err, "Name another folder with --scratch DIR.");
}

/* Between its making and its lock somebody else's sweep may have taken it away. */
static bool make_locked(const char *parent, struct drill_scratch *scratch, bool *ret_is_ours, struct error *err)
{
    char *path SCOPED(scoped_free) = memory_text("%s/" NAME, parent);
    struct stat status;
    struct stat open_status;

    if (mkdtemp(path) == NULL) {
        error_set_errno(err, "could not make a folder in \"%s\"", parent);
        return error_hint(err, "Name a folder that you can write with --scratch DIR.");
    }
    int fd SCOPED(scoped_close) = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool is_locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (fd >= 0 && !is_locked && errno != EWOULDBLOCK) { /* some network file systems lock no folders */
        error_set_errno(err, "could not lock the folder \"%s\"", path);
        rmdir(path);
        return error_hint(err, "Name a folder on a local disk with --scratch DIR.");
    }
    *ret_is_ours =
        is_locked && stat(path, &status) == 0 && fstat(fd, &open_status) == 0 && status.st_ino == open_status.st_ino;
    if (!*ret_is_ours)
        return true;
    scratch->path = TAKE(path);
    scratch->lock = file_take_descriptor(&fd);
    return true;
}

bool drill_scratch_make(const char *parent, struct drill_scratch *ret_scratch, struct error *err)
{
    bool is_ours = false;

    if (!check_path(parent, err))
        return false;
    sweep(parent);
    for (unsigned i = 0; i < ATTEMPTS && !is_ours; i++)
        if (!make_locked(parent, ret_scratch, &is_ours, err))
            return false;
    return is_ours || error_set(err, ERROR_BUSY, "every folder made in \"%s\" was taken away at once", parent);
}

bool drill_scratch_remove(struct drill_scratch *scratch, struct error *err)
{
    bool is_removed = false;

    if (scratch->path == NULL)
        return true;
    for (unsigned i = 0; !(is_removed = file_remove_tree(scratch->path, err)) && i < ATTEMPTS; i++) {
        if (err->errnum != ENOTEMPTY)
            break;
        poll(NULL, 0, PAUSE_MILLISECONDS);
    }
    if (!is_removed)
        error_wrap(err, "could not remove the drill's folder");
    scoped_close(&scratch->lock);
    free(TAKE(scratch->path));
    scratch->lock = -1;
    return is_removed;
}
