#include "pgcoffer/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "pgcoffer/base/memory.h"

#define READ_SIZE 16384

/* A full disk is the one failure of a write that the operator can end by himself. */
static bool fail_to_store(struct error *err, const char *action, const char *path)
{
    error_set_errno(err, "could not %s \"%s\"", action, path);
    if (err->errnum == ENOSPC || err->errnum == EDQUOT)
        error_hint(err, "Make room on the file system that holds %s.", path);
    return false;
}

bool file_write_all(int fd, const void *data, size_t size, const char *path, struct error *err)
{
    const char *next = data;

    while (size > 0) {
        ssize_t written = write(fd, next, size);
        if (written < 0) {
            if (errno == EINTR)
                continue;
            return fail_to_store(err, "write", path);
        }
        next += written;
        size -= (size_t)written;
    }
    return true;
}

bool file_write_all_at(int fd, const void *data, size_t size, uint64_t offset, const char *path, struct error *err)
{
    const char *next = data;

    while (size > 0) {
        ssize_t written = pwrite(fd, next, size, (off_t)offset);
        if (written < 0) {
            if (errno == EINTR)
                continue;
            return fail_to_store(err, "write", path);
        }
        next += written;
        size -= (size_t)written;
        offset += (uint64_t)written;
    }
    return true;
}

bool file_read_exactly_at(int fd, void *data, size_t size, uint64_t offset, const char *path, struct error *err)
{
    char *next = data;

    while (size > 0) {
        ssize_t got = pread(fd, next, size, (off_t)offset);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return error_set_errno(err, "could not read \"%s\"", path);
        }
        if (got == 0)
            return error_set(err, ERROR_INTEGRITY, "\"%s\" ends at byte %llu, %zu bytes too early", path,
                             (unsigned long long)offset, size);
        next += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

bool file_read_whole(const char *path, struct buffer *ret_bytes, struct error *err)
{
    int fd SCOPED(scoped_close) = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "could not open \"%s\"", path);

    char piece[READ_SIZE];
    for (;;) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, "could not read \"%s\"", path);
        if (got == 0)
            return true;
        if (!buffer_append(ret_bytes, piece, (size_t)got, err))
            return error_wrap(err, "could not read \"%s\"", path);
    }
}

bool file_sync(int fd, const char *path, struct error *err)
{
    if (fsync(fd) < 0)
        return fail_to_store(err, "fsync", path);
    return true;
}

bool file_sync_directory(const char *path, struct error *err)
{
    int fd SCOPED(scoped_close) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "could not open directory \"%s\"", path);
    if (fsync(fd) < 0)
        return fail_to_store(err, "fsync directory", path);
    return true;
}

bool file_sync_parent(const char *path, struct error *err)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(path);

    return file_sync_directory(dirname(copy), err);
}

bool file_rename_durably(const char *from, const char *to, struct error *err)
{
    char *copy_of_from SCOPED(scoped_free) = memory_copy_text(from);
    char *copy_of_to SCOPED(scoped_free) = memory_copy_text(to);
    const char *from_parent = dirname(copy_of_from);
    const char *to_parent = dirname(copy_of_to);

    if (rename(from, to) < 0)
        return error_set_errno(err, "could not rename \"%s\" to \"%s\"", from, to);
    if (!file_sync_directory(to_parent, err))
        return false;
    return strcmp(from_parent, to_parent) == 0 || file_sync_directory(from_parent, err);
}

static bool make_one_directory(const char *path, mode_t mode, struct error *err)
{
    struct stat status;

    if (mkdir(path, mode) == 0) {
        if (chmod(path, mode) < 0) /* whatever the umask says */
            return error_set_errno(err, "could not set the mode of \"%s\"", path);
        return file_sync_parent(path, err);
    }
    int errnum = errno;
    if (stat(path, &status) == 0) {
        if (S_ISDIR(status.st_mode))
            return true;
        errnum = ENOTDIR;
    }
    errno = errnum;
    return fail_to_store(err, "create directory", path);
}

bool file_make_directories(const char *path, mode_t mode, struct error *err)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(path);

    for (char *slash = strchr(copy + (copy[0] == '/'), '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        if (slash[1] == '/' || slash[1] == '\0')
            continue;
        *slash = '\0';
        if (!make_one_directory(copy, mode, err))
            return false;
        *slash = '/';
    }
    return make_one_directory(copy, mode, err);
}
