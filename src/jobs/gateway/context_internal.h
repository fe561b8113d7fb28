#ifndef PGCOFFER_SRC_JOBS_GATEWAY_CONTEXT_INTERNAL_H
#define PGCOFFER_SRC_JOBS_GATEWAY_CONTEXT_INTERNAL_H

#include <openssl/ssl.h>

#include "pgcoffer/tls/certificate.h"

/* The gateway's files as text, as its reader sends them: PEM. */
struct gateway_files {
    const char *certificate; /* the leaf and its intermediates */
    const char *key;
    const char *authorities;
    const char *revocations; /* NULL: no list is checked */
};

/*
 * What a handshake needs, from texts alone, as the process that does it may open no file. A client certificate is
 * demanded, verified against these CAs only, for the purpose of a client, and with lists against them. No session is
 * resumed, so each connection verifies anew. `least_version` is "TLSv1.2" or "TLSv1.3". Kind TLS; nothing is returned
 * by halves.
 */
bool gateway_context_new(const struct gateway_files *files, const char *least_version, SSL_CTX **ret_context,
                         struct certificate_text *ret_certificate, struct error *err) NODISCARD;
/* Would who is connected still be let in? *ret_fault says why not, in OpenSSL's words. */
bool gateway_context_trusts(SSL_CTX *context, SSL *connected, const char **ret_fault) NODISCARD;

#endif
