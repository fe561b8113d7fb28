#ifndef PGCOFFER_JOBS_SERVE_REMOTE_LOG_INTERNAL_H
#define PGCOFFER_JOBS_SERVE_REMOTE_LOG_INTERNAL_H

#include "pgcoffer/control/stream.h"

/*
 * One line in the log for each request of a client that came through the gateway: who, from where, what, how many bytes
 * and how it ended. A restore asks for thousands of byte ranges; those of one backup that went well are one line, when
 * something else is asked, one of them fails or the session ends.
 */
struct remote_log {
    const char *caller; /* NULL: a client of this machine, of which nothing is logged */
    char server[64], backup[256];
    uint64_t reads, read_bytes;
};

/* `failure` NULL: it was answered. */
void remote_log_request(struct remote_log *log, const struct request *request, uint64_t bytes,
                        const struct error *failure);
void remote_log_end(struct remote_log *log);

#endif
