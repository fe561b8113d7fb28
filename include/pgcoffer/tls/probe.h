#ifndef PGCOFFER_TLS_PROBE_H
#define PGCOFFER_TLS_PROBE_H

#include <openssl/ssl.h>
#include <sys/socket.h>

#include "pgcoffer/config/config.h"

/*
 * A TLS handshake with PostgreSQL for its own sake: TCP, SSLRequest (not to a gateway), TLS with our CA, CRL and
 * certificate, then it hangs up. No startup packet, no login, no password. libpq says "certificate verify failed"; this
 * says which certificate, why, and what was sent. Of TLS 1.2 the server's verdict on our certificate belongs to the
 * handshake; of 1.3 it comes later and is waited for: an alert, or the answer to our good-bye, up to two seconds. A
 * server that sends without end is left at the deadline, or after 1 MiB.
 */
enum tls_probe_outcome {
    TLS_PROBE_UNREACHABLE,     /* no connection, or it ended before the answer: `words` */
    TLS_PROBE_NO_TLS,          /* the server answered 'N': it does not speak TLS */
    TLS_PROBE_NOT_POSTGRES,    /* it answered neither 'S' nor 'N': `answer`; with 'E' `words` are its error */
    TLS_PROBE_REFUSED_BY_US,   /* the server's chain is not good: verify_error, verify_depth, culprit */
    TLS_PROBE_REFUSED_BY_PEER, /* the server sent `alert` */
    TLS_PROBE_BROKEN,          /* the handshake ended otherwise: `words` */
    TLS_PROBE_ACCEPTED,
};

/*
 * Called once the handshake is done and before the server's verdict is waited for (or, with is_plain, once connected):
 * to go on talking, with the deadline of the probe. tls_talk_read() gives at least one byte and at most `size`, 0 when
 * nothing more comes: the probe then tells why (an alert, an end, the deadline). Of a gateway with another name's
 * certificate it is not called. A failed write does not hide the
 * alert: go on with reading.
 */
struct tls_talk;
typedef void tls_probe_talk_function(void *context, struct tls_talk *talk);
bool tls_talk_write(struct tls_talk *talk, const void *bytes, size_t size);
size_t tls_talk_read(struct tls_talk *talk, void *ret_bytes, size_t size);

struct tls_probe_request {
    const struct server_config *server;
    /* Client certificate to show instead of the configured one; "" shows none, NULL the configured one. */
    const char *certificate_path, *key_path;
    int least_version, most_version; /* TLS1_2_VERSION; 0: TLS 1.2, and the newest */
    bool is_weak_allowed;            /* SECLEVEL 0, to find out what an old server speaks */
    int64_t deadline;                /* clock_monotonic() */
    /* A client certificate that lies in no file, instead of the two paths; NULL: the paths. */
    X509 *certificate;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* sent behind `certificate`; NULL: as for the only one of a file */
    const char *ciphers;    /* OpenSSL's list for TLS 1.2 and before; NULL: the usual ones */
    /* This address only; NULL: each address of the host in turn, until one takes the connection. */
    const struct sockaddr *address;
    socklen_t address_size;
    bool is_plain; /* no SSLRequest and no TLS: `converse` at once, in the clear */
    tls_probe_talk_function *converse;
    void *context;
};

struct tls_probe {
    enum tls_probe_outcome outcome;
    char words[256];
    int answer;
    int alert; /* RFC 8446 6.2; -1: none came */
    int verify_error, verify_depth;
    X509 *culprit;
    STACK_OF(X509) * chain; /* as the server sent it, its own certificate first; NULL when it never came */
    bool is_name_wrong;     /* the name `host` is not in the certificate; told whatever the outcome */
    bool is_certificate_wanted;
    STACK_OF(X509_NAME) * accepted; /* CAs the server accepts; NULL when it named none */
    char version[16];               /* "TLSv1.2" */
    char cipher[64];                /* "TLS_AES_256_GCM_SHA384"; "" without a handshake */
    char address[64];               /* "127.0.0.1" or "::1": what was connected to; "" without */
    bool is_unresolved;             /* unreachable because the host's name has no address */
    bool is_cut;                    /* `words` are the network's or the peer's end, and no fault of TLS */
    bool is_unprepared;             /* broken before the handshake: our own files or ciphers do not serve, `words` */
};

bool tls_host_is_address(const char *host); /* and no name */
/* Does the certificate carry the name or address as libpq's verify-full would have it? */
bool tls_name_matches(X509 *certificate, const char *host);

/* The addresses of the host (or hostaddr) in the resolver's order; freed with freeaddrinfo(). `ret_words` on failure.
 */
struct addrinfo;
bool tls_probe_resolve(const struct server_config *server, struct addrinfo **ret_addresses, char *ret_words,
                       size_t size);

/* Cannot fail: the outcome tells all. */
void tls_probe_run(const struct tls_probe_request *request, struct tls_probe *ret_probe);
void tls_probe_done(struct tls_probe *probe);

#endif
