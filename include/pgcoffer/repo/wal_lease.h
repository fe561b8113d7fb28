#ifndef PGCOFFER_REPO_WAL_LEASE_H
#define PGCOFFER_REPO_WAL_LEASE_H

#include "pgcoffer/repo/retention.h"

/*
 * Whoever is going to need WAL that no backup or setting keeps leaves a lease on it, in BASE/SERVER/SYSTEMID/lease: an
 * empty file whose name says all of it, "00000001-0000000003000028-00000002": from that position of timeline 1 on, on
 * the way to timeline 2. It counts for some days since the file was written; to remove it releases the WAL.
 *
 * A restored server replays for a while after the restore has ended, and perhaps its backup has gone since. A drill,
 * and a backup that is being taken (on a standby it may begin before the newest one that is held), have a name of their
 * own (".drill-" or ".backup-" and eight hex digits) and remove it when they end; what a killed one leaves runs out.
 */
#define WAL_LEASE(X)                                                                                                   \
    X(RESTORE, "restore", 7)                                                                                           \
    X(DRILL, "drill", 1)                                                                                               \
    X(BACKUP, "backup", 7)
enum wal_lease_kind {
#define WAL_LEASE_KIND(id, word, days) WAL_LEASE_##id,
    WAL_LEASE(WAL_LEASE_KIND)
#undef WAL_LEASE_KIND
};
unsigned wal_lease_days(enum wal_lease_kind kind);
bool wal_lease_find_kind(const char *word, enum wal_lease_kind *ret_kind);

#define WAL_LEASE_NAME_SIZE 52
/* That of a restore again for the same WAL begins it anew. Durable. */
bool wal_lease_write(const struct repo *repo, const char *server, const struct system_id *system,
                     enum wal_lease_kind kind, const struct retention_lease *lease, char ret_name[WAL_LEASE_NAME_SIZE],
                     struct error *err) NODISCARD;
/* Before its time; that it has gone already is no error. USAGE: it is no name of this kind. */
bool wal_lease_release(const struct repo *repo, const char *server, const struct system_id *system,
                       enum wal_lease_kind kind, const char *name, struct error *err) NODISCARD;
/* All of a kind, when nobody can have one: what killed ones have left. */
bool wal_leases_release(const struct repo *repo, const char *server, const struct system_id *system,
                        enum wal_lease_kind kind, struct error *err) NODISCARD;
/* Those that count at `now`; malloc'd. One that was written in the future counts. */
bool wal_leases_read(const struct repo *repo, const char *server, const struct system_id *system, struct timestamp now,
                     struct retention_lease **ret_leases, size_t *ret_count, struct error *err) NODISCARD;
/* Removes those that count no longer. */
bool wal_leases_clean(const struct repo *repo, const char *server, const struct system_id *system, struct timestamp now,
                      struct error *err) NODISCARD;
bool wal_lease_parse_name(const char *name, enum wal_lease_kind *ret_kind, struct retention_lease *ret_lease);

#endif
