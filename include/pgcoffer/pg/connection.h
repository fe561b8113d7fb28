#ifndef PGCOFFER_PG_CONNECTION_H
#define PGCOFFER_PG_CONNECTION_H

#include <libpq-fe.h>
#include <stdint.h>

#include "pgcoffer/config/config.h"
#include "pgcoffer/wal/segment.h"

/*
 * A physical replication connection, by our rules (DESIGN 8): every ssl parameter set explicitly, PG* variables and
 * service files shut out, gssencmode=disable, TLS demanded again afterwards. First without a password; if the
 * server asks for one, again with the entry of password_file (else ~/.pgpass, else the systemd credential
 * "pgcoffer-pgpass-SERVER") and channel_binding=require, unless allow_weak_password.
 *
 * All waiting is done with poll(2) on the socket and on `interrupt_fd`: when that becomes readable (or hangs up) the
 * call ends with an error of kind FAILED and errnum ECANCELED.
 */
struct pg_connection;

/* A certificate that was shown in the handshake; all "" when there was none. */
struct pg_certificate {
    char subject[256];
    char not_after[32];   /* RFC 3339 */
    char fingerprint[96]; /* SHA-256, "AB:CD:..." */
};

enum pg_role {
    PG_ROLE_UNKNOWN, /* 13 with one host, of which nobody asks */
    PG_ROLE_PRIMARY,
    PG_ROLE_STANDBY, /* in recovery */
};

/* What the peer is, proved: filled by pg_connect(). */
struct pg_session {
    char host[256]; /* as configured; hostaddr where there is no host */
    long port;
    enum pg_role role;            /* when it was connected */
    int server_version;           /* 150018 */
    char server_version_text[64]; /* "15.18 (Debian 15.18-0+deb12u1)" */
    bool is_encrypted;
    char tls_version[16]; /* "TLSv1.3" */
    char tls_cipher[64];
    struct pg_certificate peer, own; /* what the server showed, and what we had ready for it */
};

/*
 * application_name: "pgcoffer" and what for. interrupt_fd -1: none. Failures: TLS, SERVER, CONFIG, already diagnosed.
 * Of several hosts the primary is found; see pg/hosts.h.
 */
bool pg_connect(const struct server_config *server, const char *application_name, int interrupt_fd,
                struct pg_connection **ret_connection, struct error *err) NODISCARD;
/* Closes the socket at once; the server then ends what it was doing. Never PQcancel(). NULL is fine. */
void pg_disconnect(struct pg_connection *connection);
static inline void scoped_pg_connection(struct pg_connection **connection)
{
    pg_disconnect(*connection);
}
/* The view of the host that is connected; lives as long as the connection. */
const struct server_config *pg_server(const struct pg_connection *connection);
/* From now on an answer is waited for until then (clock_monotonic()) and no longer; 0: as at first, six times
 * connect_timeout from each word to the next, but as long as it takes in a base backup. */
void pg_set_deadline(struct pg_connection *connection, int64_t deadline);
const struct pg_session *pg_session(const struct pg_connection *connection);
int pg_socket(const struct pg_connection *connection);
/* The id of the server's process behind this connection, on the server's machine. */
int pg_server_process(const struct pg_connection *connection);

/* The server's NOTICEs and WARNINGs so far, with severity and SQLSTATE; calls back in order. */
typedef void pg_notice_function(void *context, const char *severity, const char *sqlstate, const char *message);
void pg_set_notice_function(struct pg_connection *connection, pg_notice_function *function, void *context);

/* ---- one-row commands ---- */
struct pg_identity {
    uint64_t system_identifier;
    struct timeline timeline;
    struct wal_position position;
};
bool pg_identify(struct pg_connection *connection, struct pg_identity *ret_identity, struct error *err) NODISCARD;
/* Is it in recovery now? One round trip. Of 13 it is known only where several hosts are configured. */
bool pg_ask_role(struct pg_connection *connection, enum pg_role *ret_role, struct error *err) NODISCARD;
/* True in *ret_is_primary only where that is certain, in every version. */
bool pg_ask_primary(struct pg_connection *connection, bool *ret_is_primary, struct error *err) NODISCARD;
/* SHOW name; `ret_value` gets at most `size` - 1 bytes. */
bool pg_show(struct pg_connection *connection, const char *name, char *ret_value, size_t size,
             struct error *err) NODISCARD;
/* The same of a setting that is a time, as "1min"; in microseconds. */
bool pg_show_duration(struct pg_connection *connection, const char *name, int64_t *ret_microseconds,
                      struct error *err) NODISCARD;
bool pg_segment_size(struct pg_connection *connection, struct wal_segment_size *ret_size, struct error *err) NODISCARD;
/* The text of a history file as it is; malloc'd. Its name was checked. */
bool pg_timeline_history(struct pg_connection *connection, struct timeline timeline, char **ret_text, size_t *ret_size,
                         struct error *err) NODISCARD;

/* ---- slots ---- */
struct pg_slot {
    bool exists;
    bool is_physical;
    bool has_position; /* restart_lsn is set */
    struct wal_position restart_position;
    struct timeline restart_timeline; /* {0} when the server does not say (13, 14) */
    bool is_known; /* false: the server has no way to tell over this connection (13, 14 without a database line) */
};
/* 15+: READ_REPLICATION_SLOT. 13 and 14: SQL over a second connection with replication=database to "postgres" if
 * pg_hba.conf allows it; otherwise is_known = false, which is not an error. */
bool pg_slot_read(struct pg_connection *connection, const char *slot, struct pg_slot *ret_slot,
                  struct error *err) NODISCARD;
/* RESERVE_WAL. *ret_existed instead of an error when it is there already. */
bool pg_slot_create(struct pg_connection *connection, const char *slot, bool *ret_existed, struct error *err) NODISCARD;
/* RESERVE_WAL, and gone with the connection. BUSY when there is one of that name. */
bool pg_slot_create_temporary(struct pg_connection *connection, const char *slot, struct error *err) NODISCARD;
/* BUSY when it is active, naming the pid; SERVER when it does not exist. */
bool pg_slot_drop(struct pg_connection *connection, const char *slot, struct error *err) NODISCARD;

/* For failed results: fills *err from the PGresult (or the connection): message, DETAIL, HINT, SQLSTATE; kind SERVER,
 * or TLS when the connection broke for TLS reasons. Returns false. `what` is "could not identify the system" and the
 * like. */
bool pg_result_error(struct pg_connection *connection, const PGresult *result, const char *what, struct error *err);
/* SQLSTATE of the last pg_result_error() of this connection, "" when there was none. */
const char *pg_last_sqlstate(const struct pg_connection *connection);

#endif
