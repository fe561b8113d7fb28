#ifndef PGCOFFER_SRC_JOBS_GATEWAY_KINSHIP_INTERNAL_H
#define PGCOFFER_SRC_JOBS_GATEWAY_KINSHIP_INTERNAL_H

#include "pgcoffer/config/config.h"

/*
 * The gateway lets in whom its CA signed for. When that is the CA of PostgreSQL's clients, every role with a
 * certificate is let in, too, under a name that somebody chose for another purpose. True with *ret_warning (kind TLS)
 * when a server's own client certificate could come in, or a server's tls_ca_file is the gateway's. What cannot be read
 * is not known, and no fault here.
 */
bool kinship_find(const struct config *config, struct error *ret_warning);

#endif
