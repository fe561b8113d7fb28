#ifndef PGCOFFER_SRC_JOBS_CHECK_STORE_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_STORE_INTERNAL_H

#include "jobs/check/check_internal.h"
#include "pgcoffer/repo/catalogue.h"
#include "pgcoffer/repo/wal_gaps.h"

/* What is stored of the server, as far as it can be told without reading the archives themselves: that is `verify`. */
struct store {
    struct check_run *run;
    const struct repo *repo;
    const char *server;
    struct catalogue catalogue;
    const struct backup_meta *newest; /* complete and of the current system; NULL: none */
};

/* ---- stored_room.c ---- */
void check_stored_room(struct store *store); /* repository.reserve, repository.room, repository.forecast */

/* ---- stored_backups.c ---- */
void check_stored_backups(struct store *store); /* backup.newest, backup.intact */

/* ---- stored_wal.c: the WAL of one system identifier ---- */
struct stored_wal {
    struct system_id system; /* "": not opened yet */
    bool is_open;
    struct error failure; /* why it is not */
    struct wal_archive archive;
    struct wal_ranges ranges; /* without what is recorded as damaged */
    struct wal_gaps gaps;
    bool is_record_broken; /* of the gaps: they are those of the files */
    struct error record_failure;
};
void stored_wal_done(struct stored_wal *wal);
/* Opens the archive of `system` unless it is open already. */
bool stored_wal_open(struct stored_wal *wal, const struct store *store, const struct system_id *system) NODISCARD;
/* Is the WAL there that a recovery of the backup needs to become consistent? `ret_missing` says what is not. */
bool stored_wal_has(const struct stored_wal *wal, const struct backup_meta *meta, char *ret_missing, size_t size);
void check_stored_continuity(struct store *store, struct stored_wal *wal); /* wal.continuity */

#endif
