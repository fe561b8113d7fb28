#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

/*
 * Everything goes by descriptors relative to the parent's, and no link is
 * followed: somebody who swaps a folder for a link meanwhile loses the link only.
 */
#define MOST_LEVELS 64

static void scoped_closedir(DIR **directory)
{
    if (*directory != NULL)
        closedir(*directory);
}

static bool remove_entry(int parent_fd, const char *name, const char *path, int levels_left, struct error *err);

/* NOLINTNEXTLINE(misc-no-recursion): the levels are counted */
static bool remove_children(int fd, const char *path, int levels_left, struct error *err)
{
    DIR *directory SCOPED(scoped_closedir) = fdopendir(fd);
    if (directory == NULL) {
        error_set_errno(err, "could not read directory \"%s\"", path);
        close(fd);
        return false;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL)
            return errno == 0 || error_set_errno(err, "could not read directory \"%s\"", path);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *child SCOPED(scoped_free) = memory_text("%s/%s", path, entry->d_name);
        if (!remove_entry(dirfd(directory), entry->d_name, child, levels_left, err))
            return false;
    }
}

/* NOLINTNEXTLINE(misc-no-recursion) */
static bool remove_entry(int parent_fd, const char *name, const char *path, int levels_left, struct error *err)
{
    if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM)
        return error_set_errno(err, "could not remove \"%s\"", path);

    if (levels_left == 0)
        return error_set(err, ERROR_STORAGE, "could not remove \"%s\": directories are nested too deeply", path);
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || error_set_errno(err, "could not open directory \"%s\"", path);
    if (!remove_children(fd, path, levels_left - 1, err))
        return false;
    if (unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return error_set_errno(err, "could not remove directory \"%s\"", path);
    return true;
}

bool file_remove_tree(const char *path, struct error *err)
{
    struct stat status;

    if (lstat(path, &status) < 0)
        return errno == ENOENT || error_set_errno(err, "could not look at \"%s\"", path);
    return remove_entry(AT_FDCWD, path, path, MOST_LEVELS, err) && file_sync_parent(path, err);
}
