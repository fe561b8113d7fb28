#include <inttypes.h>
#include <string.h>

#include "jobs/verify/wal_pages_internal.h"

static uint64_t read_number(const uint8_t *bytes, unsigned size, bool is_big_endian)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < size; i++)
        number = number << 8 | bytes[is_big_endian ? i : size - 1 - i];
    return number;
}

uint32_t wal_pages_number32(const uint8_t *bytes)
{
    return (uint32_t)read_number(bytes, 4, false);
}

bool wal_pages_are_zero(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

bool wal_pages_fail(struct error *err, struct wal_segment segment, struct wal_segment_size size, uint64_t offset,
                    const char *what)
{
    char position[WAL_POSITION_TEXT_SIZE];

    wal_position_format((struct wal_position){wal_segment_start(segment, size).value + offset}, position);
    return error_set(err, ERROR_INTEGRITY, "at %s (byte %" PRIu64 "): %s", position, offset, what);
}

bool wal_pages_shape(const uint8_t *bytes, uint32_t held, struct wal_segment segment, struct wal_segment_size size,
                     struct wal_pages_shape *ret_shape, struct error *err)
{
    if (held < WAL_PAGE_LONG_HEADER_SIZE)
        return wal_pages_fail(err, segment, size, 0, "it is shorter than a page header");
    bool is_big_endian = read_number(bytes + 32, 4, true) == size.bytes;
    uint64_t page_size = read_number(bytes + 36, 4, is_big_endian);
    if (page_size < 1024 || page_size > 65536 || (page_size & (page_size - 1)) != 0)
        return wal_pages_fail(err, segment, size, 36, "the page size is impossible");
    *ret_shape = (struct wal_pages_shape){.is_big_endian = is_big_endian,
                                          .page_size = (uint32_t)page_size,
                                          .magic = (uint16_t)read_number(bytes, 2, is_big_endian)};
    return true;
}

static bool check_page(const uint8_t *bytes, uint32_t at, const struct wal_pages_shape *shape,
                       struct wal_segment segment, struct wal_segment_size size, struct error *err)
{
    uint16_t magic = (uint16_t)read_number(bytes + at, 2, shape->is_big_endian);
    uint64_t info = read_number(bytes + at + 2, 2, shape->is_big_endian);
    uint64_t timeline = read_number(bytes + at + 4, 4, shape->is_big_endian);
    uint64_t address = read_number(bytes + at + 8, 8, shape->is_big_endian);

    if (magic != shape->magic)
        return wal_pages_fail(err, segment, size, at, "the page has another magic number");
    if ((info & ~(uint64_t)WAL_PAGE_ALL_FLAGS) != 0 || ((info & WAL_PAGE_LONG) != 0) != (at == 0))
        return wal_pages_fail(err, segment, size, at, "the page has impossible flags");
    bool continues = (info & WAL_PAGE_CONTINUES) != 0;
    if ((continues && (info & WAL_PAGE_OVERWRITE) != 0) ||
        (!continues && read_number(bytes + at + WAL_PAGE_REST_AT, 4, shape->is_big_endian) != 0) ||
        !wal_pages_are_zero(bytes + at + WAL_PAGE_PADDING_AT, WAL_PAGE_SHORT_HEADER_SIZE - WAL_PAGE_PADDING_AT))
        return wal_pages_fail(err, segment, size, at, "the page's header contradicts itself");
    if (timeline == 0 || timeline > segment.timeline.value)
        return wal_pages_fail(err, segment, size, at, "the page is of a later timeline");
    if (address != wal_segment_start(segment, size).value + at)
        return wal_pages_fail(err, segment, size, at, "the page has another address");
    return true;
}

/* After a switch record the rest of a segment is zeros, page headers included. */
bool wal_walk_check_pages(const uint8_t *bytes, uint32_t held, struct wal_segment segment, struct wal_segment_size size,
                          struct error *err)
{
    struct wal_pages_shape shape;

    if (!wal_pages_shape(bytes, held, segment, size, &shape, err))
        return false;
    for (uint32_t at = 0; at < held && held - at >= WAL_PAGE_SHORT_HEADER_SIZE; at += shape.page_size) {
        if (wal_pages_are_zero(bytes + at, WAL_PAGE_SHORT_HEADER_SIZE)) {
            if (wal_pages_are_zero(bytes + at, held - at))
                return true;
            return wal_pages_fail(err, segment, size, at, "a page without header is followed by other bytes");
        }
        if (!check_page(bytes, at, &shape, segment, size, err))
            return false;
    }
    return true;
}
