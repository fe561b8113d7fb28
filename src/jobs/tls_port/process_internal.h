#ifndef PGCOFFER_SRC_JOBS_TLS_PORT_PROCESS_INTERNAL_H
#define PGCOFFER_SRC_JOBS_TLS_PORT_PROCESS_INTERNAL_H

#include "jobs/tls_port/port_internal.h"
#include "jobs/tls_port/reader_internal.h"
#include "pgcoffer/jobs/jobs.h"

/*
 * The process of a port, from its start to its end: it binds, starts the reader of its files, gives up everything else,
 * and reports to the supervisor, 200 ms after something changed.
 */
struct port_service {
    const char *event; /* of its reports: "gateway" */
    struct port *port;
    long number;                        /* of the port */
    const struct port_reading *reading; /* NULL: without TLS, and so without files */
    void *owner;
    void (*begin)(void *owner, struct event_base *events); /* port_begin() and what is its own */
    void (*end)(void *owner);                              /* everybody goes, and port_end() */
    void (*end_softly)(void *owner); /* told to end: nobody new; breaks the loop once all has been said */
    json_t *(*report)(const void *owner);
    void (*take)(void *owner, const json_t *message); /* of the supervisor; may be NULL */
};

/* The process's exit status, where it returns at all. */
int port_service_run(const struct port_service *service, struct job *job);

#endif
