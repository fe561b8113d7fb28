#ifndef PGCOFFER_JOBS_RESTORE_H
#define PGCOFFER_JOBS_RESTORE_H

#include "pgcoffer/jobs/jobs.h"

/*
 * Restore runs in the CLI, as the caller, and pulls bytes from sessions.
 */
#define RESTORE_MOST_JOBS 16 /* connections: the daemon allows a user 32, and another command may run */

struct tablespace_mapping {
    const char *old_path; /* or the oid in digits */
    const char *new_path;
};

struct restore_options {
    struct request request;       /* server, backup, target options; sent as it is to plan the restore */
    const char *target_directory; /* absolute */
    const struct tablespace_mapping *mappings;
    size_t mapping_count;
    bool use_original_tablespaces;
    unsigned jobs; /* 0: one per core; RESTORE_MOST_JOBS at most */
    bool is_dry_run;
    bool keep_archive_mode;
    bool leaves_lease; /* a daemon is asked to keep the WAL that is going to be replayed (repo/wal_lease.h) */
    /*
     * A copy that is started with a configuration of its own and removed by the caller: tablespaces without a mapping
     * go beside the target directory (<target_directory>.OID), nothing of the old postgresql.auto.conf is kept, and
     * neither advice nor a failure speaks of a folder that stays.
     */
    bool is_scratch;
    /* Called with the plan ({"backup","segment_size","start","reachable",...}) before anything is written; may refuse.
     * May be NULL. */
    bool (*accept)(void *context, const json_t *plan, struct error *err);
    const char *restore_command_prefix; /* "/usr/bin/pgcoffer -c /etc/... --direct": up to, without, "wal-get" */
    /* --standby: the server's settings for primary_conninfo; NULL without a configuration (then it is an error) */
    const struct server_config *server;
    void (*progress)(void *context, const struct progress *progress);
    void (*warn)(void *context, const char *message); /* by any thread, one at a time, beside `progress` */
    /* Asked often; true ends the restore with an error of kind FAILED and errnum ECANCELED. May be NULL. */
    bool (*is_interrupted)(void *context);
    void *context;
};

/*
 * The plan and the outcome, for people and --json; new reference in *ret_result: {"server","backup","system_id",
 * "timeline","target","stop","replay_to","segments_read","directory","tablespaces":[{"oid","original_path","path"}],"dry_run","why","consistent_at",
 * "reachable","reachable_at","bytes","files","seconds","lease_days","warnings":[TEXT...],"start":TEXT}. Everything is refused before
 * the first byte is written; a failure after that leaves a folder with a marker file and without pg_control.
 */
bool restore_run(const struct restore_options *options, const struct connector *connector, json_t **ret_result,
                 struct error *err) NODISCARD;

/* The word as sh(1) reads it back, in single quotes where it needs any; malloc'd. */
char *restore_quote_for_shell(const char *text) NEVER_NULL;

#endif
