#ifndef PGCOFFER_TLS_FILES_INTERNAL_H
#define PGCOFFER_TLS_FILES_INTERNAL_H

#include "pgcoffer/tls/finding.h"

/* One configured file: its setting's name and whose it is, for cause and fix, and the check that tells of it. */
struct configured_file {
    const char *setting; /* "tls_key_file" */
    const char *path;
    const struct server_config *server;
    enum check_id check; /* file.key */
};

/*
 * What can be wrong, each for the check it was asked for: true, with *ret_finding, when it is. What another check has
 * to have found good before is no fault here.
 */

/* Exists, is a regular file, may be read by this uid, and so every directory on the way. */
bool files_access_fault(const struct configured_file *file, struct finding *ret_finding);
/* The same as an error of kind TLS. */
bool files_check_access(const struct configured_file *file, struct error *err) NODISCARD;
/* The mode and owner libpq demands of a private key. */
bool files_key_mode_fault(const struct configured_file *file, struct finding *ret_finding);
/* Holds a private key, without a passphrase. */
bool files_key_fault(const struct configured_file *file, struct finding *ret_finding);
/* The key belongs to the first certificate. */
bool files_pair_fault(const struct configured_file *certificate_file, const struct configured_file *key_file,
                      struct finding *ret_finding);
/* Holds a revocation list. */
bool files_list_fault(const struct configured_file *file, struct finding *ret_finding);
/* Every list in it is current. */
bool files_list_date_fault(const struct configured_file *file, struct finding *ret_finding);

#endif
