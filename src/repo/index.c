#include "pgcoffer/repo/index.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "pgcoffer/base/memory.h"

#include "repo/index_internal.h"

#define PLAIN_PIECE 65536
/* 32 TB in frames of 2 MiB, and as many files as a very large cluster has. */
#define MOST_FRAMES  (UINT32_C(1) << 24)
#define MOST_MEMBERS (UINT32_C(1) << 25)

/* Collects into two growing arrays. */
struct collection {
    struct buffer frames;
    struct buffer members;
};

static bool collect_frame(void *context, const struct index_frame *frame, struct error *err)
{
    struct collection *collection = context;

    return buffer_append(&collection->frames, frame, sizeof *frame, err);
}

static bool collect_member(void *context, const struct index_member *member, struct error *err)
{
    struct collection *collection = context;
    struct index_member copy = *member;

    copy.path = memory_copy_text(member->path);
    if (buffer_append(&collection->members, &copy, sizeof copy, err))
        return true;
    free(copy.path);
    return false;
}

static struct index as_index(const struct collection *collection)
{
    return (struct index){
        .frames = (struct index_frame *)(void *)collection->frames.bytes,
        .frame_count = collection->frames.used / sizeof(struct index_frame),
        .members = (struct index_member *)(void *)collection->members.bytes,
        .member_count = collection->members.used / sizeof(struct index_member),
    };
}

static void scoped_collection(struct collection *collection)
{
    struct index index = as_index(collection);

    index_done(&index);
}

static void scoped_reader(struct index_reader **reader)
{
    index_reader_free(*reader);
}

static void scoped_decompressor(ZSTD_DCtx **decompressor)
{
    ZSTD_freeDCtx(*decompressor);
}

static bool feed_decompressed(ZSTD_DCtx *decompressor, const void *stored, size_t size, struct index_reader *reader,
                              struct error *err)
{
    uint8_t *plain SCOPED(scoped_free) = memory_new(PLAIN_PIECE);
    ZSTD_inBuffer input = {stored, size, 0};
    size_t left = 1;

    while (left != 0 || input.pos < input.size) {
        ZSTD_outBuffer output = {plain, PLAIN_PIECE, 0};
        size_t consumed = input.pos;
        left = ZSTD_decompressStream(decompressor, &output, &input);
        if (ZSTD_isError(left))
            return error_set(err, ERROR_INTEGRITY, "could not decompress the index: %s", ZSTD_getErrorName(left));
        if (!index_reader_feed(reader, plain, output.pos, err))
            return false;
        if (left != 0 && output.pos == 0 && input.pos == consumed)
            return error_set(err, ERROR_INTEGRITY, "the compressed index ends too early");
    }
    return index_reader_finish(reader, err);
}

bool index_read_compressed(const void *stored, size_t size, struct index *ret_index, struct error *err)
{
    struct collection collection SCOPED(scoped_collection) = {
        BUFFER_WITH_LIMIT(MOST_FRAMES * sizeof(struct index_frame)),
        BUFFER_WITH_LIMIT(MOST_MEMBERS * sizeof(struct index_member))};
    const struct index_handler handler = {collect_frame, collect_member, &collection};
    struct index_reader *reader SCOPED(scoped_reader) = index_reader_new(&handler);
    ZSTD_DCtx *decompressor SCOPED(scoped_decompressor) = ZSTD_createDCtx();

    if (decompressor == NULL)
        return error_set(err, ERROR_FAILED, "could not start zstd: no memory");
    if (!feed_decompressed(decompressor, stored, size, reader, err))
        return false;
    *ret_index = as_index(&collection);
    collection = (struct collection){{0}, {0}};
    return true;
}

void index_done(struct index *index)
{
    for (size_t i = 0; i < index->member_count; i++)
        free(index->members[i].path);
    free(index->members);
    free(index->frames);
    *index = (struct index){0};
}
