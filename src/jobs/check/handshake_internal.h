#ifndef PGCOFFER_SRC_JOBS_CHECK_HANDSHAKE_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_HANDSHAKE_INTERNAL_H

#include "jobs/check/check_internal.h"

/* check_probe() that judges nothing and shows no certificate: what would the server do? */
void check_probe_unverified(const struct check_run *run, struct tls_probe_request request, struct tls_probe *ret_probe);

/* Of run->bare the certificates whose dates count; freed with sk_X509_free(), the certificates stay the probe's. */
STACK_OF(X509) * check_choose_dated(const struct check_run *run);

/* negative.c: a certificate of nobody's CA, for a probe that must be refused. */
bool check_make_stranger(const char *common_name, EVP_PKEY **ret_key, X509 **ret_certificate, struct error *err);

/* offers.c: protocol.versions and protocol.ciphers. Both must be refused and leave a line in the server's log. */
void check_offers(struct check_run *run);

#endif
