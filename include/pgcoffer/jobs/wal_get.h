#ifndef PGCOFFER_JOBS_WAL_GET_H
#define PGCOFFER_JOBS_WAL_GET_H

#include <signal.h>

#include "pgcoffer/jobs/jobs.h"

/*
 * PostgreSQL's restore_command. It is called for one file after the other and waits for each, so a process that is left
 * behind fetches the next segments meanwhile, into a folder in pg_wal (the spool); the next call only renames one.
 * doc/decisions/0020 tells what may be fetched ahead and why a file of the spool is what the archive would have given.
 */
struct wal_get {
    const char *server, *file, *path;
    /* NULL: taken from global/pg_control of the current directory if there is one, else the server's current. */
    const char *system_id;
    bool is_to_target; /* PostgreSQL stops before its target only with an error: it may have what lies before a gap */
    /* Tells the archive the connector reaches from every other one. NULL: nothing is fetched ahead. */
    const char *source;
    volatile sig_atomic_t *is_temporary_ours; /* for a signal's handler: "<path>.tmp" is this call's, not another's */
    const struct connector *connector;        /* not used for a file that was fetched ahead */
};

enum wal_get_outcome { WAL_GET_WRITTEN, WAL_GET_WAS_AHEAD, WAL_GET_NOT_THERE };

/* What a process left behind has to do. */
struct wal_ahead;

/*
 * Writes PATH by a temporary name and rename. NOT_THERE only when the repository was read, the system identifier
 * matches, and the file lies beyond the last byte held of its timeline (or the timeline is unknown), confirmed by a
 * second look. *ret_ahead is NULL unless a process is to be left behind.
 */
bool wal_get_run(const struct wal_get *get, enum wal_get_outcome *ret_outcome, struct wal_ahead **ret_ahead,
                 struct error *err) NODISCARD;

/* In the process left behind, before anything else: nothing of the caller's session and descriptors stays. */
void wal_ahead_detach(const struct wal_ahead *ahead);
/* Returns when nobody takes what was fetched, the recovery is over, or nothing more is held. Nothing remains. */
void wal_ahead_run(struct wal_ahead *ahead, const struct connector *connector);
/* No process could be left behind. */
void wal_ahead_cancel(struct wal_ahead *ahead);
/* In the caller, when another process runs it; NULL is fine. */
void wal_ahead_free(struct wal_ahead *ahead);

#endif
