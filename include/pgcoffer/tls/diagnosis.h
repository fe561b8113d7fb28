#ifndef PGCOFFER_TLS_DIAGNOSIS_H
#define PGCOFFER_TLS_DIAGNOSIS_H

#include "pgcoffer/config/config.h"
#include "pgcoffer/tls/finding.h"
#include "pgcoffer/tls/probe.h"

/*
 * Why did TLS fail? libpq 15 says only "certificate verify failed" or "tlsv1 alert unknown ca". After a failed
 * connection this looks for the true cause with a handshake of its own (SSLRequest, then TLS with our CA, name and CRL
 * and a verify callback; no startup packet, no login, no password), and rewrites *err.
 *
 * `libpq_words` is libpq's message. For a fault of the server's certificate the message names reason, depth, subject,
 * issuer, expiry, the host name wanted and the names found; for a refusal of ours it names our file, subject, issuer,
 * expiry and the CA names the server accepts. The hint is what to type or change. Kind becomes TLS when it is about
 * TLS; otherwise *err is left as it is. Bounded by connect_timeout. Always returns false.
 */
bool tls_diagnose(const struct server_config *server, const char *libpq_words, struct error *err);

/*
 * What a probe saw, as a finding: its check, cause and fix. False when the probe found nothing wrong. `libpq_words` may
 * be "": then the probe alone speaks. Needs no connection, except to tell which TLS versions an old server speaks.
 */
bool tls_explain(const struct server_config *server, const struct tls_probe *probe, const char *libpq_words,
                 struct finding *ret_finding);

#endif
