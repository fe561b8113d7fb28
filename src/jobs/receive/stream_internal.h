#ifndef PGCOFFER_SRC_JOBS_RECEIVE_STREAM_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_STREAM_INTERNAL_H

#include "jobs/receive/completeness_internal.h"
#include "jobs/receive/lifeline_internal.h"
#include "jobs/receive/receiver_internal.h"
#include "pgcoffer/pg/wal_stream.h"

/*
 * The bytes of one timeline, from START_REPLICATION to its end: into SEG.partial, fdatasync, feedback. The flush
 * position never counts a byte that was not both fdatasynced and, after a start, received again and found equal.
 */
struct receive_stream {
    struct receiver *receiver;
    struct pg_connection *connection;
    struct timeline timeline;
    struct wal_position next;            /* the server's next byte; at first a segment's first one */
    struct wal_position slot_position;   /* below it no flush is reported: the slot would go back; moves on */
    struct wal_position server_position; /* where its WAL ended before; up to there it sends in any case */
    int64_t server_patience;             /* wal_sender_timeout in microseconds; 0: none, or it is not known */

    struct wal_partial *partial;    /* the segment that holds `next`; NULL on its first byte */
    bool is_comparing;              /* that segment is finished already: its bytes must be the same */
    int64_t unsynced_since;         /* monotonic; 0: nothing unsynced */
    int64_t rested_at;              /* monotonic: when the disk has rested enough for a sync that nobody waits for */
    int64_t heard_at, status_at;    /* last message; next status of our own */
    int64_t left_disk_at;           /* what it said meanwhile may wait to be read */
    struct wal_position began_at;   /* the first `next` */
    struct wal_position server_end; /* as the last message says */
    struct wal_position said_written, said_flushed;
    struct receive_lifeline *lifeline;
    struct receive_completeness completeness; /* its beginning is the caller's */
    bool is_output_pending;
};

static inline struct wal_segment receive_stream_segment(const struct receive_stream *stream)
{
    return wal_segment_at(stream->timeline, stream->next, stream->receiver->archive.segment_size);
}

enum receive_stream_end {
    RECEIVE_STREAM_GOES_ON, /* never returned by receive_stream_run() */
    RECEIVE_STREAM_END_OF_TIMELINE,
    RECEIVE_STREAM_SHUTDOWN,
    RECEIVE_STREAM_INTERRUPTED,
    RECEIVE_STREAM_RENEWED, /* ended in order from our side, to go on with renewed certificates */
    RECEIVE_STREAM_FAULT,
};
/* After wal_stream_start(). Whatever the end, what was received is synced if it can be. *err with FAULT only. */
enum receive_stream_end receive_stream_run(struct receive_stream *stream, enum wal_stream_fault *ret_fault,
                                           struct error *err);

#endif
