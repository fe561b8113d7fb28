#ifndef PGCOFFER_JOBS_DRILL_H
#define PGCOFFER_JOBS_DRILL_H

#include "pgcoffer/jobs/restore.h"
#include "pgcoffer/repo/backup_notes.h"

/*
 * A drill proves a backup: it is restored into a folder made for that, the matching PostgreSQL is started on the copy,
 * cut off from everything else, replays its WAL, opens, is asked, ends, and all of it is removed. Runs in the CLI, as
 * the caller. doc/decisions/0032 tells how nothing of it stays, however it ends.
 */
struct drill_options {
    /* The request (server, backup, target), jobs, restore_command_prefix and the hooks; the rest is the drill's. */
    struct restore_options restore;
    const char *scratch;         /* absolute; the copy lies in a folder of its own in it */
    const char *bin_dir;         /* pg_bin_dir; "": where packages put PostgreSQL, then PATH */
    const char *role, *database; /* who asks, and where */
    const char *query;           /* NULL: none */
    unsigned query_seconds;      /* it may take */
    bool wants_amcheck;
};

struct drill_result {
    /*
     * NULL until the backup is known, also after a failure. {"server","backup","system_id","timeline","target","stop",
     * "replay_to","why","at","good","error","recovery_seconds","phases":{"restore","start","replay","amcheck","query"},"bytes","files",
     * "reachable","reachable_at","wal_files","replayed_to","last_commit_at","postgresql","binaries","query":{"rows","answer","is_cut"}|null};
     * phases that did not run are null.
     */
    json_t *json;
    struct backup_drill record;
    bool is_proof; /* the record says something about the backup, good or bad: it is to be kept */
};
void drill_result_done(struct drill_result *result);

/*
 * INTEGRITY: the backup or its WAL is damaged, or PostgreSQL could not recover from it, or not as far as it is held.
 * FAILED: the query or pg_amcheck said no, or it was interrupted (ECANCELED). CONFIG: no matching PostgreSQL is there.
 * SERVER: PostgreSQL did not even begin to recover, or the host ended it. STORAGE: no room. *ret_result is filled in
 * either case and is to be released.
 */
bool drill_run(const struct drill_options *options, const struct connector *connector, struct drill_result *ret_result,
               struct error *err) NODISCARD;

#endif
