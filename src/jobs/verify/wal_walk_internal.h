#ifndef PGCOFFER_JOBS_VERIFY_WAL_WALK_INTERNAL_H
#define PGCOFFER_JOBS_VERIFY_WAL_WALK_INTERNAL_H

#include "pgcoffer/wal/segment.h"

/*
 * Pure: is this the WAL it should be? A segment that is not compressed yet has no checksum of its own, so its pages
 * and records are looked at: page headers (xlog_internal.h), and the CRC32C that each record carries (xlogrecord.h).
 *
 * Records run over pages and segments. The walk keeps what it needs from one segment to the next; at its first
 * segment it passes over the rest of a record whose beginning it has not seen. Bytes after the last whole record, at
 * the end of what is held, have no checksum yet.
 */
enum { WAL_RECORD_HEADER_SIZE = 24 };

struct wal_walk {
    bool is_in_step; /* the previous segment was walked to its end */
    struct wal_segment previous;
    uint64_t record_left;  /* bytes of the current record still to come; 0 between records */
    bool is_record_known;  /* its beginning was seen */
    uint64_t record_start; /* for messages */
    uint32_t crc;          /* of the bytes after the header, so far */
    uint8_t header[WAL_RECORD_HEADER_SIZE];
    unsigned header_have;
    bool is_tail_zero; /* a switch record has passed: only zeros up to the segment's end */
};

/* Page headers alone. `held` bytes of the segment are there. INTEGRITY names the position. */
bool wal_walk_check_pages(const uint8_t *bytes, uint32_t held, struct wal_segment segment, struct wal_segment_size size,
                          struct error *err) NODISCARD;
/* Pages and records of the next segment; one that does not follow the previous one begins a new walk. */
bool wal_walk_segment(struct wal_walk *walk, const uint8_t *bytes, uint32_t held, struct wal_segment segment,
                      struct wal_segment_size size, struct error *err) NODISCARD;

#endif
