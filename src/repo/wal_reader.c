#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/wal_trailer.h"

#include "repo/wal_internal.h"

#define STORED_PIECE 65536

struct wal_reader {
    struct wal_file file;
    struct wal_segment_size segment_size;
    char *path; /* for messages */
    int fd;
    uint64_t plain;  /* bytes given out */
    uint64_t stored; /* bytes read of a compressed one */
    uint64_t body;   /* those before its trailer */
    struct wal_trailer *trailer;
    ZSTD_DCtx *decompressor;
    ZSTD_inBuffer input;
    uint8_t piece[STORED_PIECE];
    bool is_ended;
};

/* RFC 8878, section 3.1.1.1: magic, descriptor, window unless the content fits it, content size in four bytes. */
size_t wal_zst_header(struct wal_segment_size size, uint8_t ret_header[WAL_ZST_HEADER_MOST])
{
    const uint8_t four_byte_size = 2 << 6, single_segment = 1 << 5, checksum = 1 << 2;
    bool is_single = size.bytes <= UINT32_C(1) << WAL_WINDOW_LOG;
    size_t used = 0;

    for (int i = 0; i < 4; i++)
        ret_header[used++] = (uint8_t)(ZSTD_MAGICNUMBER >> (8 * i));
    ret_header[used++] = (uint8_t)(four_byte_size | checksum | (is_single ? single_segment : 0));
    if (!is_single)
        ret_header[used++] = (WAL_WINDOW_LOG - 10) << 3;
    for (int i = 0; i < 4; i++)
        ret_header[used++] = (uint8_t)(size.bytes >> (8 * i));
    return used;
}

static bool fail_damaged(const struct wal_reader *reader, const char *what, struct error *err)
{
    return error_set(err, ERROR_INTEGRITY, "WAL segment \"%s\" is damaged: %s", reader->path, what);
}

static bool check_zst_header(struct wal_reader *reader, struct error *err)
{
    uint8_t expected[WAL_ZST_HEADER_MOST], found[WAL_ZST_HEADER_MOST];
    size_t size = wal_zst_header(reader->segment_size, expected);

    if (reader->file.stored_bytes < size + WAL_TRAILER_SIZE)
        return fail_damaged(reader, "it is too short", err);
    if (!file_read_exactly_at(reader->fd, found, size, 0, reader->path, err))
        return false;
    if (memcmp(found, expected, size) != 0)
        return fail_damaged(reader, "it does not begin as a compressed segment", err);
    reader->body = reader->file.stored_bytes - WAL_TRAILER_SIZE;
    reader->trailer = wal_trailer_new();
    reader->decompressor = ZSTD_createDCtx();
    return reader->decompressor != NULL || error_set(err, ERROR_FAILED, "could not start zstd: no memory");
}

static const char *suffix_of(enum wal_file_state state)
{
    switch (state) {
    case WAL_FILE_PARTIAL:
        return ".partial";
    case WAL_FILE_COMPRESSED:
        return ".zst";
    case WAL_FILE_RAW:
    case WAL_FILE_MISSING:
        break;
    }
    return "";
}

bool wal_reader_open(const struct wal_archive *archive, struct wal_segment segment, struct wal_reader **ret_reader,
                     struct error *err)
{
    struct wal_reader *reader SCOPED(scoped_wal_reader) = memory_new(sizeof *reader);

    reader->fd = -1;
    reader->segment_size = archive->segment_size;
    *ret_reader = NULL;
    if (!wal_archive_open_segment(archive, segment, &reader->fd, &reader->file, err))
        return false;
    if (reader->file.state == WAL_FILE_MISSING)
        return true;
    reader->path = wal_segment_path(archive, segment, suffix_of(reader->file.state));
    if (reader->file.state == WAL_FILE_RAW && reader->file.stored_bytes != archive->segment_size.bytes) {
        char what[64];
        snprintf(what, sizeof what, "it has %" PRIu64 " bytes instead of %" PRIu32, reader->file.stored_bytes,
                 archive->segment_size.bytes);
        return fail_damaged(reader, what, err);
    }
    if (reader->file.state == WAL_FILE_COMPRESSED && !check_zst_header(reader, err))
        return false;
    *ret_reader = TAKE(reader);
    return true;
}

static bool refill(struct wal_reader *reader, struct error *err)
{
    uint64_t left = reader->body - reader->stored;
    size_t size = left < STORED_PIECE ? (size_t)left : STORED_PIECE;

    if (size == 0)
        return fail_damaged(reader, "it ends too early", err);
    if (!file_read_exactly_at(reader->fd, reader->piece, size, reader->stored, reader->path, err))
        return false;
    wal_trailer_feed(reader->trailer, reader->piece, size);
    reader->stored += size;
    reader->input = (ZSTD_inBuffer){reader->piece, size, 0};
    return true;
}

static bool check_end(struct wal_reader *reader, struct error *err)
{
    uint8_t found[WAL_TRAILER_SIZE];
    struct error why;

    reader->is_ended = true;
    if (reader->input.pos < reader->input.size || reader->stored < reader->body)
        return fail_damaged(reader, "other bytes than its trailer follow its end", err);
    if (reader->plain != reader->segment_size.bytes)
        return fail_damaged(reader, "it does not hold a whole segment", err);
    if (!file_read_exactly_at(reader->fd, found, sizeof found, reader->body, reader->path, err))
        return false;
    return wal_trailer_check(reader->trailer, found, &why) || fail_damaged(reader, why.message, err);
}

static bool next_decompressed(struct wal_reader *reader, void *bytes, size_t room, size_t *ret_size, struct error *err)
{
    ZSTD_outBuffer output = {bytes, room, 0};

    while (output.pos == 0 && !reader->is_ended) {
        if (reader->input.pos == reader->input.size && !refill(reader, err))
            return false;
        size_t result = ZSTD_decompressStream(reader->decompressor, &output, &reader->input);
        if (ZSTD_isError(result))
            return fail_damaged(reader, ZSTD_getErrorName(result), err);
        reader->plain += output.pos;
        if (result == 0 && !check_end(reader, err))
            return false;
    }
    *ret_size = output.pos;
    return true;
}

bool wal_reader_next(struct wal_reader *reader, void *bytes, size_t room, size_t *ret_size, struct error *err)
{
    if (reader->file.state == WAL_FILE_COMPRESSED)
        return next_decompressed(reader, bytes, room, ret_size, err);

    uint64_t left = reader->file.held_bytes - reader->plain;
    size_t size = left < room ? (size_t)left : room;
    if (!file_read_exactly_at(reader->fd, bytes, size, reader->plain, reader->path, err))
        return false;
    reader->plain += size;
    *ret_size = size;
    return true;
}

bool wal_reader_skip(struct wal_reader *reader, uint32_t offset, struct error *err)
{
    if (reader->file.state != WAL_FILE_COMPRESSED) {
        reader->plain = offset < reader->file.held_bytes ? offset : reader->file.held_bytes;
        return true;
    }
    uint8_t *discarded SCOPED(scoped_free) = memory_new(STORED_PIECE);
    while (reader->plain < offset) {
        uint64_t left = offset - reader->plain;
        size_t size = 0;
        if (!next_decompressed(reader, discarded, left < STORED_PIECE ? (size_t)left : STORED_PIECE, &size, err))
            return false;
        if (size == 0)
            break;
    }
    return true;
}

const struct wal_file *wal_reader_file(const struct wal_reader *reader)
{
    return &reader->file;
}

void wal_reader_free(struct wal_reader *reader)
{
    if (reader == NULL)
        return;
    scoped_close(&reader->fd);
    wal_trailer_free(reader->trailer);
    ZSTD_freeDCtx(reader->decompressor);
    free(reader->path);
    free(reader);
}
