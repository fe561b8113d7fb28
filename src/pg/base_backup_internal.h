#ifndef PGCOFFER_PG_BASE_BACKUP_INTERNAL_H
#define PGCOFFER_PG_BASE_BACKUP_INTERNAL_H

#include "pg/connection_internal.h"
#include "pg/copy_message_internal.h"
#include "pg/lz4_wire_internal.h"
#include "pgcoffer/pg/base_backup.h"

#define BASE_BACKUP_FIRST_NEW_GRAMMAR 150000

enum backup_place { BACKUP_BETWEEN, BACKUP_IN_ARCHIVE, BACKUP_IN_MANIFEST };

struct base_backup {
    struct pg_connection *connection;
    bool has_old_grammar; /* 13 and 14: a COPY for each archive, without message types */
    bool is_lz4;
    struct wal_position start_position;
    struct timeline start_timeline;
    struct base_backup_tablespace *tablespaces;
    size_t tablespace_count;
    size_t archives_begun;
    bool is_manifest_begun;
    #define BASE_BACKUP_FIRST_NEW_GRAMMAR 150000

enum backup_place place;
    char *chunk;    /* the last CopyData, libpq's memory */
    bool is_over;   /* the (last) COPY ended */
    bool has_tail;  /* 13, 14: the zero blocks at this tar's end were given */
    bool has_ahead; /* 15+: `ahead` was read and begins the next item */
    struct copy_backup_message ahead;
    struct lz4_wire *wire;
};

/* ---- base_backup_command.c: pure, so that the quoting can be tested ---- */
/* malloc'd; USAGE when the label cannot be sent. */
bool base_backup_command(const struct base_backup_options *options, int server_version, bool is_lz4, char **ret_command,
                         struct error *err) NODISCARD;
/* From the server's table of tablespaces. */
bool base_backup_take_tablespaces(struct base_backup *backup, const PGresult *result, struct error *err) NODISCARD;

#endif
