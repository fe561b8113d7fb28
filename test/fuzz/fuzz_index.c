#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "pgcoffer/repo/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct totals {
    uint64_t frames;
    uint64_t members;
};

static bool count_frame(void *context, const struct index_frame *frame, struct error *err)
{
    (void)err;
    if (strlen(frame->sha256) != 64 || frame->length == 0 || frame->archive[0] == '\0')
        abort();
    ((struct totals *)context)->frames++;
    return true;
}

static bool count_member(void *context, const struct index_member *member, struct error *err)
{
    (void)err;
    if (member->path[0] == '\0' || member->path[0] == '/' || strstr(member->path, "/../") != NULL ||
        strncmp(member->path, "../", 3) == 0 || strcmp(member->path, "..") == 0 || member->mode > 07777)
        abort();
    ((struct totals *)context)->members++;
    return true;
}

static bool read_in_pieces(const uint8_t *data, size_t size, size_t piece, struct totals *totals)
{
    const struct index_handler handler = {count_frame, count_member, totals};
    struct index_reader *reader = index_reader_new(&handler);
    struct error err;
    bool read = true;

    for (size_t at = 0; read && at < size; at += piece)
        read = index_reader_feed(reader, data + at, size - at < piece ? size - at : piece, &err);
    read = read && index_reader_finish(reader, &err);
    index_reader_free(reader);
    return read;
}

static bool read_compressed(const uint8_t *data, size_t size, struct totals *totals)
{
    struct index index;
    struct error err;

    if (!index_read_compressed(data, size, &index, &err))
        return false;
    *totals = (struct totals){index.frame_count, index.member_count};
    index_done(&index);
    return true;
}

/* Lines of an index, whole, in small pieces and compressed: all three must come to the same end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct totals whole = {0}, pieces = {0}, stored_totals = {0};
    size_t room = ZSTD_compressBound(size);
    uint8_t *stored = malloc(room);

    if (stored == NULL)
        return 0;
    bool read = read_in_pieces(data, size, size + 1, &whole);
    bool read_pieces = read_in_pieces(data, size, 7, &pieces);
    bool read_stored = read_compressed(stored, ZSTD_compress(stored, room, data, size, 1), &stored_totals);
    if (read != read_pieces || read != read_stored || whole.frames != pieces.frames || whole.members != pieces.members)
        abort();
    if (read && (whole.frames != stored_totals.frames || whole.members != stored_totals.members))
        abort();
    (void)read_compressed(data, size, &stored_totals); /* as the bytes of a zstd stream */
    free(stored);
    return 0;
}
