#ifndef PGCOFFER_SRC_JOBS_GATEWAY_IDENTITY_INTERNAL_H
#define PGCOFFER_SRC_JOBS_GATEWAY_IDENTITY_INTERNAL_H

#include <jansson.h>
#include <openssl/x509.h>

/*
 * The names of a verified certificate that can stand in a list: its common name, when it has exactly one, and its
 * alternative names (DNS, email, URI, IP). One with a byte that a name does not have (NUL, a control character), or one
 * that is too long, is left out as if it were not there: cut short it would be another name.
 */
#define IDENTITY_NAME_SIZE  256
#define IDENTITY_MOST_NAMES 16

struct identity {
    char common_name[IDENTITY_NAME_SIZE]; /* "" without one */
    char names[IDENTITY_MOST_NAMES][IDENTITY_NAME_SIZE];
    size_t name_count;
};

void identity_of_certificate(X509 *certificate, struct identity *ret_identity);
/* The first line of a connection to the supervisor (caller_take_identity()). */
json_t *identity_to_json(const struct identity *identity, const char *address);
/* "cert:NAME" or, without a common name, "san:NAME"; "a certificate without a usable name". */
#define IDENTITY_TEXT_SIZE (IDENTITY_NAME_SIZE + 8)
void identity_format(const struct identity *identity, char ret_text[IDENTITY_TEXT_SIZE]);

#endif
