#ifndef PGCOFFER_TLS_ISSUE_H
#define PGCOFFER_TLS_ISSUE_H

#include <openssl/x509.h>

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/error.h"

/*
 * Making certificates: the development PKI of `tls init`, and the self-signed one that a negative probe shows. X.509
 * version 3, random serial numbers, SHA-256 (none for Ed25519), subject and authority key identifiers, critical
 * basicConstraints and keyUsage, extendedKeyUsage by purpose. Kind TLS.
 */
enum issue_algorithm { ISSUE_EC_P256, ISSUE_RSA_3072, ISSUE_ED25519 };
bool issue_algorithm_find(const char *word, enum issue_algorithm *ret_algorithm); /* "ec" "rsa" "ed25519" */
bool issue_key(enum issue_algorithm algorithm, EVP_PKEY **ret_key, struct error *err) NODISCARD;

enum issue_purpose { ISSUE_AUTHORITY, ISSUE_SERVER, ISSUE_CLIENT };
struct issue_wish {
    enum issue_purpose purpose;
    const char *common_name;
    const char *const *names; /* "localhost", "192.0.2.1", "::1", until NULL: subject alternative names; may be NULL */
    EVP_PKEY *key;            /* of the one it is made for */
    X509 *issuer;             /* NULL: self-signed */
    EVP_PKEY *issuer_key;
    long days; /* from now on, at most as long as the issuer; valid since an hour ago, for clocks that differ */
};
bool issue_certificate(const struct issue_wish *wish, X509 **ret_certificate, struct error *err) NODISCARD;
/* An empty revocation list of that CA, number 1; `days` as above. */
bool issue_revocation_list(X509 *issuer, EVP_PKEY *issuer_key, long days, X509_CRL **ret_list,
                           struct error *err) NODISCARD;
/*
 * What a browser imports: certificate, its key and the CA, in PKCS#12 (AES-256, SHA-256 for the key and the integrity),
 * appended to `out`. `name` is what the browser calls it; `password` is UTF-8.
 */
bool issue_bundle(const struct issue_wish *wish, X509 *certificate, const char *name, const char *password,
                  struct buffer *out, struct error *err) NODISCARD;

#endif
