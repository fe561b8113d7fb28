#ifndef PGCOFFER_SRC_DAEMON_SUPERVISOR_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_SUPERVISOR_INTERNAL_H

#include <event2/event.h>

#include "daemon/child_internal.h"
#include "daemon/counts_internal.h"
#include "daemon/job_table_internal.h"
#include "daemon/logbook_internal.h"
#include "daemon/notifier_internal.h"
#include "pgcoffer/base/file_lock.h"
#include "pgcoffer/config/config.h"

/*
 * What the supervisor's modules share. One owner each: listener (connections), receivers, jobs, sessions; they reach
 * each other through this struct and the functions of their headers.
 */
enum supervisor_signal {
    SUPERVISOR_CHILD,
    SUPERVISOR_HANGUP,
    SUPERVISOR_ROTATED,
    SUPERVISOR_TERMINATE,
    SUPERVISOR_INTERRUPT
};
#define SUPERVISOR_SIGNAL_COUNT 5

struct supervisor {
    struct event_base *events;
    struct event *signals[SUPERVISOR_SIGNAL_COUNT];
    struct event *kill_timer; /* while stopping */
    struct event *heartbeat;
    struct config *config;
    uid_t own_uid;
    struct timestamp started_at;
    struct file_lock lock;
    struct notifier notifier;
    struct logbook logbook;
    struct children children;
    struct listener *listener;
    struct receiver *receivers;
    struct session *sessions;
    struct errand *errands;
    struct gateway *gateway;   /* NULL: there was none yet */
    struct exporter *exporter; /* the same */
    struct surveys *surveys;   /* NULL: none was wanted yet */
    struct job_table jobs;
    struct counts counts;
    bool is_stopping;
    bool was_killing; /* SIGKILL was sent to what did not end in time */
};

/* Ends the daemon within 5 s. */
void supervisor_stop(struct supervisor *supervisor, const char *reason);

#endif
