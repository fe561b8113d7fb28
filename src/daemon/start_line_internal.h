#ifndef PGCOFFER_SRC_DAEMON_START_LINE_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_START_LINE_INTERNAL_H

#include "pgcoffer/config/config.h"
#include "pgcoffer/control/stream.h"

/*
 * The first line a worker reads (worker.h). It holds no more of the configuration than the worker needs: the sections
 * for which `is_wanted` says so, so that a session cannot show what its caller may not see.
 */
struct start_line {
    const struct config *config;
    bool (*is_wanted)(const void *context, const struct server_config *server);
    const void *context;
    const char *server;            /* NULL or "": none */
    const struct request *request; /* NULL: none */
    const char *right;             /* NULL: none */
    const char *right_over_daemon; /* over no server; NULL: none */
    const char *job;               /* NULL: none */
    const char *caller;            /* NULL: none */
    bool is_remote;                /* the caller came through the gateway: its requests are logged */
    bool is_resume;
};

json_t *start_line_to_json(const struct start_line *line);
/* An is_wanted: `context` is the name of the one server. */
bool start_line_wants_one(const void *context, const struct server_config *server);

#endif
