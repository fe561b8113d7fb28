#include <inttypes.h>
#include <stdio.h>

#include "pgcoffer/wal/segment.h"

/*
 * XLogLongPageHeaderData of access/xlog_internal.h. It is written in the byte order of the server, which need not be
 * ours; the segment size tells it, because no two valid sizes are mirror images.
 */
enum {
    MAGIC_AT = 0,
    INFO_AT = 2,
    TIMELINE_AT = 4,
    ADDRESS_AT = 8,
    SYSTEM_AT = 24,
    SEGMENT_SIZE_AT = 32,
    LONG_HEADER_SIZE = 40,
};

#define PAGE_HAS_LONG_HEADER 0x0002
#define MAGIC_HIGH_BYTE      0xD1 /* 0xD106 in version 13 to 0xD118 in 18 */

static uint64_t read_number(const uint8_t *bytes, unsigned size, bool is_big_endian)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < size; i++)
        number = number << 8 | bytes[is_big_endian ? i : size - 1 - i];
    return number;
}

static bool refuse(struct error *err, struct wal_segment segment, struct wal_segment_size size, const char *what)
{
    char name[WAL_SEGMENT_NAME_SIZE];

    wal_segment_format(segment, size, name);
    return error_set(err, ERROR_INTEGRITY, "WAL segment %s does not begin as it should: %s", name, what);
}

bool wal_segment_check_header(const uint8_t *bytes, size_t size, struct wal_segment segment,
                              struct wal_segment_size segment_size, uint64_t system_identifier, struct error *err)
{
    char what[128];

    if (size < LONG_HEADER_SIZE)
        return refuse(err, segment, segment_size, "it is shorter than a page header");
    bool is_big_endian = read_number(bytes + SEGMENT_SIZE_AT, 4, true) == segment_size.bytes;
    if (read_number(bytes + MAGIC_AT, 2, is_big_endian) >> 8 != MAGIC_HIGH_BYTE ||
        (read_number(bytes + INFO_AT, 2, is_big_endian) & PAGE_HAS_LONG_HEADER) == 0)
        return refuse(err, segment, segment_size, "there is no long page header");

    uint64_t found = read_number(bytes + SEGMENT_SIZE_AT, 4, is_big_endian);
    if (found != segment_size.bytes) {
        snprintf(what, sizeof what, "its segment size is %" PRIu64 ", not %" PRIu32, found, segment_size.bytes);
        return refuse(err, segment, segment_size, what);
    }
    found = read_number(bytes + SYSTEM_AT, 8, is_big_endian);
    if (found != system_identifier) {
        snprintf(what, sizeof what, "its system identifier is %" PRIu64 ", not %" PRIu64, found, system_identifier);
        return refuse(err, segment, segment_size, what);
    }
    struct wal_position address = {read_number(bytes + ADDRESS_AT, 8, is_big_endian)};
    if (address.value != wal_segment_start(segment, segment_size).value) {
        char text[WAL_POSITION_TEXT_SIZE];
        wal_position_format(address, text);
        snprintf(what, sizeof what, "its page address is %s", text);
        return refuse(err, segment, segment_size, what);
    }
    /* Pages before a fork were copied from an ancestor and keep its number. */
    found = read_number(bytes + TIMELINE_AT, 4, is_big_endian);
    if (found == 0 || found > segment.timeline.value) {
        snprintf(what, sizeof what, "its page is of timeline %" PRIu64, found);
        return refuse(err, segment, segment_size, what);
    }
    return true;
}
