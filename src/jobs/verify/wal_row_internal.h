#ifndef PGCOFFER_JOBS_VERIFY_WAL_ROW_INTERNAL_H
#define PGCOFFER_JOBS_VERIFY_WAL_ROW_INTERNAL_H

#include "jobs/verify/verify_internal.h"
#include "pgcoffer/wal/record.h"

/*
 * Segments in a row, read record by record as a recovery would. Only those that are not compressed need it, because
 * they have no checksum of their own; but a record may begin in the segments before and end in those behind, so these
 * are read as far as such a record goes.
 */
struct wal_row {
    struct checked_wal *wal;
    struct wal_record_reader *reader; /* NULL: the next segment begins a new row */
    struct history history;           /* of the row's timeline; its entries are borrowed */
    struct wal_segment next;
    bool is_unfinished;                  /* a record runs on into `next` ... */
    struct wal_position unfinished_from; /* ... and begins here */
};

void wal_row_done(struct wal_row *row);
/* Must it be read: for its own sake, or for that of the segment before it? */
bool wal_row_wants(const struct wal_row *row, const struct wal_file *file);
/* Its `file->held_bytes` bytes. INTEGRITY names the position. */
bool wal_row_read(struct wal_row *row, const uint8_t *bytes, const struct wal_file *file,
                  struct error *failure) NODISCARD;

#endif
