#include "jobs/receive/stream_status_internal.h"

#include <inttypes.h>

#include "pgcoffer/base/log.h"

#define SECOND       INT64_C(1000000)
#define STATUS_EVERY (10 * SECOND)

/* The server answers every status that asks for it, and gives up one that is silent for wal_sender_timeout. We do as
 * much, within these bounds: then the connection is dead, whatever TCP believes. */
#define SILENCE_LEAST (5 * SECOND)
#define SILENCE_MOST  (60 * SECOND)
/* It is spoken to four times before it gives us up, however long the disk takes. */
#define PATIENCE_PARTS 4
#define PATIENCE_LEAST (SECOND / 20)

/* ---- positions ---- */

/* The bytes that lie durable under their name, and all before them. */
static struct wal_position stored_end(const struct receive_stream *stream)
{
    struct wal_segment_size segment_size = stream->receiver->archive.segment_size;
    struct wal_position end = wal_segment_start(receive_stream_segment(stream), segment_size);

    if (stream->partial != NULL)
        end.value += wal_partial_durable(stream->partial);
    return end;
}

static struct wal_position earlier(struct wal_position left, struct wal_position right)
{
    return left.value < right.value ? left : right;
}

/* What may be reported as flushed: durable, and received from this server or compared with what it sent. */
static struct wal_position durable_end(const struct receive_stream *stream)
{
    return stream->is_comparing ? stream->next : earlier(stored_end(stream), stream->next);
}

void stream_status_acknowledge(struct receive_stream *stream)
{
    struct wal_position durable = durable_end(stream);

    if (durable.value > stream->receiver->acknowledged.value)
        stream->receiver->acknowledged = durable;
}

/*
 * Of what was acknowledged, that which lies durable under its name now. A file that was set aside takes its bytes along
 * until they are received again.
 */
struct wal_position stream_status_dependable_end(const struct receive_stream *stream)
{
    struct wal_position acknowledged = stream->receiver->acknowledged;

    return stream->is_comparing ? acknowledged : earlier(stored_end(stream), acknowledged);
}

void stream_status_report(struct receive_stream *stream)
{
    struct receiver *receiver = stream->receiver;
    struct wal_position received = stream->next;

    if (received.value < receiver->acknowledged.value)
        received = receiver->acknowledged;
    receive_report_positions(&receiver->report, stream->timeline, received, stream_status_dependable_end(stream));
}

/* ---- the status ---- */

static int64_t within(int64_t least, int64_t value, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

static int64_t silence_most(const struct receive_stream *stream)
{
    return stream->server_patience == 0 ? SILENCE_MOST : within(SILENCE_LEAST, stream->server_patience, SILENCE_MOST);
}

/* Six times before the silence is too long, so that a lost answer does not count. */
static int64_t status_every(const struct receive_stream *stream)
{
    return within(SECOND / 2, silence_most(stream) / 6, STATUS_EVERY);
}

/* 0, which is "unknown", for what the server has not sent over this connection. */
static struct wal_position said_by_server(const struct receive_stream *stream, struct wal_position position)
{
    bool has_no_more = stream->server_position.value <= stream->began_at.value;

    return position.value > stream->began_at.value || has_no_more ? position : (struct wal_position){0};
}

bool stream_status_send(struct receive_stream *stream, bool is_reply_requested, struct error *err)
{
    struct wal_position written = said_by_server(stream, stream->next);
    struct wal_position flushed = said_by_server(stream, durable_end(stream));

    stream_status_acknowledge(stream);
    if (flushed.value < stream->slot_position.value)
        flushed.value = 0; /* the slot stays where it is */
    else
        stream->slot_position = flushed;
    stream_status_report(stream);
    stream->status_at = clock_monotonic() + status_every(stream);
    stream->said_written = written;
    stream->said_flushed = flushed;
    if (is_reply_requested)
        receive_completeness_asked(&stream->completeness);
    receive_lifeline_note_word(stream->lifeline);
    return wal_stream_feedback(stream->connection, written, flushed, is_reply_requested, err) &&
           wal_stream_flush(stream->connection, &stream->is_output_pending, err);
}

/*
 * What the lifeline says while the stream is at the disk, to the server and to the supervisor, which it would otherwise
 * seem to have died to. A failure shows itself when the stream speaks again.
 */
static void repeat_status(void *context)
{
    const struct receive_stream *stream = context;
    struct error ignored;

    (void)!worker_say_alive(stream->receiver->worker, &ignored);
    if (!wal_stream_feedback(stream->connection, stream->said_written, stream->said_flushed, false, &ignored))
        return;
}

void stream_status_begin(struct receive_stream *stream)
{
    bool waits_for_ever = stream->server_patience == 0; /* the supervisor does not */
    int64_t patience =
        waits_for_ever ? STATUS_EVERY : within(PATIENCE_LEAST, stream->server_patience / PATIENCE_PARTS, STATUS_EVERY);
    struct error err;

    stream->began_at = stream->next;
    stream_status_hear(stream);
    if (!receive_lifeline_new(patience, repeat_status, stream, &stream->lifeline, &err))
        log_failure(LOG_LEVEL_WARNING, &err);
}

/* ---- silence ---- */

void stream_status_hear(struct receive_stream *stream)
{
    stream->heard_at = clock_monotonic();
}

static int64_t silence(const struct receive_stream *stream)
{
    int64_t since = stream->heard_at > stream->left_disk_at ? stream->heard_at : stream->left_disk_at;

    return clock_monotonic() - since;
}

bool stream_status_is_heard(const struct receive_stream *stream, struct error *err)
{
    int64_t length = silence(stream);

    return length < silence_most(stream) ||
           error_set(err, ERROR_SERVER, "the server has been silent for %" PRId64 " s", length / SECOND);
}

bool stream_status_is_quiet(const struct receive_stream *stream)
{
    return silence(stream) >= status_every(stream) / 2;
}

void stream_status_enter_disk(struct receive_stream *stream)
{
    receive_lifeline_enter(stream->lifeline);
}

void stream_status_leave_disk(struct receive_stream *stream)
{
    receive_lifeline_leave(stream->lifeline);
    stream->left_disk_at = clock_monotonic();
}
