#ifndef PGCOFFER_STAGE_TAR_COPY_H
#define PGCOFFER_STAGE_TAR_COPY_H

#include <stdint.h>

#include "pgcoffer/stage/checksum.h"
#include "pgcoffer/stage/stages.h"

/*
 * A server's tar in, our tar (GNU format) out, member by member, through libarchive on both sides.
 *
 * A hostile server gets nothing: only files and directories pass; links, devices, absolute names, "..", empty and
 * duplicate names are errors (kind INTEGRITY, naming the member). Modes are masked to the data directory's. A
 * leading "./" and a trailing '/' are dropped. Owners are kept as numbers 0/0 "postgres" so archives compare equal.
 */
struct tar_member {
    const char *path; /* lives for the call */
    bool is_directory;
    uint32_t mode;
    uint64_t size;
    uint64_t data_offset; /* in the plain stream that was written */
    char checksum[CHECKSUM_HEX_SIZE];
};

struct tar_copy_options {
    /* The source: the next piece of the tar, *ret_size 0 at its end; the piece lives until the next call. */
    bool (*read)(void *context, const void **ret_bytes, size_t *ret_size, struct error *err);
    /* After each member has passed whole. */
    bool (*member)(void *context, const struct tar_member *member, struct error *err);
    /*
     * The tap: the content of members whose path stands in `tap_paths` (NULL-ended; both may be NULL) as it passes, in
     * pieces, before `member` is called for them. The callee limits what it keeps.
     */
    bool (*data)(void *context, const char *path, const void *bytes, size_t size, struct error *err);
    const char *const *tap_paths;
    void *context;
    enum checksum_algorithm algorithm;
    uint32_t mode_mask; /* 0700 or 0750: bits outside are dropped (files lose x too) */
};

/* Copies one archive into `frames`, an open stage of stage_frames_new(). *ret_bytes counts the plain stream. */
bool tar_copy(const struct tar_copy_options *options, struct stage *frames, uint64_t *ret_bytes,
              struct error *err) NODISCARD;

/* The rule for names, used again at restore: relative, no "." or ".." or empty component, no trailing '/'. */
bool tar_path_is_safe(const char *path);

#endif
