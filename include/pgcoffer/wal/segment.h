#ifndef PGCOFFER_WAL_SEGMENT_H
#define PGCOFFER_WAL_SEGMENT_H

#include <stddef.h>

#include "pgcoffer/wal/position.h"

/*
 * A segment is `size` bytes of WAL of one timeline: 1 MB to 1 GB, a power of two,
 * fixed when the cluster was made and never assumed. Source of the naming rules:
 * PostgreSQL's access/xlog_internal.h.
 */
struct wal_segment_size {
    uint32_t bytes;
};

struct wal_segment {
    struct timeline timeline;
    uint64_t number; /* position / size */
};

#define WAL_SEGMENT_NAME_SIZE  25 /* "00000001000000000000002A" and the final NUL */
#define WAL_HISTORY_NAME_SIZE  17 /* "00000002.history" and the final NUL */
#define WAL_SEGMENT_SIZE_LEAST (UINT32_C(1) << 20)
#define WAL_SEGMENT_SIZE_MOST  (UINT32_C(1) << 30)

/* "16MB" (kB, MB, GB) as SHOW wal_segment_size tells it. */
bool wal_segment_size_parse(const char *text, struct wal_segment_size *ret_size, struct error *err) NODISCARD;
bool wal_segment_size_is_valid(uint64_t bytes);

void wal_segment_format(struct wal_segment segment, struct wal_segment_size size, char ret_name[WAL_SEGMENT_NAME_SIZE]);
/* Exactly 24 hex digits (upper case) whose low number fits the size; false for any other text. */
bool wal_segment_parse(const char *name, struct wal_segment_size size, struct wal_segment *ret_segment);
void wal_history_format(struct timeline timeline, char ret_name[WAL_HISTORY_NAME_SIZE]);
bool wal_history_name_parse(const char *name, struct timeline *ret_timeline);

/* The segment that holds the byte at `position`. */
struct wal_segment wal_segment_at(struct timeline timeline, struct wal_position position, struct wal_segment_size size);
/* The segment that holds the last byte before `end`: an end on a boundary belongs to the segment before. */
struct wal_segment wal_segment_before(struct timeline timeline, struct wal_position end, struct wal_segment_size size);
struct wal_position wal_segment_start(struct wal_segment segment, struct wal_segment_size size);
struct wal_position wal_segment_end(struct wal_segment segment, struct wal_segment_size size);

/*
 * Cheap proof that `bytes` (at least 40) begin a segment's first page: long page header of the
 * right address, timeline not above `segment.timeline`, system identifier and segment size.
 * Kind INTEGRITY.
 */
bool wal_segment_check_header(const uint8_t *bytes, size_t size, struct wal_segment segment,
                              struct wal_segment_size segment_size, uint64_t system_identifier,
                              struct error *err) NODISCARD;

#endif
