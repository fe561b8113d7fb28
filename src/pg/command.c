#include <poll.h>

#include "pg/connection_internal.h"
#include "pg/refusal_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/text.h"

/* Until when the next word is waited for: a server that says something has time again. */
static int64_t answer_deadline(const struct pg_connection *connection)
{
    if (connection->command_deadline != 0)
        return connection->command_deadline;
    return connection->answer_within != 0 ? clock_monotonic() + connection->answer_within : 0;
}

bool pg_flush(struct pg_connection *connection, const char *what, struct error *err)
{
    for (;;) {
        int left = PQflush(connection->handle);
        if (left == 0)
            return true;
        if (left < 0)
            return pg_result_error(connection, NULL, what, err);
        /* The server may be unable to read before we did. */
        if (!pg_wait(connection, POLLIN | POLLOUT, answer_deadline(connection), what, err))
            return false;
        if (!PQconsumeInput(connection->handle))
            return pg_result_error(connection, NULL, what, err);
    }
}

bool pg_send_command(struct pg_connection *connection, const char *command, const char *what, struct error *err)
{
    connection->last_sqlstate[0] = '\0';
    if (!PQsendQuery(connection->handle, command))
        return pg_result_error(connection, NULL, what, err);
    return pg_flush(connection, what, err);
}

bool pg_next_result(struct pg_connection *connection, const char *what, PGresult **ret_result, struct error *err)
{
    while (PQstatus(connection->handle) != CONNECTION_BAD && PQisBusy(connection->handle)) {
        if (!pg_wait(connection, POLLIN, answer_deadline(connection), what, err))
            return false;
        /* A broken connection becomes a result of its own, with the words. */
        if (!PQconsumeInput(connection->handle))
            break;
    }
    *ret_result = PQgetResult(connection->handle);
    return true;
}

bool pg_expect_result(struct pg_connection *connection, ExecStatusType status, const char *what, PGresult **ret_result,
                      struct error *err)
{
    PGresult *result SCOPED(scoped_result) = NULL;

    if (!pg_next_result(connection, what, &result, err))
        return false;
    ExecStatusType got = result == NULL ? PGRES_FATAL_ERROR : PQresultStatus(result);
    if (got == status) {
        *ret_result = TAKE(result);
        return true;
    }
    if (got == PGRES_FATAL_ERROR || got == PGRES_BAD_RESPONSE)
        return pg_result_error(connection, result, what, err);
    return error_set(err, ERROR_SERVER, "%s: the server answered %s where %s was due", what, PQresStatus(got),
                     PQresStatus(status));
}

bool pg_drain(struct pg_connection *connection, const char *what, struct error *err)
{
    for (;;) {
        PGresult *result SCOPED(scoped_result) = NULL;
        if (!pg_next_result(connection, what, &result, err))
            return false;
        if (result == NULL)
            return true;
        if (PQstatus(connection->handle) == CONNECTION_BAD)
            return pg_result_error(connection, result, what, err);
    }
}

void pg_forget_rest(struct pg_connection *connection, const char *what)
{
    struct error ignored;

    if (PQstatus(connection->handle) == CONNECTION_OK && !pg_drain(connection, what, &ignored))
        return;
}

bool pg_execute(struct pg_connection *connection, const char *command, ExecStatusType status, const char *what,
                PGresult **ret_result, struct error *err)
{
    PGresult *result SCOPED(scoped_result) = NULL;

    if (!pg_send_command(connection, command, what, err))
        return false;
    if (!pg_expect_result(connection, status, what, &result, err)) {
        if (err->errnum == 0)
            pg_forget_rest(connection, what);
        return false;
    }
    if (!pg_drain(connection, what, err))
        return false;
    *ret_result = TAKE(result);
    return true;
}

/* libpq's own words, for a connection that broke: nothing of a PGresult is set then. */
static bool connection_error(struct pg_connection *connection, const char *words, const char *what, struct error *err)
{
    char clean[REFUSAL_WORDS_SIZE], sqlstate[6];

    refusal_clean_words(words, clean, sqlstate);
    bool is_tls = strstr(clean, "SSL error") != NULL;
    error_set(err, is_tls ? ERROR_TLS : ERROR_SERVER, "%s: %s", what,
              clean[0] == '\0' ? "the connection to the server is gone" : clean);
    return error_hint(err, "Look at the log of server \"%s\" for the same moment; the agent connects again by itself.",
                      connection->server.name);
}

bool pg_result_error(struct pg_connection *connection, const PGresult *result, const char *what, struct error *err)
{
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);

    snprintf(connection->last_sqlstate, sizeof connection->last_sqlstate, "%s", sqlstate == NULL ? "" : sqlstate);
    if (sqlstate == NULL || primary == NULL) {
        const char *words = result == NULL ? "" : PQresultErrorMessage(result);
        if (words[0] == '\0' && connection->handle != NULL)
            words = PQerrorMessage(connection->handle);
        return connection_error(connection, words, what, err);
    }
    error_set(err, ERROR_SERVER, "%s: %s (SQLSTATE %s)", what, primary, sqlstate);
    text_make_printable(err->message);
    if (detail != NULL) {
        error_detail(err, "%s", detail);
        text_make_printable(err->detail);
    }
    if (hint != NULL) {
        error_hint(err, "%s", hint);
        text_make_printable(err->hint);
    }
    return false;
}

const char *pg_field(const PGresult *result, int row, int column)
{
    if (row >= PQntuples(result) || column >= PQnfields(result) || PQgetisnull(result, row, column))
        return NULL;
    return PQgetvalue(result, row, column);
}

bool pg_field_timeline(const PGresult *result, int row, int column, const char *what, struct timeline *ret_timeline,
                       struct error *err)
{
    const char *text = pg_field(result, row, column);
    uint64_t number = 0;

    if (text == NULL || !text_parse_unsigned(text, UINT32_MAX, &number) || number == 0)
        return error_set(err, ERROR_SERVER, "%s: the server answered no timeline", what);
    *ret_timeline = (struct timeline){.value = (uint32_t)number};
    return true;
}

bool pg_field_position(const PGresult *result, int row, int column, const char *what, struct wal_position *ret_position,
                       struct error *err)
{
    const char *text = pg_field(result, row, column);

    if (text == NULL)
        return error_set(err, ERROR_SERVER, "%s: the server answered no WAL position", what);
    return wal_position_parse(text, ret_position, err) || error_wrap(err, "%s", what);
}
