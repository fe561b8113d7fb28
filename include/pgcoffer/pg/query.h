#ifndef PGCOFFER_PG_QUERY_H
#define PGCOFFER_PG_QUERY_H

#include "pgcoffer/pg/connection.h"

/*
 * SQL, where pg_hba.conf lets the role into a database: reading only, for `check`. An ordinary connection by the same
 * rules as pg_connect(); its transactions are read-only, its search_path is pg_catalog, and no statement may take
 * longer than connect_timeout.
 */
bool pg_connect_sql(const struct server_config *server, const char *database, const char *application_name,
                    int interrupt_fd, struct pg_connection **ret_connection, struct error *err) NODISCARD;

/* The rows of one statement; at most 10 000 rows and 4 MiB, more is an error and ends the connection. SERVER. */
struct pg_rows;
bool pg_query(struct pg_connection *connection, const char *statement, struct pg_rows **ret_rows,
              struct error *err) NODISCARD;
void pg_rows_free(struct pg_rows *rows); /* NULL is fine */
static inline void scoped_pg_rows(struct pg_rows **rows)
{
    pg_rows_free(*rows);
}
int pg_rows_count(const struct pg_rows *rows);
/* Printable text of a field, NULL for NULL or one that is not there; lives as long as the rows. */
const char *pg_rows_text(const struct pg_rows *rows, int row, int column);

#endif
