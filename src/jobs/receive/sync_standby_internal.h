#ifndef PGCOFFER_SRC_JOBS_RECEIVE_SYNC_STANDBY_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_SYNC_STANDBY_INTERNAL_H

#include "jobs/receive/report_internal.h"
#include "pgcoffer/pg/sync_names.h"
#include "pgcoffer/stage/pool.h"

/*
 * Do commits on the server wait for us? Told by synchronous_standby_names and our application_name, asked at the begin
 * of a session on its own connection. The stream itself cannot be asked, and the answer may change with every reload of
 * the server: while WAL flows it is asked again now and then by a short connection of its own, in a thread. Nothing
 * hangs until then: what is drained is made durable soon in any case, see stream.c.
 */
struct sync_answer {
    bool is_known;
    char *names; /* synchronous_standby_names; owned */
    struct sync_match match;
    char commit[32]; /* synchronous_commit, by default of every session */
};

struct sync_task {
    const struct server_config *server; /* borrowed */
    int interrupt_fd;
    struct sync_answer answer;
};

struct receive_sync {
    const struct server_config *server; /* borrowed */
    struct receive_report *report;
    int interrupt_fd;
    struct sync_answer answer;
    struct wal_position asked_at_position; /* received when it was asked; only what came since is a reason to ask */
    int64_t ask_at;                        /* monotonic: not before */
    struct pool *thread;                   /* NULL unless busy: it is needed for a moment every few minutes */
    struct sync_task task;
};

/* Commits that nobody knew of wait for one another meanwhile, but not for this. */
#define SYNC_ASKED_AGAIN_AFTER INT64_C(300000000)

void receive_sync_begin(struct receive_sync *sync, const struct server_config *server, struct receive_report *report,
                        int interrupt_fd);
/* Waits for the thread. */
void receive_sync_end(struct receive_sync *sync);

/* Over the session's connection, before it streams. What the server does not tell is no fault. */
void receive_sync_ask(struct receive_sync *sync, struct pg_connection *connection);
/* Is every batch to be made durable and acknowledged at once? Also when that could not be learned. */
bool receive_sync_is_at_once(const struct receive_sync *sync);

/* ---- the loop of the receiver ---- */
void receive_sync_turn(struct receive_sync *sync);
int64_t receive_sync_due(const struct receive_sync *sync);
/* For poll(2), -1 when nobody is asked. */
int receive_sync_descriptor(const struct receive_sync *sync);
/* An administrator says that something may be new. */
void receive_sync_look_now(struct receive_sync *sync);

/* Pure: what is to be warned of, false when nothing is. *err with a hint. */
bool receive_sync_find_fault(const struct settings *settings, const struct sync_answer *answer, struct error *err);

#endif
