#include "pgcoffer/wal/record.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "pgcoffer/base/crc32c.h"
#include "pgcoffer/base/memory.h"

#include "wal/record_internal.h"

/* XLogRecord of access/xlogrecord.h. */
enum {
    TOTAL_AT = 0,
    TRANSACTION_AT = 4,
    PREVIOUS_AT = 8,
    INFO_AT = 16,
    RESOURCE_MANAGER_AT = 17,
    CHECKSUM_AT = 20,
};

/* Records of the WAL itself: catalog/pg_control.h. */
enum {
    INFO_KIND_MASK = 0xF0,
    KIND_SWITCH = 0x40,
    KIND_OVERWRITE = 0xD0,
};

#define TOTAL_MOST (UINT32_C(1) << 30) /* what PostgreSQL could put into memory again */

bool wal_record_fail(const char *what, uint64_t position, struct error *err, const char *format, ...)
{
    char text[WAL_POSITION_TEXT_SIZE], why[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    wal_position_format((struct wal_position){position}, text);
    return error_set(err, ERROR_INTEGRITY, "the WAL %s at %s is damaged: %s", what, text, why);
}

struct wal_record_reader *wal_record_reader_new(const struct history *history, struct wal_segment_size segment_size,
                                                uint64_t first_segment_number, uint64_t system_identifier,
                                                wal_record_visit *visit, void *context)
{
    struct wal_record_reader *reader = memory_new(sizeof *reader);

    reader->history = history;
    reader->segment_size = segment_size;
    reader->system_identifier = system_identifier;
    reader->visit = visit;
    reader->context = context;
    reader->start = reader->position = first_segment_number * segment_size.bytes;
    reader->kept = (struct buffer)BUFFER_WITH_LIMIT(WAL_RECORD_KEPT_MOST);
    reader->page_size = WAL_PAGE_SIZE_LEAST; /* until the first page tells it */
    return reader;
}

void wal_record_reader_free(struct wal_record_reader *reader)
{
    if (reader == NULL)
        return;
    buffer_done(&reader->kept);
    free(reader);
}

static uint32_t page_header_size(const struct wal_record_reader *reader, uint64_t address)
{
    return address % reader->segment_size.bytes == 0 ? WAL_LONG_PAGE_HEADER : WAL_SHORT_PAGE_HEADER;
}

/* Zeros are what a file holds where nothing was written, and what a server leaves behind a switch of segments. */
static bool end_page_header(struct wal_record_reader *reader, uint64_t address, struct error *err)
{
    bool is_zero = wal_is_zero(reader->page_header, page_header_size(reader, address));

    if (reader->place == WAL_AFTER_SWITCH && address % reader->segment_size.bytes == 0)
        reader->place = WAL_BETWEEN;
    if (reader->place == WAL_AFTER_SWITCH && is_zero)
        return true;
    if (!is_zero)
        return wal_record_check_page(reader, address, err);
    reader->unwritten_from = reader->place == WAL_RECORD ? reader->record_start : address;
    if (reader->place == WAL_SKIPPED)
        reader->unwritten_from = reader->start;
    reader->place = WAL_UNWRITTEN;
    return true;
}

static bool feed_page_header(struct wal_record_reader *reader, const uint8_t *bytes, size_t size, size_t *ret_used,
                             struct error *err)
{
    uint32_t held = (uint32_t)(reader->position % reader->page_size);
    uint64_t address = reader->position - held;
    uint32_t missing = page_header_size(reader, address) - held;

    *ret_used = size < missing ? size : missing;
    memcpy(reader->page_header + held, bytes, *ret_used);
    return *ret_used < missing || end_page_header(reader, address, err);
}

/* `position` is that of the first of the bytes. */
static bool require_zeros(const struct wal_record_reader *reader, const uint8_t *bytes, size_t size, uint64_t position,
                          struct error *err)
{
    char text[WAL_POSITION_TEXT_SIZE];

    if (wal_is_zero(bytes, size))
        return true;
    while (*bytes++ == 0)
        position++;
    if (reader->place != WAL_UNWRITTEN)
        return wal_record_fail("padding", position, err, "it is not zero");
    wal_position_format((struct wal_position){position}, text);
    return wal_record_fail("record", reader->unwritten_from, err,
                           "zeros stand in its place, and other bytes follow at %s", text);
}

static bool check_total(struct wal_record_reader *reader, struct error *err)
{
    reader->total = wal_read_32(reader->header + TOTAL_AT, reader->is_big_endian);
    if (reader->total == 0) {
        reader->unwritten_from = reader->record_start;
        reader->place = WAL_UNWRITTEN;
        return require_zeros(reader, reader->header, reader->header_held, reader->record_start, err);
    }
    if (reader->total < WAL_RECORD_HEADER || reader->total > TOTAL_MOST)
        return wal_record_fail("record", reader->record_start, err, "its length is %" PRIu32, reader->total);
    return true;
}

static bool is_wal_record(const struct wal_record_reader *reader, uint8_t kind)
{
    return reader->header[RESOURCE_MANAGER_AT] == WAL_MANAGER_OF_WAL &&
           (reader->header[INFO_AT] & INFO_KIND_MASK) == kind;
}

static bool check_record_header(const struct wal_record_reader *reader, struct error *err)
{
    uint64_t previous = wal_read_64(reader->header + PREVIOUS_AT, reader->is_big_endian);

    if (reader->has_previous ? previous != reader->previous_start : previous >= reader->record_start) {
        char text[WAL_POSITION_TEXT_SIZE];
        wal_position_format((struct wal_position){previous}, text);
        return wal_record_fail("record", reader->record_start, err, "it tells %s as the record before", text);
    }
    if (is_wal_record(reader, KIND_SWITCH) && reader->total != WAL_RECORD_HEADER)
        return wal_record_fail("record", reader->record_start, err, "it switches segments and has data");
    if (reader->is_overwriting && !is_wal_record(reader, KIND_OVERWRITE))
        return wal_record_fail("record", reader->record_start, err, "the page says that it replaces an unfinished one");
    return true;
}

static bool visit_record(const struct wal_record_reader *reader, struct error *err)
{
    uint32_t size = reader->total - WAL_RECORD_HEADER;
    struct wal_record record = {
        .position = {reader->record_start},
        .transaction = wal_read_32(reader->header + TRANSACTION_AT, reader->is_big_endian),
        .resource_manager = reader->header[RESOURCE_MANAGER_AT],
        .info = reader->header[INFO_AT],
        .is_big_endian = reader->is_big_endian,
        .page_magic = reader->page_magic,
        .data = reader->data,
        .data_held = size < WAL_RECORD_DATA_MOST ? size : WAL_RECORD_DATA_MOST,
        .data_size = size,
    };

    if (reader->is_kept) {
        record.data = reader->kept.bytes;
        record.data_held = (uint32_t)reader->kept.used;
    }
    return reader->visit == NULL || reader->visit(reader->context, &record, err);
}

/* The checksum covers the data first and then the header up to itself, so no record needs to be held whole. */
static bool end_record(struct wal_record_reader *reader, struct error *err)
{
    uint32_t checksum = crc32c_update(reader->checksum, reader->header, CHECKSUM_AT);

    if (checksum != wal_read_32(reader->header + CHECKSUM_AT, reader->is_big_endian))
        return wal_record_fail("record", reader->record_start, err, "its checksum is wrong");
    /* Main data with its two bytes of header: the position of the unfinished record, and a time. */
    if (reader->is_overwriting && reader->overwritten != 0 &&
        (reader->data_got < 10 || wal_read_64(reader->data + 2, reader->is_big_endian) != reader->overwritten))
        return wal_record_fail("record", reader->record_start, err, "it replaces another unfinished record");
    reader->is_overwriting = false;
    reader->previous_start = reader->record_start;
    reader->has_previous = true;
    reader->record_count++;
    reader->place = is_wal_record(reader, KIND_SWITCH) ? WAL_AFTER_SWITCH : WAL_BETWEEN;
    return visit_record(reader, err);
}

static bool feed_record_header(struct wal_record_reader *reader, const uint8_t *bytes, size_t size, size_t *ret_used,
                               struct error *err)
{
    size_t missing = WAL_RECORD_HEADER - reader->header_held;

    *ret_used = size < missing ? size : missing;
    memcpy(reader->header + reader->header_held, bytes, *ret_used);
    reader->header_held += (uint32_t)*ret_used;
    if (reader->total == 0 && reader->header_held >= sizeof reader->total && !check_total(reader, err))
        return false;
    if (reader->place != WAL_RECORD || reader->header_held < WAL_RECORD_HEADER)
        return true;
    reader->is_kept = reader->header[RESOURCE_MANAGER_AT] == WAL_MANAGER_OF_TRANSACTIONS &&
                      reader->total - WAL_RECORD_HEADER > WAL_RECORD_DATA_MOST;
    reader->kept.used = 0;
    return check_record_header(reader, err) && (reader->total > WAL_RECORD_HEADER || end_record(reader, err));
}

static bool keep(struct wal_record_reader *reader, const uint8_t *bytes, uint32_t size, struct error *err)
{
    size_t room = reader->kept.limit - reader->kept.used;

    return !reader->is_kept || buffer_append(&reader->kept, bytes, size < room ? size : room, err);
}

static bool feed_record_data(struct wal_record_reader *reader, const uint8_t *bytes, size_t size, size_t *ret_used,
                             struct error *err)
{
    uint32_t left = wal_record_left(reader);
    uint32_t used = size < left ? (uint32_t)size : left;

    *ret_used = used;
    reader->checksum = crc32c_update(reader->checksum, bytes, used);
    if (reader->data_got < WAL_RECORD_DATA_MOST) {
        uint32_t room = WAL_RECORD_DATA_MOST - reader->data_got;
        memcpy(reader->data + reader->data_got, bytes, used < room ? used : room);
    }
    if (!keep(reader, bytes, used, err))
        return false;
    reader->data_got += used;
    return used < left || end_record(reader, err);
}

static bool feed_between(struct wal_record_reader *reader, const uint8_t *bytes, size_t size, size_t *ret_used,
                         struct error *err)
{
    size_t padding = -reader->position % WAL_ALIGNMENT;

    if (padding > 0) {
        *ret_used = size < padding ? size : padding;
        return require_zeros(reader, bytes, *ret_used, reader->position, err);
    }
    reader->place = WAL_RECORD;
    reader->record_start = reader->position;
    reader->header_held = reader->total = reader->data_got = reader->checksum = 0;
    if (reader->checked_from == 0)
        reader->checked_from = reader->position;
    return feed_record_header(reader, bytes, size, ret_used, err);
}

/* Bytes of one page, its header excluded. */
static bool feed_place(struct wal_record_reader *reader, const uint8_t *bytes, size_t size, size_t *ret_used,
                       struct error *err)
{
    switch (reader->place) {
    case WAL_BETWEEN:
        return feed_between(reader, bytes, size, ret_used, err);
    case WAL_RECORD:
        if (reader->header_held < WAL_RECORD_HEADER)
            return feed_record_header(reader, bytes, size, ret_used, err);
        return feed_record_data(reader, bytes, size, ret_used, err);
    case WAL_SKIPPED:
        *ret_used = size < reader->skipped_left ? size : (size_t)reader->skipped_left;
        reader->skipped_left -= *ret_used;
        if (reader->skipped_left == 0)
            reader->place = WAL_BETWEEN;
        return true;
    case WAL_AFTER_SWITCH:
    case WAL_UNWRITTEN:
        break;
    }
    *ret_used = size;
    return require_zeros(reader, bytes, size, reader->position, err);
}

bool wal_record_reader_feed(struct wal_record_reader *reader, const void *bytes, size_t size, struct error *err)
{
    const uint8_t *next = bytes;

    for (size_t used = 0; size > 0; next += used, size -= used, reader->position += used) {
        uint64_t offset = reader->position % reader->page_size;
        size_t left = (size_t)(reader->page_size - offset);

        if (reader->place == WAL_UNWRITTEN) {
            used = size;
            if (!require_zeros(reader, next, size, reader->position, err))
                return false;
        } else if (offset < page_header_size(reader, reader->position - offset)) {
            if (!feed_page_header(reader, next, size, &used, err))
                return false;
        } else if (!feed_place(reader, next, size < left ? size : left, &used, err)) {
            return false;
        }
    }
    return true;
}

bool wal_record_reader_end(const struct wal_record_reader *reader, struct wal_record_end *ret_end, struct error *err)
{
    struct wal_record_end end = {
        .checked_from = {reader->checked_from},
        .checked_to = {reader->position},
        .ends_in_zeros = reader->place == WAL_UNWRITTEN,
        .record_count = reader->record_count,
    };

    if (reader->place == WAL_RECORD) {
        uint32_t held = reader->data_got < WAL_RECORD_DATA_MOST ? reader->data_got : WAL_RECORD_DATA_MOST;
        end.checked_to.value = reader->record_start;
        if (reader->header_held == WAL_RECORD_HEADER &&
            wal_record_check_layout(reader->data, held, reader->total - WAL_RECORD_HEADER, reader->page_magic,
                                    reader->is_big_endian) == WAL_LAYOUT_BROKEN)
            return wal_record_fail("record", reader->record_start, err, "its parts do not add up to its length");
    } else if (reader->place == WAL_UNWRITTEN) {
        end.checked_to.value = reader->unwritten_from;
    } else if (reader->place == WAL_SKIPPED) {
        end.checked_to.value = reader->start;
    }
    if (end.checked_from.value == 0)
        end.checked_from = end.checked_to;
    *ret_end = end;
    return true;
}
