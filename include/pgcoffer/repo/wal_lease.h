#ifndef PGCOFFER_REPO_WAL_LEASE_H
#define PGCOFFER_REPO_WAL_LEASE_H

#include "pgcoffer/repo/retention.h"

/*
 * A restored server replays for a while after the restore has ended, and fetches WAL meanwhile that retention would
 * remove: perhaps its backup has gone since. So a restore leaves a lease on it, in BASE/SERVER/SYSTEMID/lease: an
 * empty file whose name says all of it, "00000001-0000000003000028-00000002": from that position of timeline 1 on, on
 * the way to timeline 2. It counts for WAL_LEASE_DAYS since the file was written; to remove it releases the WAL.
 */
#define WAL_LEASE_DAYS 7

/* Again for the same WAL begins it anew. Durable. */
bool wal_lease_write(const struct repo *repo, const char *server, const struct system_id *system,
                     const struct retention_lease *lease, struct error *err) NODISCARD;
/* Those that count at `now`; malloc'd. One that was written in the future counts. */
bool wal_leases_read(const struct repo *repo, const char *server, const struct system_id *system, struct timestamp now,
                     struct retention_lease **ret_leases, size_t *ret_count, struct error *err) NODISCARD;
/* Removes those that count no longer. */
bool wal_leases_clean(const struct repo *repo, const char *server, const struct system_id *system, struct timestamp now,
                      struct error *err) NODISCARD;
bool wal_lease_parse_name(const char *name, struct retention_lease *ret_lease);

#endif
