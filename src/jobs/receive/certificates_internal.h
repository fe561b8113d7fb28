#ifndef PGCOFFER_SRC_JOBS_RECEIVE_CERTIFICATES_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_CERTIFICATES_INTERNAL_H

#include "jobs/file_watch_internal.h"
#include "jobs/receive/aside_internal.h"
#include "jobs/receive/expiry_internal.h"
#include "jobs/receive/report_internal.h"
#include "pgcoffer/repo/served.h"
#include "pgcoffer/stage/pool.h"

/*
 * Certificates over time, beside the stream.
 *
 * Renewed files are tried by a login of their own first. When that succeeds, the stream is ended in order and goes on
 * with the very connection that was proved; otherwise it is warned of them and the stream goes on as it is. What the
 * server serves is looked at now and then, because PostgreSQL takes up a new certificate without ending a connection.
 * What ends soon is told once a day.
 */

struct receive_certificates {
    bool is_on; /* there is TLS to look after */
    const struct server_config *server;
    const struct repo *repo;
    struct receive_report *report;
    int interrupt_fd;

    struct file_watch *watch;
    struct pool *thread; /* one, for the task */
    struct aside_task task;
    bool is_busy;      /* with it */
    bool is_signalled; /* one of the descriptors spoke */

    /* ---- our files ---- */
    bool has_session; /* there was one, so the next two are known */
    struct tls_set in_use;
    struct pg_certificate own;
    struct tls_set connecting; /* as they were before the attempt to connect */
    bool is_try_due;
    int64_t try_at;                   /* again, or INT64_MAX */
    bool is_renewed;                  /* the stream is to end and go on with the new files */
    struct pg_connection *connection; /* proved with them; may be NULL all the same */
    struct tls_set proved;
    bool is_broken;
    struct error broken;
    struct tls_set broken_set;

    /* ---- the server's, and what ends ---- */
    int64_t look_at;
    bool is_look_due; /* once it streams */
    struct served_certificate served;
    bool is_refused;
    struct error refused;
    struct expiry_memory told;
};

/* How often what is served is looked at: a mistake of a renewal is known within the working day, long before the 30
 * days that ACME clients renew ahead, and four handshakes a day are nothing in the server's log. */
#define CERTIFICATES_LOOKED_AT_EVERY INT64_C(21600000000)
/* What somebody serves may be made to end every second. */
#define CERTIFICATES_LOOKS_APART INT64_C(10000000)
/* What was bad may be mended on the server, of which no file here tells. */
#define CERTIFICATES_TRIED_AGAIN_AFTER INT64_C(600000000)
/* The server could not be asked. */
#define CERTIFICATES_ASKED_AGAIN_AFTER INT64_C(30000000)

/* The server's folder in the repository must be there. A thread that cannot be had is logged, and nothing is on. */
void receive_certificates_begin(struct receive_certificates *certificates, const struct server_config *server,
                                const struct repo *repo, struct receive_report *report, int interrupt_fd);
/* Waits for the task at hand. */
void receive_certificates_end(struct receive_certificates *certificates);

/* ---- the loop of the receiver ---- */
/* Costs next to nothing unless it is due, or is_signalled was set after poll(2). */
void receive_certificates_turn(struct receive_certificates *certificates);
int64_t receive_certificates_due(const struct receive_certificates *certificates);
/* For poll(2), each -1 when there is nothing to wait for: the files, and the task at hand. */
int receive_certificates_watch_descriptor(const struct receive_certificates *certificates);
int receive_certificates_task_descriptor(const struct receive_certificates *certificates);
/* An administrator says that something may be new: everything is looked at now. */
void receive_certificates_look_now(struct receive_certificates *certificates);

/* ---- sessions ---- */
/* Before each attempt to connect: the connection that renewed files were proved with, or NULL. */
struct pg_connection *receive_certificates_take_connection(struct receive_certificates *certificates);
void receive_certificates_connected(struct receive_certificates *certificates, const struct pg_session *session);
/* A session ended by a fault: what waited for its end in order is of no use. */
void receive_certificates_give_up(struct receive_certificates *certificates);

#endif
