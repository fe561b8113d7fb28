#ifndef PGCOFFER_SRC_JOBS_CHECK_CLIENT_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_CLIENT_INTERNAL_H

#include "jobs/check/check_internal.h"

/* The parts of the level CLIENT behind the handshake. */

/* client.c: fails that of our checks which says what one of a connection to PostgreSQL, finding->check, would have. */
void check_client_fail(struct check_run *run, struct finding *finding);
/* client_negative.c: client.anonymous, client.foreign, client.plaintext. */
void check_client_negative(struct check_run *run);
/* client_right.c: client.answer and client.right; *ret_right is what the daemon allows. */
void check_client_right(struct check_run *run, const struct check_client_request *request, enum right *ret_right);

#endif
