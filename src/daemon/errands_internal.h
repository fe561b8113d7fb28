#ifndef PGCOFFER_SRC_DAEMON_ERRANDS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_ERRANDS_INTERNAL_H

#include "daemon/client_internal.h"

/*
 * Commands a worker does for one client and nobody else (`check`): the supervisor keeps the client and relays what the
 * worker says; when the client goes, the worker is ended. No errand is a job: none can be followed, none is remembered.
 */

/* `check` is one, and what programs say of theirs that has to be written down (`drill-result`). */
bool errands_know(enum command_id command);
/* BUSY when too many run already. */
bool errands_start(struct client *client, const struct request *request, enum right right, struct error *err) NODISCARD;
/* The client is gone, and so nobody waits for the answer. */
void errands_client_gone(struct supervisor *supervisor, const struct client *client);
void errands_free(struct supervisor *supervisor);

#endif
