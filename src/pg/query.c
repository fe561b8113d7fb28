#include "pgcoffer/pg/query.h"

#include "pg/connection_internal.h"
#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MOST_ROWS  10000
#define MOST_BYTES ((size_t)4 * 1024 * 1024)
#define NO_TEXT    UINT32_MAX

struct pg_rows {
    int count, columns;
    struct buffer texts; /* one behind the other, each with its NUL */
    struct buffer cells; /* uint32_t: where in `texts`, or NO_TEXT */
};

bool pg_connect_sql(const struct server_config *server, const char *database, const char *application_name,
                    int interrupt_fd, struct pg_connection **ret_connection, struct error *err)
{
    /* A table or function that somebody put into the schema public must not be taken for one of the system's. */
    char *options SCOPED(scoped_free) =
        memory_text("-c search_path=pg_catalog -c default_transaction_read_only=on -c statement_timeout=%lds",
                    server->settings.connect_timeout);
    struct conninfo_wish wish = {.database = database, .options = options};

    return pg_connect_as(server, application_name, interrupt_fd, &wish, ret_connection, err);
}

static bool take_row(struct pg_rows *rows, const PGresult *result, struct error *err)
{
    rows->columns = PQnfields(result);
    if (rows->count == MOST_ROWS)
        return error_set(err, ERROR_SERVER, "the server sent more than %d rows", MOST_ROWS);
    for (int column = 0; column < rows->columns; column++) {
        const char *text = pg_field(result, 0, column);
        uint32_t cell = text == NULL ? NO_TEXT : (uint32_t)rows->texts.used;
        if (!buffer_append(&rows->cells, &cell, sizeof cell, err) ||
            (text != NULL && !buffer_append(&rows->texts, text, strlen(text) + 1, err)))
            return error_wrap(err, "the server sent too much");
        if (text != NULL)
            text_make_printable((char *)rows->texts.bytes + cell);
    }
    rows->count++;
    return true;
}

/* Row by row, so that libpq never holds more than one of them. */
static bool take_rows(struct pg_connection *connection, const char *what, struct pg_rows *rows, struct error *err)
{
    for (;;) {
        PGresult *result SCOPED(scoped_result) = NULL;
        if (!pg_next_result(connection, what, &result, err))
            return false;
        ExecStatusType status = result == NULL ? PGRES_FATAL_ERROR : PQresultStatus(result);
        if (status == PGRES_TUPLES_OK)
            return pg_drain(connection, what, err);
        if (status != PGRES_SINGLE_TUPLE) {
            if (status == PGRES_COMMAND_OK)
                error_set(err, ERROR_SERVER, "%s: the statement gives no rows", what);
            else
                pg_result_error(connection, result, what, err);
            pg_forget_rest(connection, what);
            return false;
        }
        if (!take_row(rows, result, err)) {
            PQfinish(TAKE(connection->handle));
            err->kind = ERROR_SERVER;
            return error_wrap(err, "%s", what);
        }
    }
}

bool pg_query(struct pg_connection *connection, const char *statement, struct pg_rows **ret_rows, struct error *err)
{
    const char *what = "could not query the server";
    struct pg_rows *rows SCOPED(scoped_pg_rows) = memory_new(sizeof *rows);

    rows->texts = rows->cells = BUFFER_WITH_LIMIT(MOST_BYTES);
    if (!pg_send_command(connection, statement, what, err))
        return false;
    if (!PQsetSingleRowMode(connection->handle))
        return error_set(err, ERROR_SERVER, "%s: libpq cannot give the rows one by one", what);
    if (!take_rows(connection, what, rows, err))
        return false;
    *ret_rows = TAKE(rows);
    return true;
}

void pg_rows_free(struct pg_rows *rows)
{
    if (rows == NULL)
        return;
    buffer_done(&rows->texts);
    buffer_done(&rows->cells);
    free(rows);
}

int pg_rows_count(const struct pg_rows *rows)
{
    return rows->count;
}

const char *pg_rows_text(const struct pg_rows *rows, int row, int column)
{
    uint32_t cell;

    if (row < 0 || row >= rows->count || column < 0 || column >= rows->columns)
        return NULL;
    memcpy(&cell, rows->cells.bytes + ((size_t)row * (size_t)rows->columns + (size_t)column) * sizeof cell,
           sizeof cell);
    return cell == NO_TEXT ? NULL : (const char *)rows->texts.bytes + cell;
}
