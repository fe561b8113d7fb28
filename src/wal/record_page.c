#include <inttypes.h>

#include "wal/record_internal.h"

/* XLogPageHeaderData and XLogLongPageHeaderData of access/xlog_internal.h. */
enum {
    MAGIC_AT = 0,
    FLAGS_AT = 2,
    TIMELINE_AT = 4,
    ADDRESS_AT = 8,
    REST_LENGTH_AT = 16,
    PADDING_AT = 20,
    PAGE_SIZE_AT = 36,
};

enum {
    FLAG_CONTINUES = 0x0001, /* the page begins within a record */
    FLAG_LONG_HEADER = 0x0002,
    FLAG_REMOVABLE = 0x0004,
    FLAG_OVERWRITES = 0x0008, /* it should continue a record, whose rest was lost in a crash */
};

#define REST_LENGTH_MOST (UINT32_C(1) << 30)
#define MAGIC_OF_13      0xD106
#define MAGIC_OF_18      0xD118
#define MAGIC_MOST       0xD1FF

struct page {
    uint64_t address;
    uint16_t magic;
    uint16_t flags;
    uint32_t timeline;
    uint32_t rest_length;
};

static bool is_released_magic(uint16_t magic)
{
    static const uint16_t released[] = {MAGIC_OF_13, 0xD10D, 0xD110, 0xD113, 0xD116, MAGIC_OF_18};

    for (size_t i = 0; i < sizeof released / sizeof released[0]; i++)
        if (magic == released[i])
            return true;
    return false;
}

/* One version writes all WAL of a system identifier, so the first page tells the number of all. */
static bool check_magic(struct wal_record_reader *reader, const struct page *page, struct error *err)
{
    bool is_first = page->address == reader->start;

    if (is_first ? !is_released_magic(page->magic) && (page->magic < MAGIC_OF_18 || page->magic > MAGIC_MOST)
                 : page->magic != reader->page_magic)
        return wal_record_fail("page", page->address, err, "its magic number is %04" PRIX16, page->magic);
    reader->page_magic = page->magic;
    return true;
}

static bool check_timeline(struct wal_record_reader *reader, const struct page *page, struct error *err)
{
    const struct history *history = reader->history;
    uint32_t least = reader->page_timeline, most = history->timeline.value;

    if (history->entry_count > 0 || most == 1)
        least = most = history_timeline_at(history, (struct wal_position){page->address}).value;
    if (page->timeline == 0 || page->timeline < least || page->timeline > most)
        return wal_record_fail("page", page->address, err, "it is of timeline %" PRIu32 ", not %" PRIu32,
                               page->timeline, most);
    reader->page_timeline = page->timeline;
    return true;
}

static bool check_long_header(struct wal_record_reader *reader, const struct page *page, struct error *err)
{
    uint32_t page_size = wal_read_32(reader->page_header + PAGE_SIZE_AT, reader->is_big_endian);
    bool is_first = page->address == reader->start;

    if (is_first ? page_size < WAL_PAGE_SIZE_LEAST || page_size > WAL_PAGE_SIZE_MOST || (page_size & (page_size - 1))
                 : page_size != reader->page_size)
        return wal_record_fail("page", page->address, err, "it tells pages of %" PRIu32 " bytes", page_size);
    reader->page_size = page_size;
    return true;
}

static bool check_flags(const struct wal_record_reader *reader, const struct page *page, struct error *err)
{
    uint16_t known = FLAG_CONTINUES | FLAG_LONG_HEADER | FLAG_REMOVABLE | FLAG_OVERWRITES;
    bool is_long = page->address % reader->segment_size.bytes == 0;

    /* A version newer than this program may have more. */
    if (((page->flags & ~known) != 0 && is_released_magic(page->magic)) ||
        ((page->flags & FLAG_LONG_HEADER) != 0) != is_long ||
        ((page->flags & FLAG_CONTINUES) != 0 && (page->flags & FLAG_OVERWRITES) != 0))
        return wal_record_fail("page", page->address, err, "its flags are %04" PRIX16, page->flags);
    if (!wal_is_zero(reader->page_header + PADDING_AT, WAL_SHORT_PAGE_HEADER - PADDING_AT))
        return wal_record_fail("page", page->address, err, "its header is not padded with zeros");
    return true;
}

/* The first page fed may begin within a record, or where one was given up, that nothing is known of. */
static bool begin_within(struct wal_record_reader *reader, const struct page *page, struct error *err)
{
    bool continues = (page->flags & FLAG_CONTINUES) != 0;

    if (continues != (page->rest_length > 0) || page->rest_length > REST_LENGTH_MOST)
        return wal_record_fail("page", page->address, err, "it continues a record by %" PRIu32 " bytes",
                               page->rest_length);
    if (continues)
        reader->place = WAL_SKIPPED;
    reader->skipped_left = page->rest_length;
    reader->is_overwriting = (page->flags & FLAG_OVERWRITES) != 0;
    return true;
}

static bool check_rest(struct wal_record_reader *reader, const struct page *page, struct error *err)
{
    uint64_t left = 0;

    if (page->address == reader->start)
        return begin_within(reader, page, err);
    if (reader->place == WAL_RECORD)
        left = wal_record_left(reader);
    else if (reader->place == WAL_SKIPPED)
        left = reader->skipped_left;

    if ((page->flags & FLAG_OVERWRITES) != 0 && left > 0 && page->rest_length == 0) {
        reader->is_overwriting = true;
        reader->overwritten = reader->place == WAL_RECORD ? reader->record_start : 0;
        reader->place = WAL_BETWEEN;
        return true;
    }
    if (page->rest_length != left || ((page->flags & FLAG_CONTINUES) != 0) != (left > 0) ||
        (page->flags & FLAG_OVERWRITES) != 0)
        return wal_record_fail("page", page->address, err,
                               "it continues a record by %" PRIu32 " bytes instead of %" PRIu64, page->rest_length,
                               left);
    return true;
}

bool wal_record_check_page(struct wal_record_reader *reader, uint64_t address, struct error *err)
{
    const uint8_t *header = reader->page_header;
    struct wal_segment segment = {reader->history->timeline, address / reader->segment_size.bytes};
    bool is_long = address % reader->segment_size.bytes == 0;

    if (is_long && !wal_segment_check_header(header, WAL_LONG_PAGE_HEADER, segment, reader->segment_size,
                                             reader->system_identifier, err))
        return false;
    if (address == reader->start) /* the segment size just found right tells the byte order */
        reader->is_big_endian = wal_read_32(header + PAGE_SIZE_AT - 4, true) == reader->segment_size.bytes;

    bool is_big_endian = reader->is_big_endian;
    struct page page = {
        .address = wal_read_64(header + ADDRESS_AT, is_big_endian),
        .magic = wal_read_16(header + MAGIC_AT, is_big_endian),
        .flags = wal_read_16(header + FLAGS_AT, is_big_endian),
        .timeline = wal_read_32(header + TIMELINE_AT, is_big_endian),
        .rest_length = wal_read_32(header + REST_LENGTH_AT, is_big_endian),
    };
    if (page.address != address) {
        char text[WAL_POSITION_TEXT_SIZE];
        wal_position_format((struct wal_position){page.address}, text);
        return wal_record_fail("page", address, err, "it tells the address %s", text);
    }
    return check_magic(reader, &page, err) && check_timeline(reader, &page, err) &&
           (!is_long || check_long_header(reader, &page, err)) && check_flags(reader, &page, err) &&
           check_rest(reader, &page, err);
}
