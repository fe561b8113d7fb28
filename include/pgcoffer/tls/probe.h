#ifndef PGCOFFER_TLS_PROBE_H
#define PGCOFFER_TLS_PROBE_H

#include <openssl/ssl.h>

#include "pgcoffer/config/config.h"

/*
 * A TLS handshake with PostgreSQL for its own sake: TCP, SSLRequest, TLS with our CA, CRL and certificate, then it
 * hangs up. No startup packet, no login, no password. libpq says "certificate verify failed"; this says which
 * certificate, why, and what was sent. Of TLS 1.2 the server's verdict on our certificate belongs to the handshake; of
 * 1.3 it comes later and is waited for up to two seconds.
 */
enum tls_probe_outcome {
    TLS_PROBE_UNREACHABLE,     /* no connection, or it ended before the answer: `words` */
    TLS_PROBE_NO_TLS,          /* the server answered 'N': it does not speak TLS */
    TLS_PROBE_NOT_POSTGRES,    /* it answered neither 'S' nor 'N': `answer` */
    TLS_PROBE_REFUSED_BY_US,   /* the server's chain is not good: verify_error, verify_depth, culprit */
    TLS_PROBE_REFUSED_BY_PEER, /* the server sent `alert` */
    TLS_PROBE_BROKEN,          /* the handshake ended otherwise: `words` */
    TLS_PROBE_ACCEPTED,
};

struct tls_probe_request {
    const struct server_config *server;
    /* Client certificate to show instead of the configured one; "" shows none, NULL the configured one. */
    const char *certificate_path, *key_path;
    int least_version, most_version; /* TLS1_2_VERSION; 0: TLS 1.2, and the newest */
    bool is_weak_allowed;            /* SECLEVEL 0, to find out what an old server speaks */
    int64_t deadline;                /* clock_monotonic() */
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
};

/* Cannot fail: the outcome tells all. */
void tls_probe_run(const struct tls_probe_request *request, struct tls_probe *ret_probe);
void tls_probe_done(struct tls_probe *probe);

#endif
