#ifndef PGCOFFER_TLS_CERTIFICATE_H
#define PGCOFFER_TLS_CERTIFICATE_H

#include <openssl/ssl.h>
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
/* A name as RFC 2253 writes it, printable, cut to `size`. */
void certificate_name_format(const X509_NAME *name, char *ret_text, size_t size);
/* `subject "CN=repl", issuer "CN=Lab CA", valid from ... until ... (12 days left)`: one phrase for messages. */
#define CERTIFICATE_PHRASE_SIZE 768
void certificate_phrase(X509 *certificate, char ret_phrase[CERTIFICATE_PHRASE_SIZE]);
/* Of one outside its dates, which clock that is by, and by how much: "it begins in 48h00m by this machine's clock,
 * which says ..."; "" of a current one. */
#define CERTIFICATE_CLOCK_SIZE 128
void certificate_clock_format(X509 *certificate, char ret_words[CERTIFICATE_CLOCK_SIZE]);
bool certificate_is_current(X509 *certificate);           /* now is within its dates */
struct timestamp certificate_time(const ASN1_TIME *time); /* 0 for NULL and what is no time */
/* Whole days; expired an hour ago is -1. */
long certificate_days_left(struct timestamp end);
bool certificate_is_self_issued(X509 *certificate); /* subject and issuer are the same name */
/* In a list: the very certificate, the first with that subject (NULL: none), the name. */
bool certificate_stands_in(STACK_OF(X509) * certificates, X509 *certificate);
X509 *certificate_find_subject(STACK_OF(X509) * certificates, const X509_NAME *name);
bool certificate_name_stands_in(STACK_OF(X509_NAME) * names, const X509_NAME *name);
/* Has the key usage `nid` (NID_client_auth, NID_server_auth), or no list of usages at all? */
bool certificate_allows_usage(X509 *certificate, int nid);

/* First certificate of a PEM file; the caller frees it with X509_free(). Kind TLS. */
bool certificate_read(const char *path, X509 **ret_certificate, struct error *err) NODISCARD;
/* All of them, in the file's order, at least one; freed with sk_X509_pop_free(). */
bool certificate_read_all(const char *path, STACK_OF(X509) * *ret_certificates, struct error *err) NODISCARD;
/* For OpenSSL, where it reads a private key: never asks a terminal, a daemon has none. `was_asked` is a bool, or NULL.
 */
int certificate_refuse_passphrase(char *buffer, int size, int is_for_writing, void *was_asked);
/* OpenSSL's oldest queued error in words, also for system errors; empties the queue. */
void certificate_openssl_words(char *ret_words, size_t size);

static inline void scoped_bio(BIO **bio)
{
    BIO_free(*bio);
}
static inline void scoped_certificate(X509 **certificate)
{
    X509_free(*certificate);
}
static inline void scoped_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}
static inline void scoped_revocations(X509_CRL **list)
{
    X509_CRL_free(*list);
}
static inline void scoped_context(SSL_CTX **context)
{
    SSL_CTX_free(*context);
}
static inline void scoped_certificates(STACK_OF(X509) * *certificates)
{
    sk_X509_pop_free(*certificates, X509_free);
}

#endif
