#ifndef PGCOFFER_BASE_FILE_H
#define PGCOFFER_BASE_FILE_H

#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/error.h"

/* Whole reads and writes of descriptors, and the fsyncs that POSIX asks for after a change of names. */

bool file_write_all(int fd, const void *data, size_t size, const char *path, struct error *err) NODISCARD;
bool file_write_all_at(int fd, const void *data, size_t size, uint64_t offset, const char *path,
                       struct error *err) NODISCARD;
/* Exactly `size` bytes or an error; a short file is INTEGRITY. */
bool file_read_exactly_at(int fd, void *data, size_t size, uint64_t offset, const char *path,
                          struct error *err) NODISCARD;
/* The whole file, at most the buffer's limit. errnum is ENOENT when it does not exist. */
bool file_read_whole(const char *path, struct buffer *ret_bytes, struct error *err) NODISCARD;

bool file_sync(int fd, const char *path, struct error *err) NODISCARD;
bool file_sync_directory(const char *path, struct error *err) NODISCARD;
/* fsync of the directory that holds `path`. */
bool file_sync_parent(const char *path, struct error *err) NODISCARD;
/* rename and fsync of both directories. */
bool file_rename_durably(const char *from, const char *to, struct error *err) NODISCARD;
/* mkdir -p with fsync of every directory that gained a child; an existing one is fine. */
bool file_make_directories(const char *path, mode_t mode, struct error *err) NODISCARD;
/* rm -r without following links; a missing path is fine. Ends with fsync of the parent. */
bool file_remove_tree(const char *path, struct error *err) NODISCARD;

static inline void scoped_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* TAKE() for descriptors: hands it to the caller and leaves -1 behind, so that scoped_close keeps it open. */
static inline int file_take_descriptor(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#endif
