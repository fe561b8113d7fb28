#ifndef PGCOFFER_PG_CONNECTION_INTERNAL_H
#define PGCOFFER_PG_CONNECTION_INTERNAL_H

#include "pg/conninfo_internal.h"
#include "pgcoffer/pg/connection.h"

/* What START_REPLICATION has under way on this connection; see wal_stream.c. */
struct wal_stream_state {
    char *message;        /* the last CopyData, libpq's memory */
    PGresult *end_result; /* what a timeline without anything left to send answered */
    struct timeline timeline;
    struct wal_position received_end; /* the byte after the last one received */
    bool is_end_of_timeline;
};

struct pg_connection {
    struct server_config server; /* a copy: a reload must not reach into a connection */
    char application_name[64];
    PGconn *handle;
    PostgresPollingStatusType wanted; /* while it is being connected */
    int64_t command_deadline;         /* see pg_set_deadline() */
    int64_t answer_within;            /* microseconds a server may be silent that owes an answer; 0: as it likes */
    int interrupt_fd;
    struct pg_session session;
    pg_notice_function *notice_function;
    void *notice_context;
    char last_sqlstate[6];
    struct wal_stream_state stream;
    size_t portion_left; /* bytes until the socket is said to be empty; see portion.c */
};

/* Keeps libpq's input buffer small, whatever the server sends. */
void pg_limit_portions(struct pg_connection *connection);

/*
 * The way to a connection in steps, so that several can be on it: begin, go_on whenever the socket is ready for
 * `wanted` until that gives true, end. `wish` must last so long; application_name and channel_binding are set here.
 */
struct pg_connection *pg_connection_new(const struct server_config *server, const char *application_name,
                                        int interrupt_fd);
bool pg_begin_connecting(struct pg_connection *connection, struct conninfo_wish *wish, struct error *err) NODISCARD;
bool pg_go_on_connecting(struct pg_connection *connection);
bool pg_end_connecting(struct pg_connection *connection, struct conninfo_wish *wish, struct error *err) NODISCARD;
/* All three, waiting in between. */
bool pg_connect_this(struct pg_connection *connection, struct conninfo_wish *wish, struct error *err) NODISCARD;
/* Instead of the end, for one that took too long. */
bool pg_explain_timeout(struct pg_connection *connection, struct error *err);

/* What pg_connect() does with one host, for any kind of connection; application_name and channel_binding of `wish` are
 * set here. */
bool pg_connect_as(const struct server_config *server, const char *application_name, int interrupt_fd,
                   struct conninfo_wish *wish, struct pg_connection **ret_connection, struct error *err) NODISCARD;

/* A connection that differs from the usual one: see pg_slot_read(). */
bool pg_connect_database(const struct pg_connection *like, const char *database, struct pg_connection **ret_connection,
                         struct error *err) NODISCARD;

/*
 * Waits for `events` on the socket, until `deadline` (clock_monotonic(), 0: for ever). Fails with errnum ECANCELED when
 * interrupt_fd speaks and with ETIMEDOUT at the deadline. `what` is "could not read the base backup" and the like.
 */
bool pg_wait(const struct pg_connection *connection, short events, int64_t deadline, const char *what,
             struct error *err) NODISCARD;

/* ---- command.c: the simple query protocol without blocking ---- */
bool pg_send_command(struct pg_connection *connection, const char *command, const char *what,
                     struct error *err) NODISCARD;
/* Sends what libpq still holds. */
bool pg_flush(struct pg_connection *connection, const char *what, struct error *err) NODISCARD;
/* PQgetResult() that can be interrupted; *ret_result NULL at the end of the command. */
bool pg_next_result(struct pg_connection *connection, const char *what, PGresult **ret_result,
                    struct error *err) NODISCARD;
/* PQgetResult() that demands `status`; anything else becomes an error. */
bool pg_expect_result(struct pg_connection *connection, ExecStatusType status, const char *what, PGresult **ret_result,
                      struct error *err) NODISCARD;
/* Reads results until the command is over and forgets them. */
bool pg_drain(struct pg_connection *connection, const char *what, struct error *err) NODISCARD;
/* The same after a failed command, which leaves the connection usable; a second failure adds nothing. */
void pg_forget_rest(struct pg_connection *connection, const char *what);
/* One command with one result of `status`, then drained. */
bool pg_execute(struct pg_connection *connection, const char *command, ExecStatusType status, const char *what,
                PGresult **ret_result, struct error *err) NODISCARD;
/* A field's text, NULL when it is NULL or is not there. */
const char *pg_field(const PGresult *result, int row, int column);
bool pg_field_timeline(const PGresult *result, int row, int column, const char *what, struct timeline *ret_timeline,
                       struct error *err) NODISCARD;
bool pg_field_position(const PGresult *result, int row, int column, const char *what, struct wal_position *ret_position,
                       struct error *err) NODISCARD;

static inline void scoped_result(PGresult **result)
{
    PQclear(*result);
}

#endif
