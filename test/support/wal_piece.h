#ifndef PGCOFFER_TEST_SUPPORT_WAL_PIECE_H
#define PGCOFFER_TEST_SUPPORT_WAL_PIECE_H

#include <endian.h>
#include <string.h>

#include "pgcoffer/wal/record.h"

/* The beginning of a segment of whichever cluster: its first page tells what a reader must know. */
struct wal_piece {
    const uint8_t *bytes;
    size_t size;
    struct history history;
    struct wal_segment_size segment_size;
    uint64_t number;
    uint64_t system_identifier;
};

static inline uint64_t wal_piece_number(const uint8_t *bytes, size_t size)
{
    uint64_t number = 0;

    memcpy(&number, bytes, size);
    return le64toh(number);
}

static inline struct wal_piece wal_piece_of(const uint8_t *bytes, size_t size)
{
    struct wal_piece piece = {
        .bytes = bytes, .size = size, .history = {.timeline = {1}}, .segment_size = {WAL_SEGMENT_SIZE_LEAST}};

    if (size < 40)
        return piece;
    piece.history.timeline.value = (uint32_t)wal_piece_number(bytes + 4, 4);
    piece.system_identifier = wal_piece_number(bytes + 24, 8);
    if (wal_segment_size_is_valid(wal_piece_number(bytes + 32, 4)))
        piece.segment_size.bytes = (uint32_t)wal_piece_number(bytes + 32, 4);
    piece.number = wal_piece_number(bytes + 8, 8) / piece.segment_size.bytes;
    return piece;
}

/* In portions of `portion` bytes. */
static inline bool wal_piece_read(const struct wal_piece *piece, size_t portion, wal_record_visit *visit, void *context,
                                  struct wal_record_end *ret_end, struct error *err)
{
    struct wal_record_reader *reader = wal_record_reader_new(&piece->history, piece->segment_size, piece->number,
                                                             piece->system_identifier, visit, context);
    bool is_right = true;

    for (size_t at = 0; at < piece->size && is_right; at += portion)
        is_right = wal_record_reader_feed(reader, piece->bytes + at,
                                          piece->size - at < portion ? piece->size - at : portion, err);
    is_right = is_right && wal_record_reader_end(reader, ret_end, err);
    wal_record_reader_free(reader);
    return is_right;
}

#endif
