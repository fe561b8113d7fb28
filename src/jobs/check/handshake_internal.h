#ifndef PGCOFFER_SRC_JOBS_CHECK_HANDSHAKE_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_HANDSHAKE_INTERNAL_H

#include "jobs/check/check_internal.h"

/* check_probe() that judges nothing and shows no certificate: what would the server do? */
void check_probe_unverified(const struct check_run *run, struct tls_probe_request request, struct tls_probe *ret_probe);

/* offers.c: protocol.versions and protocol.ciphers. Both must be refused and leave a line in the server's log. */
void check_offers(struct check_run *run);

#endif
