#ifndef PGCOFFER_TLS_FILES_INTERNAL_H
#define PGCOFFER_TLS_FILES_INTERNAL_H

#include "pgcoffer/config/config.h"

/* One configured file: its setting's name, for the message, and the section that could correct it. */
struct configured_file {
    const char *setting; /* "tls_key_file" */
    const char *path;
    const char *server;
};

/* Exists, is a regular file, may be read by this uid, and so every directory on the way. Kind TLS. */
bool files_check_access(const struct configured_file *file, struct error *err) NODISCARD;
/* The mode and owner libpq demands of a private key. */
bool files_check_key_mode(const struct configured_file *file, struct error *err) NODISCARD;

#endif
