#ifndef PGCOFFER_TLS_CERTIFICATE_H
#define PGCOFFER_TLS_CERTIFICATE_H

#include <openssl/x509.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/error.h"

/* A certificate in words, for messages and tables: everything bounded and printable. */
struct certificate_text {
    char subject[256]; /* "CN=repl", RFC 2253 */
    char issuer[256];
    char common_name[128]; /* "" without one */
    char names[512];       /* SAN: "DNS:db1.example.com, IP:192.0.2.1"; "" without */
    char fingerprint[96];  /* SHA-256, "AB:CD:..." */
    struct timestamp not_before, not_after;
    char not_after_text[TIMESTAMP_TEXT_SIZE];
    long days_left; /* negative: expired */
};

void certificate_describe(X509 *certificate, struct certificate_text *ret_text);
/* First certificate of a PEM file; the caller frees it with X509_free(). */
bool certificate_read(const char *path, X509 **ret_certificate, struct error *err) NODISCARD;
/* OpenSSL's oldest queued error in words, also for system errors; empties the queue. */
void certificate_openssl_words(char *ret_words, size_t size);

#endif
