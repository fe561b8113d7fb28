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

enum wal_layout wal_record_check_layout(const uint8_t *data, uint32_t held, uint32_t size, uint16_t page_magic,
                                        bool is_big_endian)
{
    struct parts parts = {.data = data, .held = held, .is_big_endian = is_big_endian, .page_magic = page_magic};
    bool is_last = false;

    for (int next_block = 0; !is_last && parts.at + parts.told < size;) {
        uint8_t id = *take(&parts, 1);
        if (parts.is_short)
            return WAL_LAYOUT_UNKNOWN;
        if (id == MAIN_DATA_SHORT || id == MAIN_DATA_LONG) {
            parts.told += id == MAIN_DATA_SHORT ? *take(&parts, 1) : wal_read_32(take(&parts, 4), is_big_endian);
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
