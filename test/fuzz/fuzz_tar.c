#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/tar_copy.h"

/* Arbitrary bytes as a server's tar. Whatever passes obeys the rules, and the sink sees as many bytes as are told. */

struct source {
    const uint8_t *bytes;
    size_t left;
    size_t piece;
};

static bool read_piece(void *context, const void **ret_bytes, size_t *ret_size, struct error *err)
{
    struct source *source = context;
    size_t size = source->left < source->piece ? source->left : source->piece;

    (void)err;
    *ret_bytes = source->bytes;
    *ret_size = size;
    source->bytes += size;
    source->left -= size;
    return true;
}

static bool check_member(void *context, const struct tar_member *member, struct error *err)
{
    (void)context, (void)err;
    if (!tar_path_is_safe(member->path) || (member->mode & ~0700u) != 0 || (member->is_directory && member->size > 0))
        abort();
    return true;
}

static bool check_frame(void *context, const struct frame_info *frame, struct error *err)
{
    uint64_t *plain_bytes = context;

    (void)err;
    if (frame->offset != *plain_bytes || frame->length == 0 || frame->length > FRAME_SIZE)
        abort();
    *plain_bytes += frame->length;
    return true;
}

static bool discard_open(struct stage *stage, const char *object_name, struct error *err)
{
    (void)stage, (void)object_name, (void)err;
    return true;
}

static bool discard_write(struct stage *stage, const void *data, size_t size, struct error *err)
{
    (void)stage, (void)data, (void)size, (void)err;
    return true;
}

static bool discard_finish(struct stage *stage, struct error *err)
{
    (void)stage, (void)err;
    return true;
}

static void discard_release(struct stage *stage)
{
    free(stage);
}

static const struct stage_ops discard_ops = {"discard", discard_open, discard_write, discard_finish, discard_release};

/* A changed header nearly always has a wrong checksum and goes no further; so every second input has them put right. */
static void mend_headers(uint8_t *tar, size_t size)
{
    for (; size >= 512; tar += 512, size -= 512) {
        unsigned sum = 0;
        char digits[8];
        if (memcmp(tar + 257, "ustar", 5) != 0)
            continue;
        memset(tar + 148, ' ', 8);
        for (size_t i = 0; i < 512; i++)
            sum += tar[i];
        snprintf(digits, sizeof digits, "%06o", sum & 0777777);
        memcpy(tar + 148, digits, 7);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *tar SCOPED(scoped_free) = memory_new(size);
    memcpy(tar, data + 1, size - 1);
    if (data[0] % 2 == 0)
        mend_headers(tar, size - 1);
    struct source source = {tar, size - 1, (size_t)data[0] * 8 + 1};
    uint64_t plain_bytes = 0, told = 0;
    struct error err;
    struct tar_copy_options options = {
        .read = read_piece,
        .member = check_member,
        .context = &source,
        .algorithm = CHECKSUM_CRC32C,
        .mode_mask = 0700,
    };
    struct frames_options frames_options = {
        .level = 1, .without_threads = true, .on_frame = check_frame, .context = &plain_bytes};
    struct stage *sink = memory_new(sizeof *sink);
    sink->ops = &discard_ops;
    struct stage *frames SCOPED(scoped_stage) = stage_frames_new(sink, &frames_options);

    if (!stage_open(frames, "base.tar", &err))
        abort();
    if (!tar_copy(&options, frames, &told, &err)) {
        if (err.kind == ERROR_NONE || err.message[0] == '\0')
            abort();
        return 0;
    }
    if (!stage_finish(frames, &err) || told != plain_bytes)
        abort();
    return 0;
}
