#ifndef PGCOFFER_JOBS_SERVE_RECORD_SEARCH_INTERNAL_H
#define PGCOFFER_JOBS_SERVE_RECORD_SEARCH_INTERNAL_H

#include "jobs/serve/plan_internal.h"
#include "pgcoffer/repo/wal_contents.h"

/*
 * Looks for records in an archive, for the plan of a restore: the notes beside the segments tell where they may be, and
 * those segments are read. A segment without a note is read in any case.
 */
struct record_search {
    const struct wal_archive *archive; /* borrowed */
    struct wal_files files;
    uint64_t read_count; /* segments that were read */
};

bool record_search_begin(struct record_search *search, const struct wal_archive *archive, struct error *err) NODISCARD;
void record_search_done(struct record_search *search);
/* Borrows the search. */
struct plan_lookup record_search_lookup(struct record_search *search);

#endif
