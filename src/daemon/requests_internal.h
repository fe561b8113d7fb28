#ifndef PGCOFFER_SRC_DAEMON_REQUESTS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_REQUESTS_INTERNAL_H

#include "daemon/client_internal.h"

/* Decides whether the caller may, and answers: at once, by a job, or by handing the connection to a session. */
void requests_answer(struct client *client, const struct request *request);

#endif
