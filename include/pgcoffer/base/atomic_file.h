#ifndef PGCOFFER_BASE_ATOMIC_FILE_H
#define PGCOFFER_BASE_ATOMIC_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "pgcoffer/base/error.h"

/*
 * A file that exists completely or not at all.
 *
 * Bytes go to "<path>.tmp". commit() makes them durable and gives them their
 * real name: fsync(file), rename, fsync(directory). Freeing without a commit
 * removes the temporary file, so every error path rolls back by itself. A
 * temporary file left by a killed process is overwritten by the next open.
 */
struct atomic_file;

struct atomic_file *atomic_file_open(const char *path, mode_t mode, struct error *err) NODISCARD;
bool atomic_file_write(struct atomic_file *file, const void *data, size_t size, struct error *err) NODISCARD;
bool atomic_file_commit(struct atomic_file *file, struct error *err) NODISCARD;
void atomic_file_free(struct atomic_file *file); /* NULL is fine */
int atomic_file_descriptor(const struct atomic_file *file);

static inline void scoped_atomic_file(struct atomic_file **file)
{
    atomic_file_free(*file);
}

/* open, write, commit in one go. */
bool atomic_file_put(const char *path, mode_t mode, const void *data, size_t size, struct error *err) NODISCARD;

#endif
