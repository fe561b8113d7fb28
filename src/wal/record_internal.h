#ifndef PGCOFFER_SRC_WAL_RECORD_INTERNAL_H
#define PGCOFFER_SRC_WAL_RECORD_INTERNAL_H

#include <endian.h>
#include <string.h>

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/wal/record.h"

/* What the reader of records, its check of page headers and its check of a record's parts share. */

enum {
    WAL_SHORT_PAGE_HEADER = 24,
    WAL_LONG_PAGE_HEADER = 40, /* of a segment's first page */
    WAL_RECORD_HEADER = 24,
    WAL_ALIGNMENT = 8,
    WAL_PAGE_SIZE_LEAST = 1024,
    WAL_PAGE_SIZE_MOST = 65536,
};

/* What the next byte that is not of a page header belongs to. */
enum wal_place {
    WAL_BETWEEN,      /* padding, or a record's first byte */
    WAL_RECORD,       /* the record in progress */
    WAL_SKIPPED,      /* the rest of a record that began before the first segment */
    WAL_AFTER_SWITCH, /* zeros up to the segment's end */
    WAL_UNWRITTEN,    /* zeros up to the end of all */
};

struct wal_record_reader {
    const struct history *history;
    struct wal_segment_size segment_size;
    uint64_t system_identifier;
    wal_record_visit *visit;
    void *context;

    uint64_t start;    /* position of the first byte fed */
    uint64_t position; /* of the next byte */
    enum wal_place place;

    /* pages */
    uint32_t page_size;
    uint16_t page_magic;
    uint32_t page_timeline;
    bool is_big_endian;
    uint8_t page_header[WAL_LONG_PAGE_HEADER];
    uint64_t skipped_left; /* WAL_SKIPPED: bytes still to come */

    /* the record in progress, or the last one */
    uint64_t record_start;
    uint8_t header[WAL_RECORD_HEADER];
    uint32_t header_held;
    uint32_t total;    /* xl_tot_len, 0 until it is known */
    uint32_t data_got; /* of total - WAL_RECORD_HEADER */
    uint32_t checksum; /* of those */
    uint8_t data[WAL_RECORD_DATA_MOST];
    bool is_kept;       /* all of the data goes into `kept`, too */
    struct buffer kept; /* keeps its memory from one record to the next */

    uint64_t previous_start; /* of the last whole record */
    bool has_previous;
    bool is_overwriting;     /* the next record must say that it replaces the rest of an unfinished one ... */
    uint64_t overwritten;    /* ... which began here; 0: before the first segment */
    uint64_t unwritten_from; /* WAL_UNWRITTEN: where the checked bytes end */
    uint64_t checked_from;   /* 0: no record has begun yet */
    uint64_t record_count;
};

static inline uint16_t wal_read_16(const uint8_t *bytes, bool is_big_endian)
{
    uint16_t number;

    memcpy(&number, bytes, sizeof number);
    return is_big_endian ? be16toh(number) : le16toh(number);
}

static inline uint32_t wal_read_32(const uint8_t *bytes, bool is_big_endian)
{
    uint32_t number;

    memcpy(&number, bytes, sizeof number);
    return is_big_endian ? be32toh(number) : le32toh(number);
}

static inline uint64_t wal_read_64(const uint8_t *bytes, bool is_big_endian)
{
    uint64_t number;

    memcpy(&number, bytes, sizeof number);
    return is_big_endian ? be64toh(number) : le64toh(number);
}

static inline bool wal_is_zero(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Bytes of the record in progress that are still to come. */
static inline uint32_t wal_record_left(const struct wal_record_reader *reader)
{
    return reader->total - reader->header_held - reader->data_got;
}

/* "the WAL record at 0/3000028 is damaged: ..." INTEGRITY. */
bool wal_record_fail(const char *what, uint64_t position, struct error *err, const char *format, ...) PRINTF_LIKE(4, 5);

/* The page header in reader->page_header begins at `address`; moves reader->place as it says. */
bool wal_record_check_page(struct wal_record_reader *reader, uint64_t address, struct error *err) NODISCARD;

/* Do the lengths told in a record's data, of which `held` bytes of `size` are there, add up to `size`? */
enum wal_layout { WAL_LAYOUT_FITS, WAL_LAYOUT_UNKNOWN, WAL_LAYOUT_BROKEN };
enum wal_layout wal_record_check_layout(const uint8_t *data, uint32_t held, uint32_t size, uint16_t page_magic,
                                        bool is_big_endian);

#endif
