#ifndef PGCOFFER_SRC_JOBS_RECEIVE_STREAM_STATUS_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_STREAM_STATUS_INTERNAL_H

#include "jobs/receive/stream_internal.h"

/*
 * What the server and we say to one another beside the WAL: the status that counts as flushed, how often it is said,
 * and when a silence means that the connection is dead. Nothing is heard while the stream is at the disk, so no silence
 * is longer than the time since it came back.
 *
 * A new connection may lead to another server than the last one, a copy that has gone on by itself. So it is told of no
 * byte that it has not sent itself. A server that has no more than what is held up to here cannot send any; it is told
 * so at once, for a commit may wait for just that word.
 */

/* Before the first word: the lifeline, which is freed by its owner. */
void stream_status_begin(struct receive_stream *stream);
bool stream_status_send(struct receive_stream *stream, bool is_reply_requested, struct error *err) NODISCARD;
/* For the receiver's report, and for what it remembers. */
void stream_status_report(struct receive_stream *stream);
void stream_status_acknowledge(struct receive_stream *stream);
/* What a backup relies on. */
struct wal_position stream_status_dependable_end(const struct receive_stream *stream);

/* ---- silence ---- */
void stream_status_hear(struct receive_stream *stream);
/* SERVER when it has been silent for too long. */
bool stream_status_is_heard(const struct receive_stream *stream, struct error *err) NODISCARD;
/* So long that an answer should be asked for. */
bool stream_status_is_quiet(const struct receive_stream *stream);

/* Around whatever may take the disk long: the lifeline speaks meanwhile. */
void stream_status_enter_disk(struct receive_stream *stream);
void stream_status_leave_disk(struct receive_stream *stream);

#endif
