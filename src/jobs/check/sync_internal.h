#ifndef PGCOFFER_SRC_JOBS_CHECK_SYNC_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_SYNC_INTERNAL_H

#include "jobs/check/judgement_internal.h"

/* Synchronous replication: do the server's settings and ours fit, and what does the server make of the receiver? */
void check_sync_settings(struct check_run *run); /* SHOW: replication.sync_name, replication.synchronous */
/* SQL: replication.sync_state, and replication.synchronous of single roles and databases. */
void check_sync_state(struct check_run *run);

/* ---- pure ---- */
/* Whose settings these are, as ALTER names it; NULL: of every role, of every database. */
#define SYNC_OWNER_SIZE (2 * ROLE_NAME_SIZE + 32)
const char *sync_settings_owner(const char *role, const char *database, char ret_text[SYNC_OWNER_SIZE]);

#endif
