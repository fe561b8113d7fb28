#ifndef PGCOFFER_SRC_JOBS_CHECK_FILES_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_FILES_INTERNAL_H

#include "jobs/check/check_internal.h"

/* The parts of the level FILES; run->own and run->trusted are read already where their files could be. */

/* own_certificate.c: key.strength, key.authority, chain.order, identity.usage, identity.common_name. */
void check_own_certificate(struct check_run *run);
/* authorities.c: what tls_ca_file holds (chain.ca, as far as the file tells), and how long it lasts (expiry.ca). */
void check_authorities(struct check_run *run);
/* password_file.c: file.password. */
void check_password_file(struct check_run *run);

/* files.c: passes, warns or fails `id` by the list of tls_crl_file that is due first. */
void check_list_dates(struct check_run *run, enum check_id id);

/* ---- pair_files.c: the four files of one end of a connection to a gateway ---- */
struct pair_rows {
    enum check_id ca, crl, certificate, key, match, expiry;
    const char *what;       /* "the client certificate" */
    int usage;              /* NID_client_auth */
    const char *usage_word; /* "clientAuth" */
};
/* Judges every row; run->own and run->trusted are read where their files can be. */
void check_pair_files(struct check_run *run, const struct pair_rows *rows);
/* The first of the rows that has failed; NOTHING when they all serve. */
enum check_id check_pair_obstacle(const struct check_run *run, const struct pair_rows *rows);

/* ---- authorities.c, for the levels behind ---- */
/* With the certificates the server sent: chain.ca, and expiry.ca by the CA that is used. */
void check_authorities_served(struct check_run *run);
/* Does the issuer's key fit the signature, and its name? Whether it may sign is another question. */
bool check_has_signed(X509 *issuer, X509 *certificate);
/* The certificate of `list` that issued this one, itself for a self-signed one; NULL when it is not there. */
X509 *check_find_issuer(STACK_OF(X509) * list, X509 *certificate);
/* Did each behind the first sign the one before it? */
bool check_is_in_order(STACK_OF(X509) * chain);
/* The first behind the leaf that signed none of the others; -1 when each has its place, in whatever order. */
int check_find_stranger(STACK_OF(X509) * chain);
/* May it sign others, by its extensions, or by being too old to have any? */
bool check_is_authority(X509 *certificate);
/* Is its issuer about to end, and this one not before it? Then it is the CA's fault. */
bool check_ends_with_authority(struct check_run *run, X509 *certificate);

/* ---- public_authorities.c: the CAs of the distribution's bundle, but for those this machine's owner added to it ----
 */
bool check_holds_public(STACK_OF(X509) * certificates);
int check_count_public(STACK_OF(X509_NAME) * names);

#endif
