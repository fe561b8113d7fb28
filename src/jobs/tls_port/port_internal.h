#ifndef PGCOFFER_SRC_JOBS_TLS_PORT_PORT_INTERNAL_H
#define PGCOFFER_SRC_JOBS_TLS_PORT_PORT_INTERNAL_H

#include <event2/event.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/control/stream.h"
#include "pgcoffer/tls/certificate.h"

/*
 * A port of the daemon as strangers meet it: sockets that are bound before the process gives up all it does not need,
 * the files that are served and taken up anew, and what is told of both. What follows the TCP connection is its
 * owner's: the gateway's or the exporter's.
 */

/* How it is spoken of: whose it is, and the settings of [pgcoffer] that an administrator has to change. */
struct port_words {
    const char *owner;     /* "the gateway" */
    const char *port;      /* "management" */
    const char *cert_file; /* "tls_cert_file" */
    const char *key_file;  /* "tls_key_file" */
    const char *ca_file;   /* "tls_ca_file" */
    const char *crl_file;  /* "tls_crl_file"; NULL: there is no such setting */
};

#define PORT_MOST_SOCKETS 8
#define PORT_ADDRESS_SIZE 64

struct port {
    const struct port_words *words;
    const char *least_version; /* tls_min_version */
    long warn_days;
    bool demands_client; /* without a CA nobody is let in, instead of everybody */
    struct event_base *events;
    void (*accepted)(void *owner, int fd, const struct sockaddr_storage *address); /* owns fd, which does not block */
    void (*renewed)(void *owner); /* `tls` is another one: who is connected may not be let in any more; may be NULL */
    void *owner;
    void (*changed)(void *changed_context); /* what is reported; may be NULL */
    void *changed_context;

    int sockets[PORT_MOST_SOCKETS]; /* bound */
    struct event *ready[PORT_MOST_SOCKETS];
    size_t socket_count;
    struct event *retry; /* when there was no descriptor for a connection */
    struct event *day;
    bool is_listening;
    bool is_ending; /* nobody new */

    SSL_CTX *tls; /* NULL until the files were good once, and without TLS */
    struct certificate_text certificate;
    json_t *fault;      /* ERROR: the files as they lie there cannot be used; NULL */
    json_t *warning;    /* ERROR, or NULL */
    json_t *unconfined; /* ERROR: the kernel takes nothing from this process; or NULL */

    int64_t refusals_since; /* what is logged of those who are not let in */
    unsigned refusals_logged, refusals_silent;
    uint64_t handshakes_ok, handshakes_refused;
};

/* ---- port.c ---- */
void port_begin(struct port *port, struct event_base *events);
void port_end(struct port *port);
/* Without TLS; with it, port_take_files() does so once there are good ones. */
void port_listen(struct port *port);
/* Nobody new from now on. */
void port_close(struct port *port);
/* Of the reader: "files" or "error". New files are for new connections; bad ones leave the old as they are. */
void port_take_files(struct port *port, const json_t *message);
/* The kernel has neither Landlock nor seccomp: logged, and shown while there is nothing else to warn of. */
void port_warn_unconfined(struct port *port);
void port_tell_changed(const struct port *port);
/* One is over: in the end, or because it was refused, took too long or was left. */
void port_count_handshake(struct port *port, bool is_good);
/* "state", "certificate", "error", "warning", "handshakes" of GATEWAY, and `connections`. */
json_t *port_report(const struct port *port, size_t connections);
/* Logged, unless there were too many of late. */
void port_log_refusal(struct port *port, const char *address, const char *reason);

/* ---- sockets.c ---- */
/* Binds every address of `host` (1 to PORT_MOST_SOCKETS), without listening. Kinds: FAILED, CONFIG. */
bool port_bind(const struct port_words *words, const char *host, long port, int *ret_sockets, size_t *ret_count,
               struct error *err) NODISCARD;
/* Without TLS nobody is to come from elsewhere, whatever a name of this machine leads to. CONFIG. */
bool port_demand_loopback(const struct port *port, struct error *err) NODISCARD;
/* "192.0.2.1:5555", "[2001:db8::1]:5555", and what counts as one address: of IPv6 the first 64 bits. */
void port_describe_address(const struct sockaddr_storage *address, char ret_text[PORT_ADDRESS_SIZE],
                           char ret_place[PORT_ADDRESS_SIZE]);
/* What a client leaves behind that is gone without a word is found out within minutes; small answers go at once. */
void port_keep_alive(int fd);

/* ---- handshake.c ---- */
/* Of one client; `verify_fault` is why its certificate is refused. */
#define PORT_VERIFY_FAULT_SIZE 512
/* A handshake as the server, over a socket that does not block; `verify_fault` outlives it. */
SSL *port_handshake_new(SSL_CTX *context, int fd, char verify_fault[PORT_VERIFY_FAULT_SIZE]);
/* A refusal: why SSL_accept() failed just now, by OpenSSL's errors and `verify_fault`. */
void port_log_handshake(struct port *port, const char *address, const char *verify_fault);

#endif
