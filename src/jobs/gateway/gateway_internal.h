#ifndef PGCOFFER_SRC_JOBS_GATEWAY_GATEWAY_INTERNAL_H
#define PGCOFFER_SRC_JOBS_GATEWAY_GATEWAY_INTERNAL_H

#include <event2/event.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "jobs/gateway/identity_internal.h"
#include "pgcoffer/control/stream.h"
#include "pgcoffer/tls/certificate.h"

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

#define GATEWAY_MOST_SOCKETS 8
#define GATEWAY_ADDRESS_SIZE 64

/* One client each; gateway.c has the list, connection.c the life. */
struct connection;

struct gateway {
    struct event_base *events;
    const struct gateway_limits *limits;
    char socket_path[108];     /* the daemon's */
    const char *least_version; /* tls_min_version */
    long warn_days;
    void (*changed)(struct gateway *gateway); /* what is reported changed; may be NULL */
    void *context;                            /* of whoever set it */

    int sockets[GATEWAY_MOST_SOCKETS]; /* bound */
    struct event *ready[GATEWAY_MOST_SOCKETS];
    size_t socket_count;
    struct event *retry; /* when there was no descriptor for a connection */
    struct event *day;
    bool is_listening;
    bool is_ending; /* nobody new; over with the last connection */

    SSL_CTX *tls; /* NULL until the files were good once */
    struct certificate_text certificate;
    json_t *fault;      /* ERROR: the files as they lie there cannot be used; NULL */
    json_t *warning;    /* ERROR, or NULL */
    json_t *unconfined; /* ERROR: the kernel takes nothing from this process; or NULL */

    struct connection *first; /* newest first */
    size_t handshake_count, connection_count;

    int64_t refusals_since; /* what is logged of those who are not let in */
    unsigned refusals_logged, refusals_silent;
};

/* ---- gateway.c ---- */
void gateway_begin(struct gateway *gateway, struct event_base *events, const struct gateway_limits *limits);
void gateway_end(struct gateway *gateway);
/* Of the reader: "files" or "error". New files are for new connections, and end those that they would not
 * let in; bad ones leave the old as they are. */
void gateway_take_files(struct gateway *gateway, const json_t *message);
/* The kernel has neither Landlock nor seccomp: logged, and shown while there is nothing else to warn of. */
void gateway_warn_unconfined(struct gateway *gateway);
/* No more newcomers; the loop ends with the last connection. */
void gateway_end_softly(struct gateway *gateway);
json_t *gateway_report(const struct gateway *gateway);
/* Logged, unless there were too many of late. */
void gateway_log_refusal(struct gateway *gateway, const char *address, const char *reason);

/* ---- sockets.c ---- */
/* Binds every address of `host` (1 to GATEWAY_MOST_SOCKETS), without listening. NETWORK kinds: FAILED, CONFIG. */
bool gateway_bind(const char *host, long port, int *ret_sockets, size_t *ret_count, struct error *err) NODISCARD;
/* "192.0.2.1:5555", "[2001:db8::1]:5555", and what counts as one address: of IPv6 the first 64 bits. */
void gateway_describe_address(const struct sockaddr_storage *address, char ret_text[GATEWAY_ADDRESS_SIZE],
                              char ret_place[GATEWAY_ADDRESS_SIZE]);

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
    char address[GATEWAY_ADDRESS_SIZE];
    char place[GATEWAY_ADDRESS_SIZE];
    char identity[IDENTITY_TEXT_SIZE];
    char verify_fault[512]; /* why its certificate is refused */
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
