#include "jobs/receive/filler_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "jobs/room_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/pg/wal_stream.h"
#include "pgcoffer/repo/wal_contents.h"

#define SECOND             INT64_C(1000000)
#define STATUS_EVERY       (10 * SECOND)
#define SILENCE_MOST       (60 * SECOND)
#define SEGMENT_HEADER_LEN 40

/* One host, from START_REPLICATION to the end of what is wanted. */
struct fetch {
    struct filler_task *task;
    struct pg_connection *connection;
    struct wal_position next;
    struct wal_position end; /* the first byte that is not wanted any more */
    struct wal_partial *partial;
    struct wal_walk *walk; /* reads all that comes, and what is held on both sides of it */
    bool is_replacing;     /* the segment at hand is there, and damaged */
    bool is_passed_by;     /* it is there: its bytes are not wanted */
    int64_t heard_at, status_at;
};

static void scoped_fetch(struct fetch *fetch)
{
    struct error ignored; /* the next fetch takes the file over */

    bool is_taken_back = fetch->partial == NULL || wal_partial_take_back(fetch->partial, &ignored);
    (void)is_taken_back;
    wal_partial_free(fetch->partial);
    wal_walk_free(fetch->walk);
    pg_disconnect(fetch->connection);
}

static bool ignore_event(void *context, const struct wal_event *event, struct error *err)
{
    (void)context;
    (void)event;
    (void)err;
    return true;
}

static struct wal_segment segment_at_next(const struct fetch *fetch)
{
    return wal_segment_at(fetch->task->gap.timeline, fetch->next, fetch->task->archive.segment_size);
}

/* ---- the segment at hand ---- */

/*
 * A raw one is going to be compressed, damaged as it is, and replaced then; but one of the wrong size never will be.
 */
static bool is_replaceable(const struct filler_task *task, const struct wal_file *file)
{
    return file->state == WAL_FILE_COMPRESSED ||
           (file->state == WAL_FILE_RAW && file->stored_bytes != task->archive.segment_size.bytes);
}

/* The stream's next segments come first, and those that wait for their compression lie raw meanwhile. */
static bool demand_room(const struct filler_task *task, struct error *err)
{
    const struct wal_archive *archive = &task->archive;
    char *folder SCOPED(scoped_free) = room_folder(archive->repo, archive->server);
    char free_text[TEXT_BYTES_SIZE];
    struct room room;

    if (!room_read(folder, &room, err))
        return false;
    if (room_has_segment(&room, archive->segment_size, 0) &&
        room_spares(&room, task->server->settings.wal_reserve, archive->segment_size.bytes))
        return true;
    text_format_bytes(room.free_bytes, free_text);
    error_set(err, ERROR_STORAGE, "there is no room for it beside wal_reserve: %s are free", free_text);
    err->errnum = ENOSPC;
    return false;
}

static bool is_damaged(const struct filler_task *task, const struct wal_file *file, bool *ret_is_damaged,
                       struct error *err)
{
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};

    *ret_is_damaged = false;
    if (task->gap.reason != WAL_GAP_DAMAGED)
        return true;
    if (!wal_gaps_read(&task->archive, &record, err))
        return false;
    *ret_is_damaged = wal_gaps_damage(&task->archive, &record, file) != NULL;
    return true;
}

static bool begin_segment(struct fetch *fetch, struct error *err)
{
    struct filler_task *task = fetch->task;
    struct wal_segment segment = segment_at_next(fetch);
    struct wal_file file;
    bool is_wanted = false;

    if (!wal_archive_stat(&task->archive, segment, &file, err) || !is_damaged(task, &file, &is_wanted, err))
        return false;
    fetch->is_replacing = is_wanted && is_replaceable(task, &file);
    fetch->is_passed_by = !fetch->is_replacing && file.state != WAL_FILE_MISSING && file.state != WAL_FILE_PARTIAL;
    if (fetch->is_passed_by)
        return true;
    if (!demand_room(task, err))
        return false;
    if (fetch->is_replacing)
        return wal_partial_open_beside(&task->archive, segment, &fetch->partial, err);
    return wal_partial_open(&task->archive, segment, &fetch->partial, err);
}

static bool finish_segment(struct fetch *fetch, struct wal_segment segment, struct error *err)
{
    struct filler_task *task = fetch->task;

    if (fetch->is_passed_by)
        return true;
    bool done =
        wal_partial_sync(fetch->partial, err) &&
        (fetch->is_replacing ? wal_partial_replace(fetch->partial, err) : wal_partial_finish(fetch->partial, err));
    wal_partial_free(fetch->partial);
    fetch->partial = NULL;
    if (!done || (task->gap.reason == WAL_GAP_DAMAGED && !wal_gaps_mend(&task->archive, segment, err)))
        return false;
    task->finished[task->finished_count] = segment;
    __atomic_store_n(&task->finished_count, task->finished_count + 1, __ATOMIC_RELEASE);
    eventfd_write(task->finished_fd, 1);
    task->has_advanced = true;
    return true;
}

/* `size` bytes that lie within one segment. */
static bool take_piece(struct fetch *fetch, const uint8_t *bytes, size_t size, struct error *err)
{
    const struct wal_archive *archive = &fetch->task->archive;
    struct wal_segment segment = segment_at_next(fetch);
    uint32_t offset = (uint32_t)(fetch->next.value - wal_segment_start(segment, archive->segment_size).value);

    if (offset == 0 && size >= SEGMENT_HEADER_LEN &&
        !wal_segment_check_header(bytes, size, segment, archive->segment_size, system_id_value(&archive->system), err))
        return error_wrap(err, "the server sent something that is not its WAL");
    if (offset == 0 && (!begin_segment(fetch, err) || !wal_walk_enter_behind(fetch->walk, segment, err)))
        return false;
    bool is_last = offset + size == archive->segment_size.bytes;
    if (!wal_walk_feed(fetch->walk, bytes, size, err) || (is_last && !wal_walk_joins_next(fetch->walk, err)))
        return error_wrap(err, "its WAL does not fit what is held on both sides");
    if (!fetch->is_passed_by && !wal_partial_write(fetch->partial, offset, bytes, size, err))
        return false;
    if (is_last && !finish_segment(fetch, segment, err))
        return false;
    fetch->next.value += size;
    return true;
}

static bool take_data(struct fetch *fetch, const struct wal_message *message, struct error *err)
{
    uint32_t segment_bytes = fetch->task->archive.segment_size.bytes;
    uint64_t wanted = fetch->end.value - fetch->next.value;
    size_t size = message->size < wanted ? message->size : (size_t)wanted;
    char got[WAL_POSITION_TEXT_SIZE], expected[WAL_POSITION_TEXT_SIZE];

    if (message->position.value != fetch->next.value) {
        wal_position_format(message->position, got);
        wal_position_format(fetch->next, expected);
        return error_set(err, ERROR_SERVER, "the server sent WAL from %s, expected %s", got, expected);
    }
    for (size_t done = 0, piece; done < size; done += piece) {
        size_t left = segment_bytes - fetch->next.value % segment_bytes;
        piece = size - done < left ? size - done : left;
        if (!take_piece(fetch, message->bytes + done, piece, err))
            return false;
    }
    return true;
}

/* ---- the stream ---- */

static bool send_status(struct fetch *fetch, struct error *err)
{
    fetch->status_at = clock_monotonic() + STATUS_EVERY;
    return wal_stream_feedback(fetch->connection, fetch->next, (struct wal_position){0},
                               clock_monotonic() - fetch->heard_at >= STATUS_EVERY / 2, err);
}

static bool wait_for_more(struct fetch *fetch, struct error *err)
{
    struct pollfd descriptors[] = {{.fd = pg_socket(fetch->connection), .events = POLLIN},
                                   {.fd = fetch->task->interrupt_fd, .events = POLLIN}};
    int64_t left = fetch->status_at - clock_monotonic();

    if (clock_monotonic() - fetch->heard_at >= SILENCE_MOST)
        return error_set(err, ERROR_SERVER, "the server has been silent for %" PRId64 " s", SILENCE_MOST / SECOND);
    if (left <= 0)
        return send_status(fetch, err);
    if (poll(descriptors, 2, (int)(left / 1000) + 1) > 0 && descriptors[1].revents != 0) {
        error_set(err, ERROR_FAILED, "interrupted");
        err->errnum = ECANCELED;
        return false;
    }
    return true;
}

/* *ret_is_over: the server has no more of this timeline. */
static bool take_message(struct fetch *fetch, const struct wal_message *message, bool *ret_is_over, struct error *err)
{
    if (message->kind != WAL_MESSAGE_NOTHING)
        fetch->heard_at = clock_monotonic();
    switch (message->kind) {
    case WAL_MESSAGE_NOTHING:
        return wait_for_more(fetch, err);
    case WAL_MESSAGE_DATA:
        return take_data(fetch, message, err);
    case WAL_MESSAGE_KEEPALIVE:
        return !message->is_reply_requested || send_status(fetch, err);
    case WAL_MESSAGE_END_OF_TIMELINE:
        *ret_is_over = true;
        return true;
    case WAL_MESSAGE_SHUTDOWN:
        return error_set(err, ERROR_SERVER, "the server ended the stream: it is shutting down");
    }
    return true;
}

static bool receive(struct fetch *fetch, enum wal_stream_fault *ret_fault, struct error *err)
{
    struct wal_message message;
    bool is_over = false;

    fetch->heard_at = clock_monotonic();
    fetch->status_at = fetch->heard_at + STATUS_EVERY;
    while (!is_over && fetch->next.value < fetch->end.value)
        if (!wal_stream_receive(fetch->connection, &message, ret_fault, err) ||
            !take_message(fetch, &message, &is_over, err))
            return false;
    return true;
}

/*
 * Of the last segment before a fork only a part exists. Any other part is not kept: nothing has shown yet that its last
 * record is the server's whose WAL is held.
 */
static bool keep_part(struct fetch *fetch, struct error *err)
{
    if (fetch->partial == NULL || fetch->is_replacing)
        return true;
    if (!filler_check_fork(&fetch->task->archive, fetch->task->gap.timeline, fetch->next, err) ||
        !wal_partial_sync(fetch->partial, err))
        return false;
    wal_partial_free(fetch->partial);
    fetch->partial = NULL;
    fetch->task->has_advanced = fetch->task->has_advanced || fetch->next.value > fetch->task->gap.start.value;
    return true;
}

/* ---- one host ---- */

/* As far as this task may go from `next` on. */
static struct wal_position most_end(const struct filler_task *task, struct wal_position next)
{
    struct wal_segment_size size = task->archive.segment_size;
    struct wal_segment most = wal_segment_at(task->gap.timeline, next, size);
    most.number += FILLER_MOST_SEGMENTS - task->finished_count;
    struct wal_position end = wal_segment_start(most, size);

    return end.value < task->gap.end.value ? end : task->gap.end;
}

/*
 * The server has removed what begins at `next`, and perhaps not all that follows: the middle of what is left is tried.
 * What lies before it another look finds, or another host.
 */
static bool skip_half(struct fetch *fetch)
{
    const struct filler_task *task = fetch->task;
    struct wal_segment_size size = task->archive.segment_size;
    struct wal_segment first = segment_at_next(fetch);
    uint64_t left = wal_segment_before(task->gap.timeline, task->gap.end, size).number - first.number;

    if (left == 0 || fetch->next.value != wal_segment_start(first, size).value)
        return false;
    first.number += (left + 1) / 2;
    fetch->next = wal_segment_start(first, size);
    fetch->end = most_end(task, fetch->next);
    return true;
}

static bool stream(struct fetch *fetch, enum wal_stream_fault *ret_fault, struct error *err)
{
    struct timeline timeline = fetch->task->gap.timeline;
    bool is_at_end = false;

    *ret_fault = WAL_FAULT_OTHER;
    return wal_stream_start(fetch->connection, "", timeline, fetch->next, &is_at_end, ret_fault, err) &&
           (is_at_end || receive(fetch, ret_fault, err)) && keep_part(fetch, err);
}

static bool fetch_from(struct filler_task *task, const struct server_config *host, struct wal_position *next,
                       struct error *err)
{
    struct wal_segment_size size = task->archive.segment_size;
    struct wal_segment first = wal_segment_at(task->gap.timeline, *next, size);
    struct fetch fetch SCOPED(scoped_fetch) = {
        .task = task, .next = wal_segment_start(first, size), .end = most_end(task, *next)};
    enum wal_stream_fault fault;
    bool has_skipped = false, is_done = false;

    fetch.walk = wal_walk_new(&task->archive, ignore_event, NULL);
    if (!pg_connect(host, FILLER_APPLICATION_NAME, task->interrupt_fd, &fetch.connection, err) ||
        !filler_check_host(&task->archive, fetch.connection, err))
        return false;
    for (bool is_more = true; is_more && !is_done; has_skipped = has_skipped || is_more) {
        struct wal_position from = fetch.next;
        is_done = stream(&fetch, &fault, err);
        is_more = !is_done && fault == WAL_FAULT_REMOVED && fetch.next.value == from.value && skip_half(&fetch);
    }
    if (!has_skipped && fetch.next.value > next->value)
        *next = is_done ? fetch.next : wal_segment_start(segment_at_next(&fetch), size);
    if (!is_done)
        return false;
    return fetch.next.value >= fetch.end.value ||
           error_set(err, ERROR_SERVER, "its timeline %" PRIu32 " ends before the gap does", task->gap.timeline.value);
}

/* The first host that has it; what one has only a part of, the next may have the rest of. */
static bool fetch_from_any(struct filler_task *task, struct error *err)
{
    struct wal_position next = task->gap.start;
    struct server_config *host SCOPED(scoped_free) = memory_new(sizeof *host);

    for (size_t i = 0; i < config_host_count(task->server); i++) {
        config_take_host(task->server, i, host);
        if (fetch_from(task, host, &next, err))
            return true;
        if (err->errnum == ECANCELED || err->kind == ERROR_STORAGE)
            return false;
        error_wrap(err, "%s", config_host_name(host));
        if (task->finished_count == FILLER_MOST_SEGMENTS)
            return true;
    }
    return false;
}

void filler_run(struct filler_task *task)
{
    switch (task->kind) {
    case FILLER_SETTLE:
        task->is_done = wal_gaps_settle(&task->archive, &task->held, &task->gaps, &task->failure);
        return;
    case FILLER_FETCH:
        task->is_done = fetch_from_any(task, &task->failure);
        return;
    }
}

size_t filler_finished(const struct filler_task *task)
{
    return __atomic_load_n(&task->finished_count, __ATOMIC_ACQUIRE);
}

void filler_done(struct filler_task *task)
{
    wal_ranges_done(&task->held);
    wal_gaps_done(&task->gaps);
}
