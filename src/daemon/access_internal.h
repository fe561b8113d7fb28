#ifndef PGCOFFER_SRC_DAEMON_ACCESS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_ACCESS_INTERNAL_H

#include "daemon/caller_internal.h"
#include "pgcoffer/control/stream.h"

/*
 * One line in the log for each request that came through the gateway: who, from where, what, how many bytes the answer
 * had and how it ended. Requests of this machine's users are not logged. What a session answers is logged by the
 * session.
 */
struct access {
    bool is_open;
    char what[320]; /* `status of "primary"` */
    uint64_t bytes;
};

void access_begin(struct access *access, const struct caller *caller, const struct request *request);
/* An event is on its way to the client: its last one ends the request. */
void access_sent(struct access *access, const struct caller *caller, const json_t *message, size_t size);
/* The connection ended; a request without an answer is logged as such. */
void access_broken(struct access *access, const struct caller *caller);

#endif
