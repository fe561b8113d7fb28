#ifndef PGCOFFER_TLS_FILES_H
#define PGCOFFER_TLS_FILES_H

#include "pgcoffer/config/config.h"
#include "pgcoffer/tls/finding.h"

/*
 * The client's own files, looked at before the connection is made, because libpq is silent about some faults
 * (a missing certificate, a missing CRL) and wrong about others (EACCES prints uninitialised memory).
 * Checked: every file that is configured exists, is a regular file this uid may read, with every directory on the way
 * searchable; the key's mode and owner by libpq's rule; PEM that parses; the key has no passphrase, belongs to the
 * first certificate; the certificate is within its dates; the CA file holds a certificate; the CRL file a CRL that is
 * current. Kind TLS; the message names the file and what is wrong, the detail the certificate's subject and dates, the
 * hint the command to type.
 */
bool tls_files_check(const struct server_config *server, struct error *err) NODISCARD;

/* The same, but files that are being replaced get a moment: faults beside a change of the last seconds are looked at
 * again for so long. */
#define TLS_FILES_SETTLE_MILLISECONDS 3000
bool tls_files_check_settled(const struct server_config *server, struct error *err) NODISCARD;

/*
 * The same, fault by fault: is this check at fault? Of protocol.mode, file.ca, file.crl, file.certificate, file.key,
 * key.mode, key.match, expiry.ca, expiry.crl, expiry.client (dates that are past or not yet begun, as
 * tls_files_check() has them: days to spare are not its business). Looks at no file another check has to have passed.
 */
bool tls_files_fault(const struct server_config *server, enum check_id check, struct finding *ret_finding);

/*
 * Is a file that is not there one that systemd should have handed over? Then the finding says so: of which setting, and
 * what to write into the unit. False, and nothing is filled, when `path` names no credential.
 */
bool tls_files_tell_credential(const char *setting, const char *path, struct finding *finding);

#define TLS_SYSTEM_BUNDLE "/etc/ssl/certs/ca-certificates.crt"
/* More CAs in one file are a bundle, and nobody's own. */
#define TLS_MOST_OWN_AUTHORITIES 16
/* tls_ca_file, or the distribution's bundle for "system". */
const char *tls_files_ca_path(const struct settings *settings);

#endif
