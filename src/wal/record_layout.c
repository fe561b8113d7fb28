#include "wal/record_internal.h"

/* Headers of the parts of a record: access/xlogrecord.h. Block references count up from 0; the others follow. */
enum {
    BLOCK_MOST = 32,
    TOP_TRANSACTION = 252,
    ORIGIN = 253,
    MAIN_DATA_LONG = 254,
    MAIN_DATA_SHORT = 255,

    BLOCK_HAS_IMAGE = 0x10,
    BLOCK_HAS_DATA = 0x20,
    BLOCK_SAME_RELATION = 0x80,

    IMAGE_HAS_HOLE = 0x01,
    IMAGE_COMPRESSED_UNTIL_14 = 0x02,
    IMAGE_COMPRESSED_SINCE_15 = 0x1C, /* one bit for each method */
};

#define MAGIC_OF_15 0xD110

/* Reads on while it has bytes: beyond them everything is 0 and is_short is set. */
struct parts {
    const uint8_t *data;
    uint32_t held, at;
    uint64_t told; /* lengths of all parts met */
    bool is_big_endian;
    bool is_short;
    uint16_t page_magic;
};

static const uint8_t *take(struct parts *parts, uint32_t size)
{
    static const uint8_t zeros[WAL_ALIGNMENT];
    const uint8_t *bytes = parts->data + parts->at;

    if (size > parts->held - parts->at) {
        parts->is_short = true;
        parts->at = parts->held;
        return zeros;
    }
    parts->at += size;
    return bytes;
}

static void skip(struct parts *parts, uint32_t size)
{
    if (size > parts->held - parts->at) {
        parts->is_short = true;
        size = parts->held - parts->at;
    }
    parts->at += size;
}

static bool take_block(struct parts *parts)
{
    uint8_t flags = *take(parts, 1);
    uint16_t length = wal_read_16(take(parts, 2), parts->is_big_endian);

    if (!parts->is_short && ((flags & BLOCK_HAS_DATA) != 0) != (length > 0))
        return false;
    parts->told += length;
    if (flags & BLOCK_HAS_IMAGE) {
        uint8_t compressed = parts->page_magic < MAGIC_OF_15 ? IMAGE_COMPRESSED_UNTIL_14 : IMAGE_COMPRESSED_SINCE_15;
        parts->told += wal_read_16(take(parts, 2), parts->is_big_endian);
        skip(parts, 2); /* the hole's offset */
        uint8_t image = *take(parts, 1);
        if ((image & IMAGE_HAS_HOLE) && (image & compressed))
            skip(parts, 2); /* its length */
    }
    skip(parts, flags & BLOCK_SAME_RELATION ? 4 : 16);
    return true;
}

/* *ret_main is the length told of the main data, 0 when it is not told. */
static enum wal_layout walk(struct parts parts, uint32_t size, uint64_t *ret_main)
{
    bool is_last = false;

    *ret_main = 0;

    for (int next_block = 0; !is_last && parts.at + parts.told < size;) {
        uint8_t id = *take(&parts, 1);
        if (parts.is_short)
            return WAL_LAYOUT_UNKNOWN;
        if (id == MAIN_DATA_SHORT || id == MAIN_DATA_LONG) {
            *ret_main = id == MAIN_DATA_SHORT ? *take(&parts, 1) : wal_read_32(take(&parts, 4), parts.is_big_endian);
            parts.told += *ret_main;
            is_last = true;
        } else if (id == ORIGIN || id == TOP_TRANSACTION) {
            skip(&parts, id == ORIGIN ? 2 : 4);
        } else if (id > BLOCK_MOST || id < next_block || !take_block(&parts)) {
            return WAL_LAYOUT_BROKEN;
        } else {
            next_block = id + 1;
        }
        if (parts.at + parts.told > size)
            return WAL_LAYOUT_BROKEN;
        if (parts.is_short)
            return WAL_LAYOUT_UNKNOWN;
    }
    return parts.at + parts.told == size ? WAL_LAYOUT_FITS : WAL_LAYOUT_BROKEN;
}

enum wal_layout wal_record_check_layout(const uint8_t *data, uint32_t held, uint32_t size, uint16_t page_magic,
                                        bool is_big_endian)
{
    const struct parts parts = {.data = data, .held = held, .is_big_endian = is_big_endian, .page_magic = page_magic};
    uint64_t main_size;

    return walk(parts, size, &main_size);
}

bool wal_record_main_data(const struct wal_record *record, struct wal_main_data *ret_data)
{
    const struct parts parts = {.data = record->data,
                                .held = record->data_held,
                                .is_big_endian = record->is_big_endian,
                                .page_magic = record->page_magic};
    uint64_t size;

    if (walk(parts, record->data_size, &size) != WAL_LAYOUT_FITS)
        return false;
    uint32_t offset = record->data_size - (uint32_t)size; /* it is the last part */
    *ret_data = (struct wal_main_data){.size = (uint32_t)size};
    if (offset < record->data_held) {
        ret_data->bytes = record->data + offset;
        ret_data->held = record->data_held - offset;
    }
    return true;
}
