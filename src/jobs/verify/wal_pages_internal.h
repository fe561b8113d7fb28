#ifndef PGCOFFER_JOBS_VERIFY_WAL_PAGES_INTERNAL_H
#define PGCOFFER_JOBS_VERIFY_WAL_PAGES_INTERNAL_H

#include "jobs/verify/wal_walk_internal.h"

/* Pages of WAL: XLogPageHeaderData and XLogLongPageHeaderData of access/xlog_internal.h. */
enum {
    WAL_PAGE_SHORT_HEADER_SIZE = 24,
    WAL_PAGE_LONG_HEADER_SIZE = 40,
    WAL_PAGE_INFO_AT = 2,
    WAL_PAGE_REST_AT = 16, /* xlp_rem_len */
    WAL_PAGE_PADDING_AT = 20,
};
#define WAL_PAGE_CONTINUES 0x0001 /* begins within a record */
#define WAL_PAGE_LONG      0x0002
#define WAL_PAGE_OVERWRITE 0x0008 /* the record before it was never completed: the server had crashed */
#define WAL_PAGE_ALL_FLAGS 0x000F

struct wal_pages_shape {
    bool is_big_endian;
    uint32_t page_size;
    uint16_t magic;
};

/* From the segment's first page. */
bool wal_pages_shape(const uint8_t *bytes, uint32_t held, struct wal_segment segment, struct wal_segment_size size,
                     struct wal_pages_shape *ret_shape, struct error *err) NODISCARD;
bool wal_pages_fail(struct error *err, struct wal_segment segment, struct wal_segment_size size, uint64_t offset,
                    const char *what);
uint32_t wal_pages_number32(const uint8_t *bytes); /* little-endian */
bool wal_pages_are_zero(const uint8_t *bytes, size_t size);

#endif
