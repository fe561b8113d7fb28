#ifndef PGCOFFER_JOBS_SERVE_STOCK_INTERNAL_H
#define PGCOFFER_JOBS_SERVE_STOCK_INTERNAL_H

#include "jobs/serve/plan_internal.h"

/* What is stored of one system of a server, as the plan of a restore wants to know it: what plan_stock points to. */
struct stock {
    struct catalogue catalogue;
    struct wal_archive archive;
    struct wal_ranges ranges; /* without what is recorded as damaged */
    struct wal_gaps gaps;
    struct wal_ranges expired; /* removed by retention */
    struct plan_timeline *timelines;
    size_t timeline_count;
};

/*
 * The WAL of `system`, beside a catalogue that was read before. INTEGRITY when none was ever stored, or when the record
 * of its gaps cannot be read. To be done in any case.
 */
bool stock_read_wal(struct stock *stock, const struct repo *repo, const char *server, const struct system_id *system,
                    struct error *err) NODISCARD;
void stock_done(struct stock *stock);
/* Borrows the stock; without a lookup. */
struct plan_stock stock_for_plan(const struct stock *stock, const char *server);

/* INTEGRITY when no WAL was ever stored of that system; "" is the system of a server of which nothing was. */
bool stock_open_wal(const struct repo *repo, const char *server, const struct system_id *system,
                    struct wal_archive *ret_archive, struct error *err) NODISCARD;

#endif
