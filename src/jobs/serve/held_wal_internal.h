#ifndef PGCOFFER_JOBS_SERVE_HELD_WAL_INTERNAL_H
#define PGCOFFER_JOBS_SERVE_HELD_WAL_INTERNAL_H

#include "jobs/reach_internal.h"
#include "jobs/serve/session_internal.h"
#include "pgcoffer/repo/wal_gaps.h"

/* The WAL of one system as lists tell it: what is held, what is missing, and how far each backup reaches. */
struct held_wal {
    struct system_id system;
    bool is_open; /* false: there is none, or it cannot be told */
    struct wal_archive archive;
    struct wal_ranges ranges; /* without what is recorded as damaged */
    struct wal_gaps gaps;
    bool is_record_broken; /* of the gaps; then they are those of the files */
    struct error record_failure;
    struct wal_histories histories;  /* one that cannot be read is told by verify */
    struct timestamp last_commit_at; /* of the WAL before this end, where most backups reach: */
    struct timeline last_commit_timeline;
    struct wal_position last_commit_end;
};

/* False only when the archive is there and cannot be read. */
bool held_wal_open(struct held_wal *wal, const struct session *session, const char *server,
                   const struct system_id *system, struct error *err) NODISCARD;
void held_wal_done(struct held_wal *wal);
/*
 * {"timeline","lsn","at","from","last_commit_at","gap"}: everything up to there, and every moment from `from` to `at`,
 * can be recovered from the backup along the highest timeline that it lies on the way to; `gap` is what is missing
 * behind, null when nothing is held or known behind. null when no WAL is held. Times are of the server's clock. New
 * reference.
 */
json_t *held_wal_reach(struct held_wal *wal, const struct backup_meta *meta);

/* The latest commit that a recovery so far replays; 0: not found. Only `archive` need be set. */
struct timestamp held_wal_last_commit(struct held_wal *wal, const struct history *history, const struct reach *reach);
/* Every moment up to then can be recovered from the backup; 0: it does not even become consistent, or not known. */
struct timestamp held_wal_until(struct held_wal *wal, const struct history *history, const struct reach *reach,
                                const struct backup_meta *meta);
/* The highest timeline that it lies on the way to; NULL: none is known. */
const struct history *held_wal_way(const struct held_wal *wal, const struct backup_meta *meta);

#endif
