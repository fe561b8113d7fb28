#ifndef PGCOFFER_STAGE_STAGES_H
#define PGCOFFER_STAGE_STAGES_H

#include <stdint.h>
#include <sys/types.h>

#include "pgcoffer/stage/pool.h"
#include "pgcoffer/stage/stage.h"

#define DIGEST_HEX_SIZE 65
/* Most plain bytes in one frame; a large member is cut at multiples of it, counted from its first data byte. */
#define FRAME_SIZE (UINT32_C(2) << 20)
/* A member of at least this size starts its own frame. */
#define FRAME_OWN_MEMBER_SIZE (UINT32_C(1) << 20)

/* Each constructor takes ownership of `next`. The last stage has none. Object names are file names. */

/* One zstd frame over everything, with content checksum. Passes on "NAME.zst" as the name. */
struct stage *stage_compress_new(struct stage *next, int level) NODISCARD;
/* SHA-256 and size of what passes; filled at finish. */
struct digest_result {
    char sha256[DIGEST_HEX_SIZE];
    uint64_t size;
};
struct stage *stage_digest_new(struct stage *next, struct digest_result *ret_result) NODISCARD;
/* The file directory/NAME by atomic_file: durable at finish, absent without one. */
struct stage *stage_store_new(const char *directory, mode_t mode) NODISCARD;

/*
 * The archive: plain bytes in, independent zstd frames out (content size and checksum in each), compressed and
 * hashed in a pool of threads, passed on in order, ended by the seek table of zstd's seekable format.
 * Passes on "NAME.zst" as the name. Frames end at FRAME_SIZE bytes and at stage_frames_cut().
 */
struct frame_info {
    uint64_t offset; /* of the plain stream */
    uint32_t length;
    uint64_t stored_at;
    uint32_t stored_length;
    char sha256[DIGEST_HEX_SIZE]; /* of the plain content */
};
struct frames_options {
    int level;
    unsigned workers;     /* 0: one per core */
    bool without_threads; /* compress in the writing thread: for small objects, which threads would only delay */
    /* Called in order, from the writing thread, as each frame has been passed on. */
    bool (*on_frame)(void *context, const struct frame_info *frame, struct error *err);
    void *context;
};
struct stage *stage_frames_new(struct stage *next, const struct frames_options *options) NODISCARD;
/* The next byte written starts a new frame. `stage` is the one stage_frames_new() made. */
bool stage_frames_cut(struct stage *stage, struct error *err) NODISCARD;

#endif
