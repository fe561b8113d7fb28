#ifndef PGCOFFER_TEST_WAL_WAL_BUILDER_H
#define PGCOFFER_TEST_WAL_WAL_BUILDER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/crc32c.h"
#include "support/suite.h"

/*
 * WAL as a server would write it, in segments of 1 MB: records behind one another, with the headers of pages and
 * segments where they belong. The fields may be set before the first record and, where it makes sense, between two.
 */
#define BUILDER_SEGMENT (1u << 20)
#define BUILDER_MOST    (8u << 20)
#define BUILDER_SYSTEM  UINT64_C(7000000000000000001)

struct wal_builder {
    uint8_t *bytes; /* BUILDER_MOST of them; zeros behind `used` */
    size_t used;
    uint64_t first_segment;
    uint32_t page_size;
    uint32_t timeline;
    uint16_t magic;
    bool is_big_endian;
    uint32_t transaction;    /* of the next record */
    uint64_t previous;       /* xl_prev of the next record */
    uint32_t rest;           /* of the record being written, for page headers */
    uint16_t next_page_info; /* flags for the next page alone */
};

static inline void builder_begin(struct wal_builder *builder)
{
    *builder = (struct wal_builder){.bytes = calloc(1, BUILDER_MOST),
                                    .first_segment = 3,
                                    .page_size = 8192,
                                    .timeline = 1,
                                    .magic = 0xD110,
                                    .transaction = 77,
                                    .previous = 0x2FFF00};
    ck_assert_ptr_nonnull(builder->bytes);
}

static inline void builder_end(struct wal_builder *builder)
{
    free(builder->bytes);
}

static inline uint64_t builder_position(const struct wal_builder *builder)
{
    return builder->first_segment * BUILDER_SEGMENT + builder->used;
}

static inline void builder_number(const struct wal_builder *builder, uint8_t *to, unsigned size, uint64_t number)
{
    for (unsigned i = 0; i < size; i++)
        to[builder->is_big_endian ? size - 1 - i : i] = (uint8_t)(number >> 8 * i);
}

static inline void builder_page_header(struct wal_builder *builder)
{
    bool is_long = builder->used % BUILDER_SEGMENT == 0;
    uint8_t *page = builder->bytes + builder->used;

    ck_assert_uint_lt(builder->used, BUILDER_MOST - BUILDER_SEGMENT);
    builder_number(builder, page, 2, builder->magic);
    builder_number(builder, page + 2, 2, (builder->rest > 0) | (is_long ? 2u : 0) | 4u | builder->next_page_info);
    builder_number(builder, page + 4, 4, builder->timeline);
    builder_number(builder, page + 8, 8, builder_position(builder));
    builder_number(builder, page + 16, 4, builder->rest);
    if (is_long) {
        builder_number(builder, page + 24, 8, BUILDER_SYSTEM);
        builder_number(builder, page + 32, 4, BUILDER_SEGMENT);
        builder_number(builder, page + 36, 4, builder->page_size);
    }
    builder->used += is_long ? 40 : 24;
    builder->next_page_info = 0;
}

/* The first `size` bytes of a record of `builder->rest` bytes. */
static inline void builder_write(struct wal_builder *builder, const uint8_t *bytes, size_t size)
{
    for (size_t piece; size > 0; size -= piece, bytes += piece) {
        if (builder->used % builder->page_size == 0)
            builder_page_header(builder);
        piece = builder->page_size - builder->used % builder->page_size;
        piece = piece < size ? piece : size;
        memcpy(builder->bytes + builder->used, bytes, piece);
        builder->used += piece;
        builder->rest -= (uint32_t)piece;
    }
    builder->used += -builder->used % 8;
}

/* Where the next record will begin: behind the page's header if it begins a page. */
static inline uint64_t builder_next(const struct wal_builder *builder)
{
    uint64_t position = builder_position(builder);

    if (position % BUILDER_SEGMENT == 0)
        return position + 40;
    return position % builder->page_size == 0 ? position + 24 : position;
}

/* Header and data as given, with a right checksum; only the first `written` bytes. Returns its position. */
static inline uint64_t builder_raw_record(struct wal_builder *builder, uint8_t manager, uint8_t info,
                                          const uint8_t *data, uint32_t size, uint32_t written)
{
    uint32_t total = size + 24;
    uint8_t *record = calloc(1, total);
    uint64_t position = builder_next(builder);

    ck_assert_ptr_nonnull(record);
    builder_number(builder, record, 4, total);
    builder_number(builder, record + 4, 4, builder->transaction);
    builder_number(builder, record + 8, 8, builder->previous);
    record[16] = info;
    record[17] = manager;
    if (size > 0)
        memcpy(record + 24, data, size);
    builder_number(builder, record + 20, 4, crc32c_update(crc32c_update(0, data, size), record, 20));
    builder->rest = total;
    if (builder->used % builder->page_size == 0) { /* this page does not continue it */
        builder->rest = 0;
        builder_page_header(builder);
        builder->rest = total;
    }
    builder_write(builder, record, written);
    if (written == total)
        builder->previous = position;
    free(record);
    return position;
}

/* A record whose main data is `size` bytes of noise; returns its position. */
static inline uint64_t builder_record(struct wal_builder *builder, uint32_t size)
{
    uint8_t *data = malloc(size + 5);
    uint32_t header = size < 256 ? 2 : 5, random = size + 1;

    ck_assert_ptr_nonnull(data);
    data[0] = size < 256 ? 255 : 254;
    builder_number(builder, data + 1, header - 1, size);
    for (uint32_t i = 0; i < size; i++)
        data[header + i] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
    uint64_t position = builder_raw_record(builder, 10, 0, data, header + size, header + size + 24);
    free(data);
    return position;
}

static inline void builder_switch(struct wal_builder *builder)
{
    builder_raw_record(builder, 0, 0x40, NULL, 0, 24);
    builder->used += -builder->used % BUILDER_SEGMENT;
}

/* A record that fills the page, or the segment, up to `left` bytes before its end (a multiple of 8, at least 40). */
static inline void builder_fill(struct wal_builder *builder, uint32_t unit, uint32_t left)
{
    uint64_t position = builder_next(builder), end = position - position % unit + unit - left;

    if (end < position + 400)
        end += unit;
    uint32_t pages = (uint32_t)((end - 1) / builder->page_size - position / builder->page_size);

    builder_record(builder, (uint32_t)(end - position) - 24 * pages - 24 - 5);
    ck_assert_uint_eq(builder_position(builder), end);
}

#endif
