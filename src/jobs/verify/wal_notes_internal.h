#ifndef PGCOFFER_JOBS_VERIFY_WAL_NOTES_INTERNAL_H
#define PGCOFFER_JOBS_VERIFY_WAL_NOTES_INTERNAL_H

#include "jobs/verify/verify_internal.h"
#include "pgcoffer/repo/wal_contents.h"

/* Compares what is noted of segments with what they hold. To be called in the order of the segments. */
struct wal_notes {
    struct checked_wal *wal;
    struct wal_walk *walk;
    struct wal_contents *found;
};

void wal_notes_begin(struct wal_notes *notes, struct checked_wal *wal);
void wal_notes_done(struct wal_notes *notes);
/* The plain bytes of a sound segment. A wrong note becomes a problem. */
bool wal_notes_check(struct wal_notes *notes, const uint8_t *bytes, const struct wal_file *file,
                     struct error *err) NODISCARD;

#endif
