#ifndef PGCOFFER_STAGE_TAR_WRITER_H
#define PGCOFFER_STAGE_TAR_WRITER_H

#include <stdint.h>
#include <sys/types.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/error.h"

/*
 * One tar (GNU format) of files and folders, plain or as one zstd stream, to a descriptor. Members are owned by
 * "postgres", which whoever unpacks it as root finds by name.
 */
struct tar_writer_options {
    int fd;           /* stays open */
    const char *name; /* of it, in messages */
    bool is_compressed;
    int level;              /* of zstd */
    struct timestamp mtime; /* of all members */
};
struct tar_writer;

bool tar_writer_new(const struct tar_writer_options *options, struct tar_writer **ret_writer,
                    struct error *err) NODISCARD;
bool tar_writer_folder(struct tar_writer *writer, const char *path, mode_t mode, struct error *err) NODISCARD;
/* Then exactly `size` bytes in any pieces. */
bool tar_writer_file(struct tar_writer *writer, const char *path, mode_t mode, uint64_t size,
                     struct error *err) NODISCARD;
bool tar_writer_data(struct tar_writer *writer, const void *bytes, size_t size, struct error *err) NODISCARD;
/* Without it what was written is no archive. */
bool tar_writer_finish(struct tar_writer *writer, struct error *err) NODISCARD;
void tar_writer_free(struct tar_writer *writer);

#endif
