#include "pgcoffer/pg/wal_stream.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

#include "pg/connection_internal.h"
#include "pg/copy_message_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

static const char what[] = "could not receive WAL";

/*
 * SQLSTATEs first, because a server may speak another language; texts where PostgreSQL uses XX000 for everything.
 */
static enum wal_stream_fault classify(const char *sqlstate, const char *words)
{
    if (strcmp(sqlstate, "42704") == 0)
        return WAL_FAULT_SLOT_MISSING;
    if (strcmp(sqlstate, "55006") == 0)
        return WAL_FAULT_SLOT_ACTIVE;
    if (strcmp(sqlstate, "58P01") == 0 || strstr(words, "has already been removed") != NULL)
        return WAL_FAULT_REMOVED;
    if (strcmp(sqlstate, "55000") == 0 && (strstr(words, "invalidated") != NULL || strstr(words, "no longer") != NULL))
        return WAL_FAULT_SLOT_LOST;
    if (strstr(words, "ahead of the WAL flush position") != NULL)
        return WAL_FAULT_AHEAD;
    if (strstr(words, "not in this server's history") != NULL)
        return WAL_FAULT_NOT_IN_HISTORY;
    return sqlstate[0] == '\0' ? WAL_FAULT_CONNECTION : WAL_FAULT_OTHER;
}

static void advise(enum wal_stream_fault fault, struct error *err)
{
    if (!text_is_empty(err->hint))
        return;
    switch (fault) {
    case WAL_FAULT_SLOT_MISSING:
        error_hint(err, "Set create_slot = yes, or correct wal_slot.");
        return;
    case WAL_FAULT_SLOT_ACTIVE:
        error_hint(err, "Another receiver uses the slot, or the server has not noticed yet that an earlier connection "
                        "broke (wal_sender_timeout); the receiver tries again by itself.");
        return;
    case WAL_FAULT_SLOT_LOST:
        error_hint(err, "The slot fell behind max_slot_wal_keep_size: drop and create it again, and take a new base "
                        "backup.");
        return;
    case WAL_FAULT_REMOVED:
        error_hint(err, "The server has thrown this WAL away; take a new base backup. A slot, or a higher "
                        "wal_keep_size, prevents it.");
        return;
    case WAL_FAULT_AHEAD:
        error_hint(err, "The server has less WAL than the archive: it is a lagging standby, an older copy, or a second "
                        "primary. Nothing was changed here.");
        return;
    case WAL_FAULT_NOT_IN_HISTORY:
        error_hint(err, "The server went another way than the archived WAL: it was restored or rewound.");
        return;
    case WAL_FAULT_OTHER:
    case WAL_FAULT_CONNECTION:
    case WAL_FAULT_INTERRUPTED:
        return;
    }
}

/* From a failed result, or a NULL one for the connection itself. */
static bool fail(struct pg_connection *connection, const PGresult *result, const char *doing,
                 enum wal_stream_fault *ret_fault, struct error *err)
{
    pg_result_error(connection, result, doing, err);
    *ret_fault = classify(connection->last_sqlstate, err->message);
    advise(*ret_fault, err);
    if (result != NULL)
        pg_forget_rest(connection, doing);
    return false;
}

/* For failures of pg_wait() and the like. */
static bool fail_early(struct pg_connection *connection, enum wal_stream_fault *ret_fault, const struct error *err)
{
    if (err->errnum == ECANCELED)
        *ret_fault = WAL_FAULT_INTERRUPTED;
    else
        *ret_fault = PQstatus(connection->handle) == CONNECTION_BAD ? WAL_FAULT_CONNECTION : WAL_FAULT_OTHER;
    return false;
}

static void forget(struct wal_stream_state *stream)
{
    PQfreemem(TAKE(stream->message));
    PQclear(TAKE(stream->end_result));
}

bool wal_stream_start(struct pg_connection *connection, const char *slot, struct timeline timeline,
                      struct wal_position position, bool *ret_at_end, enum wal_stream_fault *ret_fault,
                      struct error *err)
{
    struct wal_stream_state *stream = &connection->stream;
    PGresult *result SCOPED(scoped_result) = NULL;
    char text[WAL_POSITION_TEXT_SIZE];

    forget(stream);
    wal_position_format(position, text);
    char *doing SCOPED(scoped_free) =
        memory_text("could not start replication from %s on timeline %u", text, timeline.value);
    char *quoted SCOPED(scoped_free) = text_is_empty(slot) ? memory_copy_text("") : memory_text("SLOT \"%s\" ", slot);
    char *command SCOPED(scoped_free) =
        memory_text("START_REPLICATION %sPHYSICAL %s TIMELINE %u", quoted, text, timeline.value);
    if (strchr(slot, '"') != NULL) {
        *ret_fault = WAL_FAULT_OTHER;
        return error_set(err, ERROR_CONFIG, "\"%s\" is not the name of a replication slot", slot);
    }

    if (!pg_send_command(connection, command, doing, err) || !pg_next_result(connection, doing, &result, err))
        return fail_early(connection, ret_fault, err);
    *stream = (struct wal_stream_state){.timeline = timeline, .received_end = position};
    switch ((int)PQresultStatus(result)) {
    case PGRES_COPY_BOTH:
        *ret_at_end = false;
        return true;
    case PGRES_TUPLES_OK:
        stream->end_result = TAKE(result);
        stream->is_end_of_timeline = true;
        *ret_at_end = true;
        return true;
    default:
        break;
    }
    return fail(connection, result, doing, ret_fault, err);
}

/* PQgetCopyData() gave -1: the server half closed, or ended the stream, or failed. */
static bool receive_end(struct pg_connection *connection, struct wal_message *ret_message,
                        enum wal_stream_fault *ret_fault, struct error *err)
{
    PGresult *result SCOPED(scoped_result) = NULL;

    if (!pg_next_result(connection, what, &result, err))
        return fail_early(connection, ret_fault, err);
    switch ((int)PQresultStatus(result)) {
    case PGRES_COPY_IN:
        connection->stream.is_end_of_timeline = true;
        *ret_message = (struct wal_message){.kind = WAL_MESSAGE_END_OF_TIMELINE};
        return true;
    case PGRES_COMMAND_OK:
        *ret_message = (struct wal_message){.kind = WAL_MESSAGE_SHUTDOWN};
        return true;
    default:
        return fail(connection, result, what, ret_fault, err);
    }
}

bool wal_stream_receive(struct pg_connection *connection, struct wal_message *ret_message,
                        enum wal_stream_fault *ret_fault, struct error *err)
{
    struct wal_stream_state *stream = &connection->stream;

    PQfreemem(TAKE(stream->message));
    int size = PQgetCopyData(connection->handle, &stream->message, 1);
    if (size == 0) {
        /* Nothing complete is in libpq's memory: take what the socket and TLS hold and look again. */
        if (!PQconsumeInput(connection->handle))
            return fail(connection, NULL, what, ret_fault, err);
        size = PQgetCopyData(connection->handle, &stream->message, 1);
    }
    if (size == 0) {
        *ret_message = (struct wal_message){.kind = WAL_MESSAGE_NOTHING};
        return true;
    }
    if (size == -1)
        return receive_end(connection, ret_message, ret_fault, err);
    if (size < 0)
        return fail(connection, NULL, what, ret_fault, err);
    if (!copy_message_decode_wal((const uint8_t *)stream->message, (size_t)size, ret_message, err)) {
        *ret_fault = WAL_FAULT_OTHER;
        return error_wrap(err, "%s", what);
    }
    if (ret_message->kind == WAL_MESSAGE_DATA)
        stream->received_end.value = ret_message->position.value + ret_message->size;
    return true;
}

bool wal_stream_feedback(struct pg_connection *connection, struct wal_position written, struct wal_position flushed,
                         bool is_reply_requested, struct error *err)
{
    uint8_t payload[COPY_STATUS_SIZE];
    bool is_pending = false;

    copy_message_encode_status(written, flushed, clock_now(), is_reply_requested, payload);
    if (PQputCopyData(connection->handle, (const char *)payload, sizeof payload) != 1)
        return pg_result_error(connection, NULL, "could not send feedback to the server", err);
    return wal_stream_flush(connection, &is_pending, err);
}

bool wal_stream_flush(struct pg_connection *connection, bool *ret_pending, struct error *err)
{
    int left = PQflush(connection->handle);

    if (left < 0)
        return pg_result_error(connection, NULL, "could not send feedback to the server", err);
    *ret_pending = left == 1;
    return true;
}

/* Reads on, unless it takes too long; what libpq could not send yet goes out too. */
static bool read_until(struct pg_connection *connection, int64_t deadline, const char *doing, struct error *err)
{
    int left = PQflush(connection->handle);

    if (left < 0)
        return pg_result_error(connection, NULL, doing, err);
    return pg_wait(connection, (short)(left == 0 ? POLLIN : POLLIN | POLLOUT), deadline, doing, err) &&
           (PQconsumeInput(connection->handle) || pg_result_error(connection, NULL, doing, err));
}

bool wal_stream_stop(struct pg_connection *connection, int64_t deadline, struct error *err)
{
    const char *doing = "could not end the stream in order";
    char **message = &connection->stream.message;
    int size = 0;

    if (PQputCopyEnd(connection->handle, NULL) != 1)
        return pg_result_error(connection, NULL, doing, err);
    for (PQfreemem(TAKE(*message)); size != -1; PQfreemem(TAKE(*message))) {
        size = PQgetCopyData(connection->handle, message, 1);
        if (size < -1)
            return pg_result_error(connection, NULL, doing, err);
        if (size == 0 && !read_until(connection, deadline, doing, err))
            return false;
    }
    while (PQisBusy(connection->handle))
        if (!read_until(connection, deadline, doing, err))
            return false;
    PGresult *result SCOPED(scoped_result) = PQgetResult(connection->handle);
    ExecStatusType status = PQresultStatus(result); /* rows: of a timeline that is over on the server */
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || pg_result_error(connection, result, doing, err);
}

/* Ends our half of the copy and fetches the row that tells the next timeline. */
static bool end_copy(struct pg_connection *connection, const char *doing, PGresult **ret_result, struct error *err)
{
    if (PQputCopyEnd(connection->handle, NULL) != 1)
        return pg_result_error(connection, NULL, doing, err);
    return pg_flush(connection, doing, err) && pg_expect_result(connection, PGRES_TUPLES_OK, doing, ret_result, err);
}

bool wal_stream_finish(struct pg_connection *connection, struct timeline *ret_next,
                       struct wal_position *ret_switched_at, struct error *err)
{
    const char *doing = "could not learn the next timeline";
    struct wal_stream_state *stream = &connection->stream;
    PGresult *result SCOPED(scoped_result) = TAKE(stream->end_result);
    struct timeline next;
    struct wal_position switched_at;

    assert(stream->is_end_of_timeline);
    stream->is_end_of_timeline = false;
    PQfreemem(TAKE(stream->message));
    if (result == NULL && !end_copy(connection, doing, &result, err))
        return false;
    if (!pg_field_timeline(result, 0, 0, doing, &next, err) ||
        !pg_field_position(result, 0, 1, doing, &switched_at, err) || !pg_drain(connection, doing, err))
        return false;
    if (next.value <= stream->timeline.value)
        return error_set(err, ERROR_SERVER, "%s: the server says that timeline %u follows timeline %u", doing,
                         next.value, stream->timeline.value);
    /* Lower is in order: before a promotion the server may have sent half a record. */
    if (switched_at.value > stream->received_end.value)
        return error_set(err, ERROR_SERVER, "%s: the server ended timeline %u without sending all of it", doing,
                         stream->timeline.value);
    *ret_next = next;
    *ret_switched_at = switched_at;
    return true;
}
