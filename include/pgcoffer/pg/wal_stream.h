#ifndef PGCOFFER_PG_WAL_STREAM_H
#define PGCOFFER_PG_WAL_STREAM_H

#include "pgcoffer/base/clock.h"
#include "pgcoffer/pg/connection.h"

/*
 * START_REPLICATION as messages. The caller polls pg_socket() itself and calls wal_stream_receive() until it gives
 * NOTHING (TLS may hold bytes the socket no longer shows).
 */
enum wal_message_kind {
    WAL_MESSAGE_NOTHING,         /* nothing more now: poll */
    WAL_MESSAGE_DATA,            /* bytes, from `position` */
    WAL_MESSAGE_KEEPALIVE,       /* server_end, reply_requested */
    WAL_MESSAGE_END_OF_TIMELINE, /* the server half closed: call wal_stream_finish() */
    WAL_MESSAGE_SHUTDOWN,        /* the server ended the stream in order (fast or smart shutdown): reconnect later */
};
struct wal_message {
    enum wal_message_kind kind;
    struct wal_position position;
    const uint8_t *bytes; /* live until the next receive */
    size_t size;
    struct wal_position server_end;
    struct timestamp sent_at; /* the server's clock */
    bool is_reply_requested;
};

/* What the caller may want to act upon, beside the words: */
enum wal_stream_fault {
    WAL_FAULT_OTHER,
    WAL_FAULT_SLOT_MISSING,   /* 42704 */
    WAL_FAULT_SLOT_ACTIVE,    /* 55006: the old walsender still holds it; wait and retry */
    WAL_FAULT_SLOT_LOST,      /* 55000: invalidated */
    WAL_FAULT_REMOVED,        /* "requested WAL segment ... has already been removed" */
    WAL_FAULT_AHEAD,          /* "ahead of the WAL flush position" */
    WAL_FAULT_NOT_IN_HISTORY, /* the timeline or the position on it is not in this server's history */
    WAL_FAULT_CONNECTION,     /* the connection is gone */
    WAL_FAULT_INTERRUPTED,
};

/*
 * `position` must be a segment's first byte; the timeline is always stated. A historic timeline with nothing left to
 * send gives *ret_at_end true at once (then wal_stream_finish()). `slot` "" means none.
 */
bool wal_stream_start(struct pg_connection *connection, const char *slot, struct timeline timeline,
                      struct wal_position position, bool *ret_at_end, enum wal_stream_fault *ret_fault,
                      struct error *err) NODISCARD;
bool wal_stream_receive(struct pg_connection *connection, struct wal_message *ret_message,
                        enum wal_stream_fault *ret_fault, struct error *err) NODISCARD;
/* Standby status update; flushes what the socket takes, and the rest with wal_stream_flush(). */
bool wal_stream_feedback(struct pg_connection *connection, struct wal_position written, struct wal_position flushed,
                         bool is_reply_requested, struct error *err) NODISCARD;
/* *ret_pending: output is left; poll for POLLOUT too. */
bool wal_stream_flush(struct pg_connection *connection, bool *ret_pending, struct error *err) NODISCARD;
/*
 * Ends the stream from our side and in order, so that the server has let go of the slot when this returns: what it had
 * under way is read and dropped. A server that has not answered by `deadline` (clock_monotonic()) is no longer waited
 * for. Afterwards the connection is good for pg_disconnect() only.
 */
bool wal_stream_stop(struct pg_connection *connection, int64_t deadline, struct error *err) NODISCARD;
/* After END_OF_TIMELINE or at_end: what comes next. The connection can then be used again. */
bool wal_stream_finish(struct pg_connection *connection, struct timeline *ret_next,
                       struct wal_position *ret_switched_at, struct error *err) NODISCARD;

#endif
