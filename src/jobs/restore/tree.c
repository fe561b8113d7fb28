#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/tar_copy.h"

/* What openat2() does, for kernels and sandboxes without it: every folder on the way by itself, no link followed. */
static int open_step_by_step(int folder, const char *path, int flags, mode_t mode)
{
    int current SCOPED(scoped_close) = -1;

    for (const char *slash; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        char *name SCOPED(scoped_free) = memory_text("%.*s", (int)(slash - path), path);
        int next = openat(current >= 0 ? current : folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            return -1;
        scoped_close(&current);
        current = next;
    }
    return openat(current >= 0 ? current : folder, path, flags | O_NOFOLLOW | O_CLOEXEC, mode);
}

int tree_open(const struct restore_place *place, const char *path, int flags, mode_t mode)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
                           .mode = flags & O_CREAT ? mode : 0,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};

    if (!tar_path_is_safe(path)) {
        errno = EINVAL;
        return -1;
    }
    int fd = (int)syscall(SYS_openat2, place->fd, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        fd = open_step_by_step(place->fd, path, flags, mode);
    return fd;
}

struct tree tree_of(const struct restore_place *place)
{
    return (struct tree){.place = place, .parent_fd = -1};
}

void tree_done(struct tree *tree)
{
    free(TAKE(tree->parent_path));
    scoped_close(&tree->parent_fd);
    tree->parent_fd = -1;
}

/* Members come folder by folder, so the one opened last is nearly always the right one. */
static bool open_parent(struct tree *tree, const char *path, const char **ret_name, int *ret_fd, struct error *err)
{
    const char *slash = strrchr(path, '/');

    if (!tar_path_is_safe(path))
        return error_set(err, ERROR_INTEGRITY, "the backup holds the unsafe name \"%s\"", path);
    *ret_name = slash != NULL ? slash + 1 : path;
    *ret_fd = tree->place->fd;
    if (slash == NULL)
        return true;
    size_t size = (size_t)(slash - path);
    if (tree->parent_path == NULL || strlen(tree->parent_path) != size || memcmp(tree->parent_path, path, size) != 0) {
        tree_done(tree);
        tree->parent_path = memory_text("%.*s", (int)size, path);
        tree->parent_fd = tree_open(tree->place, tree->parent_path, O_RDONLY | O_DIRECTORY, 0);
        if (tree->parent_fd < 0) {
            error_set_errno(err, "could not open the folder \"%s/%s\"", tree->place->path, tree->parent_path);
            tree_done(tree);
            return false;
        }
    }
    *ret_fd = tree->parent_fd;
    return true;
}

bool tree_make_folder(struct tree *tree, const char *path, mode_t mode, struct error *err)
{
    const char *name = "";
    int folder = -1;

    if (!open_parent(tree, path, &name, &folder, err))
        return false;
    if (mkdirat(folder, name, mode) < 0)
        return error_set_errno(err, "could not make the folder \"%s/%s\"", tree->place->path, path);
    /* The umask may have taken the group's bits. */
    if ((mode & 070) != 0 && fchmodat(folder, name, mode, 0) < 0)
        return error_set_errno(err, "could not set the mode of \"%s/%s\"", tree->place->path, path);
    return true;
}

bool tree_create_file(struct tree *tree, const char *path, mode_t mode, int *ret_fd, struct error *err)
{
    const char *name = "";
    int folder = -1;

    if (!open_parent(tree, path, &name, &folder, err))
        return false;
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return error_set_errno(err, "could not create \"%s/%s\"", tree->place->path, path);
    *ret_fd = fd;
    if ((mode & 070) == 0 || fchmod(fd, mode) == 0)
        return true;
    error_set_errno(err, "could not set the mode of \"%s/%s\"", tree->place->path, path);
    close(fd);
    *ret_fd = -1;
    return false;
}
