#ifndef PGCOFFER_SRC_JOBS_SYNC_FAULT_INTERNAL_H
#define PGCOFFER_SRC_JOBS_SYNC_FAULT_INTERNAL_H

#include "pgcoffer/config/config.h"
#include "pgcoffer/pg/sync_names.h"

/*
 * Where the server's synchronous replication and our settings do not fit together. Pure: the WAL receiver warns of it,
 * `check` tells it, each in its own words; what to do about it is the same.
 */
enum sync_fault {
    SYNC_FAULT_NONE,
    SYNC_FAULT_UNLISTED, /* synchronous = yes, and the server waits for nobody of our name */
    SYNC_FAULT_BY_NAME,  /* synchronous = no, and our name is listed */
    SYNC_FAULT_BY_STAR,  /* the same, by a "*" */
    SYNC_FAULT_APPLY,    /* commits that wait for us hang */
};

enum sync_fault sync_fault_of_names(const struct settings *settings, const struct sync_match *match);
/* Of synchronous_commit, as SHOW gives it. */
enum sync_fault sync_fault_of_commit(const struct sync_match *match, const char *synchronous_commit);

/* Sentences that say what to type; "" for NONE. */
#define SYNC_FAULT_FIX_SIZE 640
const char *sync_fault_fix(enum sync_fault fault, const struct settings *settings, char ret_text[SYNC_FAULT_FIX_SIZE]);

#endif
