#include "jobs/verify/wal_walk_internal.h"

#include <string.h>

#include "jobs/verify/wal_pages_internal.h"
#include "pgcoffer/base/crc32c.h"

/* XLogRecord of access/xlogrecord.h. */
enum {
    TOTAL_LENGTH_AT = 0,
    INFO_AT = 16,
    RESOURCE_MANAGER_AT = 17,
    CRC_AT = 20,
    ALIGNMENT = 8,
};
#define SWITCH_INFO      0x40 /* XLOG_SWITCH of resource manager 0 */
#define INFO_MASK        0xF0
#define MOST_RECORD_SIZE (UINT32_C(1020) << 20)

/* One segment on its way through the walk. */
struct step {
    struct wal_walk *walk;
    const uint8_t *bytes;
    uint32_t held;
    struct wal_segment segment;
    struct wal_segment_size size;
    struct error *err;
};

static bool fail(const struct step *step, uint64_t offset, const char *what)
{
    return wal_pages_fail(step->err, step->segment, step->size, offset, what);
}

static uint32_t pad(uint64_t position)
{
    return (uint32_t)(-position & (ALIGNMENT - 1));
}

static bool end_record(const struct step *step, uint32_t at)
{
    struct wal_walk *walk = step->walk;

    if (!walk->is_record_known)
        return true;
    uint32_t crc = crc32c_update(walk->crc, walk->header, CRC_AT);
    if (crc != wal_pages_number32(walk->header + CRC_AT)) {
        char position[WAL_POSITION_TEXT_SIZE];
        char what[96];
        wal_position_format((struct wal_position){walk->record_start}, position);
        snprintf(what, sizeof what, "the record that begins at %s has a wrong checksum", position);
        return fail(step, at, what);
    }
    walk->is_tail_zero = walk->header[RESOURCE_MANAGER_AT] == 0 && (walk->header[INFO_AT] & INFO_MASK) == SWITCH_INFO;
    return true;
}

/* Bytes of the current record: the header is gathered, the rest goes into the checksum. */
static void take_bytes(struct wal_walk *walk, const uint8_t *bytes, uint32_t size)
{
    walk->record_left -= size;
    if (!walk->is_record_known)
        return;
    uint32_t missing = WAL_RECORD_HEADER_SIZE - walk->header_have;
    uint32_t part = size < missing ? size : missing;
    memcpy(walk->header + walk->header_have, bytes, part);
    walk->header_have += part;
    walk->crc = crc32c_update(walk->crc, bytes + part, size - part);
}

static bool begin_record(const struct step *step, uint32_t at, bool *ret_is_end)
{
    struct wal_walk *walk = step->walk;
    uint32_t total = wal_pages_number32(step->bytes + at + TOTAL_LENGTH_AT);

    *ret_is_end = false;
    if (total == 0) {
        /* The end of the WAL, as recovery sees it. */
        *ret_is_end = true;
        return wal_pages_are_zero(step->bytes + at, step->held - at) ||
               fail(step, at, "a record without length is followed by other bytes");
    }
    if (total < WAL_RECORD_HEADER_SIZE || total > MOST_RECORD_SIZE)
        return fail(step, at, "the record has an impossible length");
    walk->record_left = total;
    walk->record_start = wal_segment_start(step->segment, step->size).value + at;
    walk->is_record_known = true;
    walk->crc = 0;
    walk->header_have = 0;
    return true;
}

/* Between two records the alignment is filled with zeros. */
static bool pass_padding(const struct step *step, uint32_t *at, uint32_t end)
{
    uint32_t padding = pad(*at);

    if (padding > end - *at)
        padding = end - *at;
    if (!wal_pages_are_zero(step->bytes + *at, padding))
        return fail(step, *at, "the padding between two records is not zero");
    *at += padding;
    return true;
}

/* From the page's first byte after its header to `end`. *ret_is_end: nothing but zeros follows in the segment. */
static bool walk_page(const struct step *step, uint32_t at, uint32_t end, bool *ret_is_end)
{
    struct wal_walk *walk = step->walk;

    *ret_is_end = false;
    while (at < end) {
        if (walk->record_left == 0) {
            if (end - at < 4) /* what is held ends within the length of a record */
                return true;
            if (!begin_record(step, at, ret_is_end))
                return false;
            if (*ret_is_end)
                return true;
        }
        uint32_t part = walk->record_left < end - at ? (uint32_t)walk->record_left : end - at;
        take_bytes(walk, step->bytes + at, part);
        at += part;
        if (walk->record_left > 0)
            return true;
        if (!end_record(step, at) || !pass_padding(step, &at, end))
            return false;
        if (walk->is_tail_zero) {
            *ret_is_end = true;
            return wal_pages_are_zero(step->bytes + at, step->held - at) ||
                   fail(step, at, "the rest of the segment after its switch record is not zero");
        }
    }
    return true;
}

/* Does the page begin as the record before it wants? */
static bool enter_page(const struct step *step, uint32_t at, bool is_first)
{
    struct wal_walk *walk = step->walk;
    unsigned info = step->bytes[at + WAL_PAGE_INFO_AT];
    uint32_t rest = wal_pages_number32(step->bytes + at + WAL_PAGE_REST_AT);

    if (is_first && !walk->is_in_step) {
        walk->record_left = (info & WAL_PAGE_CONTINUES) != 0 ? rest : 0;
        walk->is_record_known = false;
        return true;
    }
    if ((info & WAL_PAGE_CONTINUES) != 0) {
        if (walk->record_left == 0)
            return fail(step, at, "the page continues a record that had ended");
        return rest == walk->record_left || fail(step, at, "the page continues a record of another length");
    }
    if ((walk->record_left > 0) != ((info & WAL_PAGE_OVERWRITE) != 0))
        return fail(step, at,
                    walk->record_left > 0 ? "the page does not continue the record before it"
                                          : "the page replaces a record that had ended");
    walk->record_left = 0;
    return true;
}

static bool walk_pages(const struct step *step, uint32_t page_size)
{
    bool is_end = false;

    for (uint32_t at = 0; at < step->held && !is_end; at += page_size) {
        uint32_t header = at == 0 ? WAL_PAGE_LONG_HEADER_SIZE : WAL_PAGE_SHORT_HEADER_SIZE;
        uint32_t end = step->held - at < page_size ? step->held : at + page_size;
        if (end - at < header)
            break;
        if (wal_pages_are_zero(step->bytes + at, header))
            break; /* and so is everything behind it: the pages were checked */
        if (!enter_page(step, at, at == 0) || !walk_page(step, at + header, end, &is_end))
            return false;
    }
    return true;
}

bool wal_walk_segment(struct wal_walk *walk, const uint8_t *bytes, uint32_t held, struct wal_segment segment,
                      struct wal_segment_size size, struct error *err)
{
    struct step step = {walk, bytes, held, segment, size, err};
    struct wal_pages_shape shape;

    if (walk->previous.timeline.value != segment.timeline.value || walk->previous.number + 1 != segment.number)
        walk->is_in_step = false;
    if (!walk->is_in_step)
        *walk = (struct wal_walk){0};
    if (!wal_walk_check_pages(bytes, held, segment, size, err) ||
        !wal_pages_shape(bytes, held, segment, size, &shape, err)) {
        walk->is_in_step = false;
        return false;
    }
    /* Records are in the server's byte order; of the other one only the pages are looked at. */
    bool ok = shape.is_big_endian || walk_pages(&step, shape.page_size);
    walk->is_in_step = ok && !shape.is_big_endian && held == size.bytes;
    walk->is_tail_zero = false;
    walk->previous = segment;
    return ok;
}
