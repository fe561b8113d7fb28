#include "jobs/receive/stream_internal.h"

#include <errno.h>

#include "jobs/receive/stream_status_internal.h"
#include "pgcoffer/base/log.h"

#define SECOND             INT64_C(1000000)
#define SYNC_AT_LATEST     SECOND /* under load */
#define STOP_MOST          (2 * SECOND)
#define MESSAGES_A_TURN    64 /* at most 8 MB between two looks at everything else */
#define SEGMENT_HEADER_LEN 40

/* Where no commit waits for us the disk rests ten times as long as it was busy, within these bounds. */
#define REST_FACTOR 10
#define REST_LEAST  (SECOND / 50)
#define REST_MOST   (SECOND / 5)
/* So far behind the server nobody waits for us yet: it counts those only that have caught up. */
#define CATCHING_UP ((uint64_t)16 << 20)

static int64_t rest_after(int64_t busy)
{
    int64_t rest = REST_FACTOR * busy;

    return rest < REST_LEAST ? REST_LEAST : rest > REST_MOST ? REST_MOST : rest;
}

static void drop_partial(struct receive_stream *stream)
{
    wal_partial_free(stream->partial);
    stream->partial = NULL;
    stream->unsynced_since = 0;
}

static bool sync_partial(struct receive_stream *stream, struct error *err)
{
    stream->unsynced_since = 0;
    if (stream->partial == NULL || wal_partial_durable(stream->partial) == wal_partial_held(stream->partial))
        return true;
    int64_t began = clock_monotonic();
    bool is_durable = wal_partial_sync(stream->partial, err);
    int64_t now = clock_monotonic();
    stream->rested_at = now + rest_after(now - began);
    if (is_durable)
        return true;
    drop_partial(stream);
    return false;
}

/* A segment that is finished already is compared instead. */
static bool open_partial(struct receive_stream *stream, struct error *err)
{
    struct receiver *receiver = stream->receiver;

    if (!receive_room_demand(receiver, receive_stream_segment(stream), err))
        return false;
    if (wal_partial_open(&receiver->archive, receive_stream_segment(stream), &stream->partial, err))
        return true;
    stream->is_comparing = err->kind == ERROR_BUSY;
    receiver->room.has_segment = room_is_short(err);
    receiver->room.segment = receive_stream_segment(stream);
    return stream->is_comparing;
}

static bool finish_segment(struct receive_stream *stream, struct wal_segment segment, struct error *err)
{
    struct receiver *receiver = stream->receiver;

    if (stream->is_comparing) {
        stream->is_comparing = false;
        return true;
    }
    if (!sync_partial(stream, err))
        return false;
    bool done = wal_partial_finish(stream->partial, err);
    drop_partial(stream);
    if (!done) {
        receiver->is_to_recover = true;
        return false;
    }
    receive_compressor_add(receiver->compressor, segment);
    return true;
}

/* `size` bytes that lie within one segment. */
static bool take_piece(struct receive_stream *stream, struct wal_segment segment, uint32_t offset, const uint8_t *bytes,
                       size_t size, struct error *err)
{
    struct receiver *receiver = stream->receiver;
    struct wal_segment_size segment_size = receiver->archive.segment_size;

    if (offset == 0 && size >= SEGMENT_HEADER_LEN &&
        !wal_segment_check_header(bytes, size, segment, segment_size, system_id_value(&receiver->archive.system), err))
        return error_wrap(err, "the server sent something that is not its WAL");
    if (stream->partial == NULL && !stream->is_comparing && !open_partial(stream, err))
        return false;
    if (stream->is_comparing)
        return wal_archive_compare(&receiver->archive, segment, offset, bytes, size, err);
    if (!wal_partial_write(stream->partial, offset, bytes, size, err))
        return false;
    if (stream->unsynced_since == 0 && wal_partial_held(stream->partial) > wal_partial_durable(stream->partial))
        stream->unsynced_since = clock_monotonic();
    return true;
}

/* A piece, and with its last one the segment. */
static bool store_piece(struct receive_stream *stream, struct wal_segment segment, uint32_t offset,
                        const uint8_t *bytes, size_t size, bool is_last, struct error *err)
{
    stream_status_enter_disk(stream);
    bool ok =
        take_piece(stream, segment, offset, bytes, size, err) && (!is_last || finish_segment(stream, segment, err));
    stream_status_leave_disk(stream);
    return ok;
}

static bool take_data(struct receive_stream *stream, const struct wal_message *message, struct error *err)
{
    struct wal_segment_size segment_size = stream->receiver->archive.segment_size;
    char got[WAL_POSITION_TEXT_SIZE], expected[WAL_POSITION_TEXT_SIZE];

    if (message->position.value != stream->next.value) {
        wal_position_format(message->position, got);
        wal_position_format(stream->next, expected);
        return error_set(err, ERROR_SERVER, "the server sent WAL from %s, expected %s", got, expected);
    }
    stream->receiver->is_lost = false;
    stream->receiver->doubt.since = 0;
    for (size_t done = 0, piece; done < message->size; done += piece) {
        struct wal_segment segment = receive_stream_segment(stream);
        uint32_t offset = (uint32_t)(stream->next.value - wal_segment_start(segment, segment_size).value);
        piece = message->size - done;
        if (piece > segment_size.bytes - offset)
            piece = segment_size.bytes - offset;
        /* `next` stays within the segment until that is durable: without a partial all before `next` counts as such. */
        bool is_whole = offset + piece == segment_size.bytes;
        if (!store_piece(stream, segment, offset, message->bytes + done, piece, is_whole, err))
            return false;
        stream->next.value += piece;
        stream->receiver->report.received_bytes += piece;
        if (is_whole && !stream_status_send(stream, false, err))
            return false;
    }
    if (stream->next.value >= message->server_end.value)
        stream->receiver->gaps.is_slot_lost = false; /* it went well without it */
    return true;
}

/* A fast shutdown of the server waits until flushed is what it has sent. */
static bool answer(struct receive_stream *stream, struct error *err)
{
    stream_status_enter_disk(stream);
    bool is_durable = sync_partial(stream, err);
    stream_status_leave_disk(stream);
    return is_durable && stream_status_send(stream, false, err);
}

/* On an idle server nothing is written; so that a moment without transactions counts as received, it is noted. */
static void note_completeness(struct receive_stream *stream)
{
    struct wal_complete noted;

    if (!receive_completeness_is_due(&stream->completeness, stream_status_dependable_end(stream)))
        return;
    stream_status_enter_disk(stream);
    if (receive_completeness_note(&stream->completeness, &stream->receiver->archive, stream->timeline, &noted))
        receive_report_complete(&stream->receiver->report, stream->timeline, &noted);
    stream_status_leave_disk(stream);
}

static enum receive_stream_end take_message(struct receive_stream *stream, const struct wal_message *message,
                                            struct error *err)
{
    bool ok = true;

    if (message->kind == WAL_MESSAGE_DATA || message->kind == WAL_MESSAGE_KEEPALIVE) {
        stream_status_hear(stream);
        stream->server_end = message->server_end;
        receive_report_server(&stream->receiver->report, message->server_end);
    }
    switch (message->kind) {
    case WAL_MESSAGE_NOTHING:
        break;
    case WAL_MESSAGE_DATA:
        ok = take_data(stream, message, err);
        receive_completeness_data(&stream->completeness, message, stream->next);
        break;
    case WAL_MESSAGE_KEEPALIVE:
        ok = (!message->is_reply_requested || answer(stream, err)) &&
             (!receive_completeness_keepalive(&stream->completeness, message, stream->next) ||
              stream_status_send(stream, true, err));
        break;
    case WAL_MESSAGE_END_OF_TIMELINE:
        return RECEIVE_STREAM_END_OF_TIMELINE;
    case WAL_MESSAGE_SHUTDOWN:
        return RECEIVE_STREAM_SHUTDOWN;
    }
    return ok ? RECEIVE_STREAM_GOES_ON : RECEIVE_STREAM_FAULT;
}

static enum receive_stream_end take_messages(struct receive_stream *stream, bool *ret_drained,
                                             enum wal_stream_fault *ret_fault, struct error *err)
{
    struct wal_message message;

    *ret_drained = false;
    for (int i = 0; i < MESSAGES_A_TURN && !*ret_drained; i++) {
        if (!wal_stream_receive(stream->connection, &message, ret_fault, err))
            return *ret_fault == WAL_FAULT_INTERRUPTED ? RECEIVE_STREAM_INTERRUPTED : RECEIVE_STREAM_FAULT;
        *ret_drained = message.kind == WAL_MESSAGE_NOTHING;
        enum receive_stream_end end = take_message(stream, &message, err);
        if (end != RECEIVE_STREAM_GOES_ON)
            return end;
    }
    stream_status_report(stream);
    return RECEIVE_STREAM_GOES_ON;
}

static int64_t sync_due(const struct receive_stream *stream, bool is_drained)
{
    if (stream->unsynced_since == 0)
        return INT64_MAX;
    if (stream->next.value + CATCHING_UP < stream->server_end.value)
        return stream->unsynced_since + SYNC_AT_LATEST;
    if (receive_sync_is_at_once(&stream->receiver->sync))
        return stream->unsynced_since;
    int64_t latest = stream->unsynced_since + SYNC_AT_LATEST;
    return is_drained && stream->rested_at < latest ? stream->rested_at : latest;
}

/* What time brings: syncs, our own status, a connection that is dead. */
static bool tend(struct receive_stream *stream, bool is_drained, struct error *err)
{
    int64_t now = clock_monotonic();

    if (now >= sync_due(stream, is_drained) && !answer(stream, err))
        return false;
    note_completeness(stream);
    if (!stream_status_is_heard(stream, err))
        return false;
    if (now >= stream->status_at)
        return stream_status_send(stream, stream_status_is_quiet(stream), err);
    return !stream->is_output_pending || wal_stream_flush(stream->connection, &stream->is_output_pending, err);
}

static int64_t next_due(const struct receive_stream *stream, bool is_drained)
{
    if (!is_drained)
        return 0;
    int64_t due = sync_due(stream, is_drained);
    return due < stream->status_at ? due : stream->status_at;
}

/* Bytes held from before are opened now, so that they are durable before anything counts them. */
static bool begin(struct receive_stream *stream, struct error *err)
{
    struct receiver *receiver = stream->receiver;
    struct wal_file file;

    if (receiver->acknowledged_timeline.value != stream->timeline.value) {
        receiver->acknowledged_timeline = stream->timeline;
        receiver->acknowledged = (struct wal_position){0};
    }
    stream_status_enter_disk(stream);
    bool is_open = receive_room_demand(receiver, receive_stream_segment(stream), err) &&
                   wal_archive_stat(&receiver->archive, receive_stream_segment(stream), &file, err) &&
                   (file.state != WAL_FILE_PARTIAL || open_partial(stream, err));
    stream_status_leave_disk(stream);
    return is_open && stream_status_send(stream, false, err);
}

static enum receive_stream_end end_of_wait(enum receive_wake wake)
{
    switch (wake) {
    case RECEIVE_WAKE_INTERRUPTED:
        return RECEIVE_STREAM_INTERRUPTED;
    case RECEIVE_WAKE_RENEWED:
        return RECEIVE_STREAM_RENEWED;
    case RECEIVE_WAKE_SOCKET:
    case RECEIVE_WAKE_TIME:
        break;
    }
    return RECEIVE_STREAM_GOES_ON;
}

static enum receive_stream_end run(struct receive_stream *stream, enum wal_stream_fault *ret_fault, struct error *err)
{
    enum receive_stream_end end = RECEIVE_STREAM_GOES_ON;
    bool is_drained = false;

    if (!begin(stream, err))
        return RECEIVE_STREAM_FAULT;
    receive_report_state(&stream->receiver->report, RECEIVE_STREAMING, NULL);
    while (end == RECEIVE_STREAM_GOES_ON) {
        end = take_messages(stream, &is_drained, ret_fault, err);
        if (end != RECEIVE_STREAM_GOES_ON)
            return end;
        if (!tend(stream, is_drained, err))
            return RECEIVE_STREAM_FAULT;
        int64_t until = next_due(stream, is_drained);
        end = end_of_wait(
            receiver_wait(stream->receiver, pg_socket(stream->connection), stream->is_output_pending, until));
    }
    return end;
}

enum receive_stream_end receive_stream_run(struct receive_stream *stream, enum wal_stream_fault *ret_fault,
                                           struct error *err)
{
    struct error ignored;

    *ret_fault = WAL_FAULT_OTHER;
    stream_status_begin(stream);
    enum receive_stream_end end = run(stream, ret_fault, err);
    bool has_failed_storage = end == RECEIVE_STREAM_FAULT && err->kind == ERROR_STORAGE;
    receive_lifeline_free(TAKE(stream->lifeline));
    if (!has_failed_storage && !sync_partial(stream, err))
        end = RECEIVE_STREAM_FAULT;
    stream->completeness.note_at = 0; /* what the server said last may be the last there is */
    note_completeness(stream);
    /* The last word: what is durable need not be sent again. Nobody listens after the other ends. */
    if ((end == RECEIVE_STREAM_INTERRUPTED || end == RECEIVE_STREAM_RENEWED) &&
        !stream_status_send(stream, false, &ignored))
        log_debug("%s", ignored.message);
    /* Only so that the next connection finds the slot free; otherwise it is waited for. */
    if (end == RECEIVE_STREAM_RENEWED && !wal_stream_stop(stream->connection, clock_monotonic() + STOP_MOST, &ignored))
        log_debug("%s", ignored.message);
    stream_status_acknowledge(stream);
    stream_status_report(stream);
    drop_partial(stream);
    return end;
}
