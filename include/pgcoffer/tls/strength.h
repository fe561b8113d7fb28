#ifndef PGCOFFER_TLS_STRENGTH_H
#define PGCOFFER_TLS_STRENGTH_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

/* Keys and signatures by the measure of OpenSSL's security level 2, the usual one: 112 bits of security. */

bool strength_has_weak_key(X509 *certificate);
/* The first weak certificate of a chain with what is weak about it ("an RSA key of 1024 bits", "a signature by SHA-1");
 * -1: none. The signature of a self-signed one proves nothing and is not judged. */
int strength_find_weak(STACK_OF(X509) * certificates, char *ret_words, size_t size);
/* "an RSA key of 3072 bits, signed with RSA-SHA256" */
void strength_describe(X509 *certificate, char *ret_words, size_t size);

#endif
