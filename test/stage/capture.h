#ifndef PGCOFFER_TEST_STAGE_CAPTURE_H
#define PGCOFFER_TEST_STAGE_CAPTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/stage.h"

/* The last stage in every test: keeps the bytes, and fails where it is told to. */
struct capture {
    struct buffer bytes;
    char object_name[64];
    unsigned writes;
    unsigned fail_at_write; /* the n-th write fails; 0: never */
    bool fail_at_open;
    bool fail_at_finish;
    bool is_finished;
};

#define CAPTURE_UNLIMITED ((struct capture){.bytes = BUFFER_WITH_LIMIT((size_t)1 << 31)})

struct capture_stage {
    struct stage stage;
    struct capture *capture; /* borrowed from the test */
};

static inline bool capture_open(struct stage *stage, const char *object_name, struct error *err)
{
    struct capture *capture = ((struct capture_stage *)stage)->capture;

    snprintf(capture->object_name, sizeof capture->object_name, "%s", object_name);
    return !capture->fail_at_open || error_set(err, ERROR_STORAGE, "no place");
}

static inline bool capture_write(struct stage *stage, const void *data, size_t size, struct error *err)
{
    struct capture *capture = ((struct capture_stage *)stage)->capture;

    if (++capture->writes == capture->fail_at_write)
        return error_set(err, ERROR_STORAGE, "no space left");
    return buffer_append(&capture->bytes, data, size, err);
}

static inline bool capture_finish(struct stage *stage, struct error *err)
{
    struct capture *capture = ((struct capture_stage *)stage)->capture;

    capture->is_finished = !capture->fail_at_finish;
    return capture->is_finished || error_set(err, ERROR_STORAGE, "no fsync");
}

static inline void capture_release(struct stage *stage)
{
    free(stage);
}

static const struct stage_ops capture_ops = {"capture", capture_open, capture_write, capture_finish, capture_release};

static inline struct stage *capture_new(struct capture *capture)
{
    struct capture_stage *self = memory_new(sizeof *self);

    *self = (struct capture_stage){{.ops = &capture_ops}, capture};
    return &self->stage;
}

static inline void capture_done(struct capture *capture)
{
    buffer_done(&capture->bytes);
}

/* Bytes in pieces of `piece` bytes, 0 meaning all at once. */
static inline bool write_in_pieces(struct stage *stage, const void *data, size_t size, size_t piece, struct error *err)
{
    if (piece == 0)
        piece = size;
    for (size_t at = 0; at < size; at += piece)
        if (!stage_write(stage, (const char *)data + at, size - at < piece ? size - at : piece, err))
            return false;
    return true;
}

static inline bool send_object(struct stage *stage, const void *data, size_t size, size_t piece, struct error *err)
{
    return stage_open(stage, "base.tar", err) && write_in_pieces(stage, data, size, piece, err) &&
           stage_finish(stage, err);
}

#define ck_assert_works(call)                                                                                          \
    do {                                                                                                               \
        struct error works_error_ = {.message = ""};                                                                   \
        struct error *err = &works_error_;                                                                             \
        ck_assert_msg((call), "%s", works_error_.message);                                                             \
    } while (0)

/* Bytes that compress a little, the same for the same seed. */
static inline uint8_t *make_bytes(size_t size, uint32_t seed)
{
    uint8_t *bytes = malloc(size > 0 ? size : 1);

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)((seed >> 24) & ((i >> 10) % 3 == 0 ? 0x0F : 0xFF));
    }
    return bytes;
}

#endif
