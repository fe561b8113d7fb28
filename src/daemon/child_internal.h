#ifndef PGCOFFER_SRC_DAEMON_CHILD_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_CHILD_INTERNAL_H

#include <event2/event.h>

#include "pgcoffer/worker/worker.h"

/*
 * A worker as the supervisor holds it: the process, its channel in the event loop, and its end. A child exists from
 * child_start() until its process was waited for and every line it sent was handed over; then `ended` is called, last,
 * and the child is freed.
 */
struct child;

struct child_end {
    bool is_signalled;
    int number;       /* the signal, or the exit status */
    char reason[256]; /* "ended by signal 9 (Killed)" */
};

struct child_handlers {
    void (*line)(void *owner, const json_t *message);
    void (*ended)(void *owner, const struct child_end *end);
    void (*drained)(void *owner); /* all that was sent has been taken; may be NULL */
};

struct children {
    struct event_base *events;
    int log; /* stderr of those that are started; -1: ours */
    struct child *first;
    size_t count;
    unsigned asking_milliseconds;   /* between two questions of child_ask_alive() */
    void (*emptied)(void *context); /* the last one has ended; may be NULL */
    void *context;
};

/* `start` is the first line. `client` -1: none; it stays the caller's to close. */
bool child_start(struct children *children, enum role_id role, int client, const json_t *start,
                 const struct child_handlers *handlers, void *owner, struct child **ret_child,
                 struct error *err) NODISCARD;
pid_t child_pid(const struct child *child);
void child_send(struct child *child, const json_t *message);
bool child_has_unsent(const struct child *child);
/*
 * Asks a worker that lives as long as the daemon for a sign of life, and kills one that has given none since it was
 * asked for `patience_seconds`. Every line is a sign; the answer is {"event":"alive"}, which nobody else sees. What is
 * counted are questions and not the clock, so that a daemon that was stopped itself blames nobody.
 */
void child_ask_alive(struct child *child, unsigned patience_seconds);
/* SIGTERM now, SIGKILL if it has not ended after `seconds`. Asked again, the earlier end counts. */
void child_stop(struct child *child, unsigned seconds);
/* It has said its last word: ends within CHILD_LINGER_SECONDS or is made to. */
#define CHILD_LINGER_SECONDS 10
void child_expect_end(struct child *child);

/* Why a worker of that role is gone: what it reported last in the "error" of `report`, unless a signal ended it. */
void child_end_to_error(const struct child_end *end, const char *role, const json_t *report, struct error *ret_failure);

void children_reap(struct children *children); /* on SIGCHLD */
void children_stop_all(struct children *children);
void children_kill_all(struct children *children);

#endif
