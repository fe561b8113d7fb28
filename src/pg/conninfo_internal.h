#ifndef PGCOFFER_PG_CONNINFO_INTERNAL_H
#define PGCOFFER_PG_CONNINFO_INTERNAL_H

#include <stddef.h>

#include "pgcoffer/config/config.h"

/*
 * Everything libpq is told about a connection, so that nothing is left for its environment, its service file or
 * ~/.postgresql to decide. Only keywords the libpq of this machine knows are given: it refuses others.
 */
#define CONNINFO_MOST 48

struct conninfo {
    const char *keywords[CONNINFO_MOST + 1]; /* NULL at the end */
    const char *values[CONNINFO_MOST + 1];
    size_t count;
    char port[8];
};

struct conninfo_wish {
    const char *application_name;
    const char *replication;     /* "true", or "database"; NULL: none, for SQL */
    const char *database;        /* "replication" for a physical connection, as pg_basebackup says */
    const char *options;         /* "-c name=value ..." for the session; NULL: none */
    const char *password;        /* NULL: none */
    const char *channel_binding; /* "prefer", "require" */
};

/* Where several hosts are configured; see pg_ask_role(). */
#define CONNINFO_OPTIONS_OF_SEVERAL "-c default_transaction_read_only=off"

/* A path no file can have: what libpq is given for files that are not configured. */
#define CONNINFO_NO_FILE "/dev/null/none"

/* The values point into `server`, `wish` and the struct itself, which must stay where it is. */
bool conninfo_build(const struct server_config *server, const struct conninfo_wish *wish, struct conninfo *ret_info,
                    struct error *err) NODISCARD;

/* Takes every PG* variable out of this process's environment: libpq would read them. */
void conninfo_forget_environment(void);

#endif
