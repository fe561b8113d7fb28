#ifndef PGCOFFER_SRC_JOBS_RECEIVE_ASIDE_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_ASIDE_INTERNAL_H

#include "jobs/receive/tls_set_internal.h"
#include "pgcoffer/pg/connection.h"
#include "pgcoffer/tls/inventory.h"

/*
 * Handshakes and logins beside the stream: they wait for the network, so certificates.c has them done in a thread, and
 * neither a commit that waits for us nor a shutdown of the server is held up meanwhile. The task is the thread's only
 * while it runs; nothing here logs.
 */
enum aside_kind {
    ASIDE_LOOK, /* at everything that can end, and at what the server serves */
    ASIDE_TRY,  /* the files as they lie there now: do they make a connection? */
};

enum aside_verdict {
    ASIDE_SAME,      /* good, and their content is that in use */
    ASIDE_PROVED,    /* a login succeeded: `connection`, NULL if only a free WAL sender was missing */
    ASIDE_BROKEN,    /* `failure` */
    ASIDE_UNDECIDED, /* the server could not be asked, or the files were replaced again meanwhile */
};

struct aside_task {
    enum aside_kind kind;
    const struct server_config *server; /* borrowed */
    const char *application_name;
    int interrupt_fd;

    /* ---- LOOK ---- */
    bool is_to_connect;   /* the server can be expected to answer: make a handshake with our certificate too */
    bool is_without_ours; /* that is known to be broken */
    struct inventory inventory;
    bool is_refused;              /* a new connection would fail: `failure` */
    bool is_answered;             /* the server was reached, so is_refused counts */
    struct pg_certificate served; /* of a chain that is good; all "" without one */

    /* ---- TRY ---- */
    struct tls_set in_use;
    struct tls_set found;
    enum aside_verdict verdict;
    struct pg_connection *connection;

    struct error failure;
};

/* In the thread. Bounded by connect_timeout, and for a TRY by interrupt_fd. */
void aside_run(struct aside_task *task);
/* What its results hold. */
void aside_done(struct aside_task *task);

#endif
