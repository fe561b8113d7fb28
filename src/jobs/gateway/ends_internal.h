#ifndef PGCOFFER_SRC_JOBS_GATEWAY_ENDS_INTERNAL_H
#define PGCOFFER_SRC_JOBS_GATEWAY_ENDS_INTERNAL_H

#include "pgcoffer/config/config.h"

/*
 * Does a CA of tls_ca_file or a list of tls_crl_file end within expiry_warn_days? From then on no client would be let
 * in. The one that ends first is told. The gateway's own certificate is the gateway's to watch, day by day.
 */
bool ends_find(const struct settings *settings, struct error *ret_warning) NODISCARD;

#endif
