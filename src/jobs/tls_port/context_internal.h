#ifndef PGCOFFER_SRC_JOBS_TLS_PORT_CONTEXT_INTERNAL_H
#define PGCOFFER_SRC_JOBS_TLS_PORT_CONTEXT_INTERNAL_H

#include <openssl/ssl.h>

#include "jobs/tls_port/port_internal.h"

/* A port's files as text, as its reader sends them: PEM. */
struct port_files {
    const char *certificate; /* the leaf and its intermediates */
    const char *key;
    const char *authorities; /* NULL: no client certificate is asked for */
    const char *revocations; /* NULL: no list is checked */
};

/*
 * What a handshake needs, from texts alone, as the process that does it may open no file. With
 * authorities a client certificate is demanded, verified against these CAs only, for the purpose of a client, and with
 * lists against them. No session is resumed, so each connection verifies anew. `least_version` is "TLSv1.2" or
 * "TLSv1.3". Kind TLS; nothing is returned by halves.
 */
bool port_context_new(const struct port_files *files, const struct port_words *words, const char *least_version,
                      SSL_CTX **ret_context, struct certificate_text *ret_certificate, struct error *err) NODISCARD;
/* Would who is connected still be let in? Without authorities everybody is. *ret_fault says why not, in OpenSSL's
 * words. */
bool port_context_trusts(SSL_CTX *context, SSL *connected, const char **ret_fault) NODISCARD;

#endif
