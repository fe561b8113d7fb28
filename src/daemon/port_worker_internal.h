#ifndef PGCOFFER_SRC_DAEMON_PORT_WORKER_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_PORT_WORKER_INTERNAL_H

#include "daemon/supervisor_internal.h"

/*
 * A worker that listens at a port when the configuration names one: the gateway and the exporter. That there is one is
 * a wish; one that dies, or does not get its port, is started again, for ever, and the daemon goes on.
 */
struct port_worker_kind {
    const char *name; /* in the log, and the event of its reports: "gateway" */
    enum role_id role;
    const char *number_name;                                                           /* "management" */
    long (*number)(const struct settings *settings);                                   /* 0: none is wished */
    bool (*has_same_files)(const struct settings *left, const struct settings *right); /* that it serves */
    /* The servers whose sections it gets. */
    bool (*is_wanted)(const void *context, const struct server_config *server);
    /* What else stands in a report that is the supervisor's own word; may be NULL. */
    void (*add_to_report)(json_t *report, const struct settings *settings);
    void (*line)(struct supervisor *supervisor, const json_t *message); /* any other event; may be NULL */
    void (*ended)(struct supervisor *supervisor, pid_t pid);            /* a worker; may be NULL */
};

struct port_worker;

/* At the start and after a reload: makes *place when one is wished for the first time; starts, ends, or starts again
 * with other settings. */
void port_worker_follow_configuration(struct port_worker **place, const struct port_worker_kind *kind,
                                      struct supervisor *supervisor);
/* A sign of life is asked of the worker: child_ask_alive(). NULL is fine. */
void port_worker_ask_alive(const struct port_worker *worker, unsigned patience_seconds);
void port_worker_free(struct port_worker *worker); /* NULL is fine */
/* The running one, or NULL; of NULL too. */
struct child *port_worker_child(const struct port_worker *worker);
/* Its last report, or the supervisor's word in its place; null when none is wished. New reference. */
json_t *port_worker_to_json(const struct port_worker *worker);

#endif
