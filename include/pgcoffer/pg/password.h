#ifndef PGCOFFER_PG_PASSWORD_H
#define PGCOFFER_PG_PASSWORD_H

#include "pgcoffer/config/config.h"

/*
 * A password file in .pgpass form as a connection would search it, for `check`: is there a line for the server? The
 * password itself is never given out.
 */
struct password_entry {
    bool is_found;
    unsigned line;         /* the first that fits, or without one the one that comes closest; 0: there is none */
    const char *odd_field; /* of the closest: "host" "port" "database" "user", what keeps it from fitting; else NULL */
    char odd_value[256];   /* and what stands there */
    char wanted_value[1024]; /* and what would fit */
};

/* `database` is "replication", or the database of an ordinary connection. Fails as file_read_whole() does. */
bool password_entry_find(const char *path, const struct server_config *server, const char *database,
                         struct password_entry *ret_entry, struct error *err) NODISCARD;

/*
 * As libpq: a file that others can read holds no secret any more, and is not used. A credential of systemd is private
 * whatever its mode says: its access list shows as group bits. One that is not there is private too.
 */
bool password_file_is_private(const char *path);

#endif
