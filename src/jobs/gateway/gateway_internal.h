#ifndef PGCOFFER_SRC_JOBS_GATEWAY_GATEWAY_INTERNAL_H
#define PGCOFFER_SRC_JOBS_GATEWAY_GATEWAY_INTERNAL_H

#include "jobs/gateway/identity_internal.h"
#include "jobs/tls_port/port_internal.h"

/*
 * The gateway: one process, one event loop, TLS on one side and the daemon's own socket on the other. It knows nothing
 * of the protocol that passes through it. No byte of it is read before the client's certificate was verified; what
 * the supervisor gets first is who that was.
 */

/* What strangers and friends can take of it. */
struct gateway_limits {
    size_t handshakes;            /* unfinished; one more displaces the oldest of who has the most */
    size_t handshakes_of_address; /* one more displaces the oldest of the same */
    size_t connections;           /* verified */
    size_t connections_of_address;
    size_t connections_of_identity;
    int handshake_seconds;
    int idle_seconds;    /* nothing moves */
    int stall_seconds;   /* something waits for the client, which takes nothing */
    int parting_seconds; /* nothing moves, and the client has closed its end */
};
extern const struct gateway_limits gateway_usual_limits;

/* One client each; gateway.c has the list, connection.c the life. */
struct connection;

struct gateway {
    struct port port;
    const struct gateway_limits *limits;
    char socket_path[108]; /* the daemon's */

    struct connection *first; /* newest first */
    size_t handshake_count, connection_count;
};

/* ---- gateway.c ---- */
extern const struct port_words gateway_words;
void gateway_begin(struct gateway *gateway, struct event_base *events, const struct gateway_limits *limits);
void gateway_end(struct gateway *gateway);
/* No more newcomers; the loop ends with the last connection. */
void gateway_end_softly(struct gateway *gateway);

/* ---- connection.c ---- */
enum connection_state {
    CONNECTION_SHAKES_HANDS,
    CONNECTION_PUMPS,
    CONNECTION_LINGERS, /* our last words are on their way */
    CONNECTION_GONE,
};

struct connection {
    struct gateway *gateway;
    enum connection_state state;
    int network, local;
    SSL *tls;
    struct pump *pump; /* once it pumps */
    struct event *network_read, *network_write, *local_read, *local_write;
    unsigned wants; /* which of these are pending */
    struct event *deadline;
    int64_t moved_at;
    uint64_t moves;
    char address[PORT_ADDRESS_SIZE];
    char place[PORT_ADDRESS_SIZE];
    char identity[IDENTITY_TEXT_SIZE];
    char verify_fault[PORT_VERIFY_FAULT_SIZE]; /* why its certificate is refused */
    struct connection *next;
};

/* Owns the descriptor, which does not block. */
struct connection *connection_new(struct gateway *gateway, int network, const struct sockaddr_storage *address);
/* Ends at once; the struct goes when the loop comes round. `reason` is logged as a refusal; NULL: nothing is. */
void connection_drop(struct connection *connection, const char *reason);
/* Drops one that has shown a certificate, when the gateway's files of now would not let that in. */
void connection_verify_again(struct connection *connection);
void connection_free(struct connection *connection);

/* ---- quiet.c ---- */
/* Why one that pumps, and moved nothing for so long, is dropped, and the limit it came to; NULL: it stays. */
const char *connection_reason_to_drop(const struct connection *connection, int quiet_seconds, int *ret_seconds);

#endif
