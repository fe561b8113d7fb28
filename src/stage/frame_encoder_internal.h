#ifndef PGCOFFER_STAGE_FRAME_ENCODER_INTERNAL_H
#define PGCOFFER_STAGE_FRAME_ENCODER_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "pgcoffer/base/error.h"
#include "pgcoffer/stage/stages.h"

/* One frame of plain bytes and what becomes of it. The buffers have room for every frame and are used again. */
struct frame_task {
    struct frame_task *next_free;
    uint64_t offset; /* of the plain stream */
    uint32_t length;
    uint8_t *plain;

    uint8_t *stored;
    uint32_t stored_length;
    uint32_t checksum; /* zstd's content checksum */
    char sha256[DIGEST_HEX_SIZE];
};

struct frame_task *frame_task_new(void);
void frame_task_free(struct frame_task *task); /* NULL is fine */

/* Compresses and hashes. One encoder a thread. */
struct frame_encoder;
bool frame_encoder_new(int level, struct frame_encoder **ret_encoder, struct error *err) NODISCARD;
void frame_encoder_free(struct frame_encoder *encoder); /* NULL is fine */
bool frame_encode(struct frame_encoder *encoder, struct frame_task *task, struct error *err) NODISCARD;

#endif
