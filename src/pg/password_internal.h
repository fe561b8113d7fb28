#ifndef PGCOFFER_PG_PASSWORD_INTERNAL_H
#define PGCOFFER_PG_PASSWORD_INTERNAL_H

#include <stddef.h>

#include "pgcoffer/config/config.h"

/*
 * Passwords come from files in .pgpass form (host:port:database:user:password, with '*' and backslash escapes), looked
 * at in this order: password_file; ~/.pgpass of the user this process runs as; the systemd credential
 * "pgcoffer-pgpass-SERVER". The database is "replication", as for pg_basebackup.
 */
#define PASSWORD_SIZE       1024
#define PASSWORD_FILE_LIMIT ((size_t)1 << 20)

/* The first line that fits; the text is only read. False when there is none. */
bool password_find(const char *text, size_t size, const struct settings *settings, const char *database,
                   char ret_password[PASSWORD_SIZE]);
/* Fills *err (SERVER, or CONFIG for a file with a wrong mode) with the places that were looked at. */
bool password_look_up(const struct server_config *server, const char *database, char ret_password[PASSWORD_SIZE],
                      struct error *err) NODISCARD;

#endif
