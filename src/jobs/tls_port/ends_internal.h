#ifndef PGCOFFER_SRC_JOBS_TLS_PORT_ENDS_INTERNAL_H
#define PGCOFFER_SRC_JOBS_TLS_PORT_ENDS_INTERNAL_H

#include "jobs/tls_port/port_internal.h"
#include "pgcoffer/config/config.h"

/*
 * Does a CA of tls_ca_file or a list of tls_crl_file end within expiry_warn_days? From then on no client would be let
 * in. The one that ends first is told. The port's own certificate is the port's to watch,
 * day by day. `view` has the files under the names that they have for a server.
 */
bool ends_find(const struct settings *view, const struct port_words *words, struct error *ret_warning) NODISCARD;

#endif
