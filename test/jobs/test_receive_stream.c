#include <sys/socket.h>
#include <sys/syscall.h>

#include "repo/repository.h"

#include "jobs/receive/stream_internal.h"

/* The test's own server, event loop and disk stand before the real ones. */
#define MOST_MESSAGES 8

static struct {
    struct wal_message messages[MOST_MESSAGES];
    size_t count, next;
    uint64_t flushed[64], written[64]; /* every feedback */
    size_t feedback_count;
    int sync_errno;
    size_t sync_until; /* fdatasync(2) takes until so many feedbacks were sent */
    uint64_t flushed_at_wait[MOST_MESSAGES];
    size_t wait_count;
    int64_t sync_takes;     /* as it seems */
    int64_t heard_before;   /* so long ago, at every wait */
    enum receive_wake wake; /* what the wait gives; 0 is not used */
    unsigned stops;
    bool is_stop_refused;
} server;

static struct receive_stream *observed;

int fdatasync(int fd)
{
    if (server.sync_errno != 0) {
        errno = server.sync_errno;
        return -1;
    }
    if (observed != NULL)
        observed->heard_at -= server.sync_takes;
    int64_t until = clock_monotonic() + 20000000;
    while (__atomic_load_n(&server.feedback_count, __ATOMIC_ACQUIRE) < server.sync_until && clock_monotonic() < until)
        usleep(1000);
    return (int)syscall(SYS_fdatasync, fd);
}

int pg_socket(const struct pg_connection *connection)
{
    (void)connection;
    return -1;
}

bool wal_stream_receive(struct pg_connection *connection, struct wal_message *ret_message,
                        enum wal_stream_fault *ret_fault, struct error *err)
{
    (void)connection;
    (void)ret_fault;
    (void)err;
    *ret_message = server.next < server.count ? server.messages[server.next++]
                                              : (struct wal_message){.kind = WAL_MESSAGE_END_OF_TIMELINE};
    return true;
}

bool wal_stream_feedback(struct pg_connection *connection, struct wal_position written, struct wal_position flushed,
                         bool is_reply_requested, struct error *err)
{
    (void)connection;
    (void)is_reply_requested;
    (void)err;
    ck_assert_uint_lt(server.feedback_count, sizeof server.flushed / sizeof server.flushed[0]);
    server.flushed[server.feedback_count] = flushed.value;
    server.written[server.feedback_count] = written.value;
    __atomic_store_n(&server.feedback_count, server.feedback_count + 1, __ATOMIC_RELEASE);
    return true;
}

bool wal_stream_flush(struct pg_connection *connection, bool *ret_pending, struct error *err)
{
    (void)connection;
    (void)err;
    *ret_pending = false;
    return true;
}

/* Only after the last word: what is durable is known to the server. */
bool wal_stream_stop(struct pg_connection *connection, int64_t deadline, struct error *err)
{
    (void)connection;
    ck_assert_int_gt(deadline, clock_monotonic());
    server.stops++;
    return !server.is_stop_refused || error_set(err, ERROR_SERVER, "gone");
}

void receive_room_ask(struct receiver *waiting)
{
    (void)waiting;
}

enum receive_wake receiver_wait(struct receiver *waiting, int descriptor, bool is_output_pending, int64_t until)
{
    (void)waiting;
    (void)descriptor;
    (void)is_output_pending;
    (void)until;
    if (server.wait_count < MOST_MESSAGES)
        server.flushed_at_wait[server.wait_count++] = server.flushed[server.feedback_count - 1];
    if (observed != NULL) {
        observed->heard_at -= server.heard_before;
        observed->left_disk_at -= server.heard_before;
    }
    return server.wake == RECEIVE_WAKE_RENEWED ? RECEIVE_WAKE_RENEWED : RECEIVE_WAKE_TIME;
}

static struct worker_context worker;
static struct receiver receiver;
static struct server_config config = {.name = "primary"};
static struct control_stream *supervisor;
static uint8_t *bytes; /* one segment, without a header: it is sent in pieces that are too short to show one at first */

static void stream_make(void)
{
    struct error err;
    int ends[2];

    repository_make();
    memset(&server, 0, sizeof server);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    supervisor = control_stream_new(ends[0], CONTROL_CHANNEL_SIZE);
    worker = (struct worker_context){.channel = control_stream_new(ends[1], CONTROL_CHANNEL_SIZE)};
    receiver = (struct receiver){
        .worker = &worker,
        .server = &config,
        .repo = &repo,
        .report = {.channel = worker.channel, .slot = "pgcoffer"},
        .sync = {.server = &config},
        .has_archive = true,
        .archive = archive,
    };
    MUST(receive_compressor_new(&archive, 3, &receiver.compressor, &err));
    bytes = make_bytes(ONE_MB, 1003);
}

static void stream_remove(void)
{
    free(bytes);
    receive_compressor_free(receiver.compressor);
    receive_report_done(&receiver.report);
    control_stream_free(receiver.report.channel);
    control_stream_free(supervisor);
    repository_remove();
}

static void server_sends(uint64_t position, size_t size)
{
    ck_assert_uint_lt(server.count, MOST_MESSAGES);
    server.messages[server.count++] = (struct wal_message){.kind = WAL_MESSAGE_DATA,
                                                           .position = {position},
                                                           .bytes = bytes + position % ONE_MB,
                                                           .size = size,
                                                           .server_end = {position + size}};
}

static void server_pauses(void)
{
    server.messages[server.count++] = (struct wal_message){.kind = WAL_MESSAGE_NOTHING};
}

static void server_asks(void)
{
    server.messages[server.count++] = (struct wal_message){.kind = WAL_MESSAGE_KEEPALIVE, .is_reply_requested = true};
}

static void server_sends_first(uint64_t segment, size_t size)
{
    server_sends(segment * ONE_MB, 7);
    server_sends(segment * ONE_MB + 7, size - 7);
}

static struct receive_stream stream_from(uint32_t timeline, uint64_t segment)
{
    return (struct receive_stream){.receiver = &receiver, .timeline = {timeline}, .next = {segment * ONE_MB}};
}

static void server_begins_again(void)
{
    memset(&server, 0, sizeof server);
}

static uint64_t last_flushed(void)
{
    return server.flushed[server.feedback_count - 1];
}

START_TEST(a_segment_is_acknowledged_once_it_is_whole)
{
    struct error err;
    enum wal_stream_fault fault;
    struct receive_stream stream = stream_from(1, 3);

    server_sends_first(3, ONE_MB);
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    ck_assert_uint_eq(last_flushed(), 4 * ONE_MB);
    ck_assert_uint_eq(receiver.acknowledged.value, 4 * ONE_MB);
    assert_holds(1, 3, WAL_FILE_RAW);
}
END_TEST

START_TEST(a_segment_whose_last_fdatasync_fails_is_never_acknowledged)
{
    struct error err;
    enum wal_stream_fault fault;
    struct receive_stream stream = stream_from(1, 3);

    server_sends_first(3, ONE_MB);
    server.sync_errno = EIO;
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_FAULT);
    ck_assert_uint_eq(receiver.acknowledged.value, 3 * ONE_MB);
    ck_assert_uint_eq(receiver.report.flushed.value, 3 * ONE_MB);
    for (size_t i = 0; i < server.feedback_count; i++)
        ck_assert_uint_le(server.flushed[i], 3 * ONE_MB);
}
END_TEST

START_TEST(what_was_set_aside_is_no_longer_dependable_though_it_stays_acknowledged)
{
    struct error err;
    enum wal_stream_fault fault;
    struct receive_stream stream = stream_from(1, 3);

    server_sends_first(3, 5000);
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    ck_assert_uint_eq(receiver.report.flushed.value, 3 * ONE_MB + 5000);

    server_begins_again();
    stream = stream_from(1, 3);
    server_sends_first(3, 9000);
    server_asks();
    ck_assert(receive_stream_run(&stream, &fault, &err) == RECEIVE_STREAM_END_OF_TIMELINE);
    ck_assert_uint_eq(receiver.report.flushed.value, 3 * ONE_MB + 9000);

    char *partial SCOPED(scoped_free) =
        memory_copy_text(repository_path("wal/00000001/00000000/000000010000000000000003.partial"));
    char *aside SCOPED(scoped_free) = memory_text("%s.suspect-1", partial);
    ck_assert_int_eq(rename(partial, aside), 0); /* as after a failed fdatasync */
    server_begins_again();
    stream = stream_from(1, 3);
    server_sends_first(3, 100);
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    ck_assert_uint_eq(receiver.acknowledged.value, 3 * ONE_MB + 9000);
    ck_assert_uint_eq(receiver.report.flushed.value, 3 * ONE_MB + 100);
}
END_TEST

START_TEST(the_slot_is_not_moved_back_by_the_next_timeline)
{
    struct error err;
    enum wal_stream_fault fault;
    struct receive_stream stream = stream_from(1, 3);

    stream.slot_position.value = 2 * ONE_MB;
    server_sends_first(3, 5000);
    server_asks();
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    ck_assert_uint_eq(last_flushed(), 3 * ONE_MB + 5000);
    ck_assert_uint_eq(stream.slot_position.value, 3 * ONE_MB + 5000);

    struct wal_position slot_position = stream.slot_position;
    server_begins_again();
    stream = stream_from(2, 3);
    stream.slot_position = slot_position;
    server_sends_first(3, 6000);
    server_asks();
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    for (size_t i = 0; i < server.feedback_count; i++)
        ck_assert(server.flushed[i] == 0 || server.flushed[i] >= 3 * ONE_MB + 5000);
    ck_assert_uint_eq(last_flushed(), 3 * ONE_MB + 6000);
}
END_TEST

/* In order: all of it durable and acknowledged, and then the copy ended; a server that does not answer changes nothing.
 */
START_TEST(a_stream_that_ends_for_renewed_certificates_loses_nothing)
{
    struct error err;
    enum wal_stream_fault fault;

    for (unsigned refused = 0; refused < 2; refused++) {
        struct receive_stream stream = stream_from(1, 3 + refused);
        server_begins_again();
        server.is_stop_refused = refused == 1;
        server.wake = RECEIVE_WAKE_RENEWED;
        server_sends_first(3 + refused, 5000);
        server.messages[server.count++] = (struct wal_message){.kind = WAL_MESSAGE_NOTHING};
        ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_RENEWED);
        ck_assert_uint_eq(server.stops, 1);
        ck_assert_uint_eq(last_flushed(), (3 + refused) * ONE_MB + 5000);
        ck_assert_uint_eq(receiver.report.flushed.value, (3 + refused) * ONE_MB + 5000);
        ck_assert_ptr_null(stream.partial);
    }
}
END_TEST

START_TEST(a_slow_disk_does_not_silence_the_stream)
{
    struct error err;
    enum wal_stream_fault fault;
    struct receive_stream stream = stream_from(1, 3);

    stream.server_patience = 200000;
    server_sends_first(3, 5000);
    server_asks();
    server.sync_until = 4; /* one at the begin, and then of the lifeline */
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    ck_assert_uint_ge(server.feedback_count, 5);
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_le(server.flushed[i], 3 * ONE_MB);
    ck_assert_uint_eq(last_flushed(), 3 * ONE_MB + 5000);
    ck_assert_ptr_null(stream.lifeline);
}
END_TEST

static void run_with_pauses(bool is_waited_for)
{
    struct error err;
    enum wal_stream_fault fault;
    struct receive_stream stream = stream_from(1, 3);

    receiver.sync.answer = (struct sync_answer){
        .is_known = true, .match = {.method = SYNC_METHOD_FIRST, .needed = 1, .listed = 1, .position = is_waited_for}};
    server_begins_again();
    server_sends_first(3, 1000);
    server_pauses();
    server_sends(3 * ONE_MB + 1000, 1000);
    server_pauses();
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    ck_assert_uint_eq(server.wait_count, 2);
    ck_assert_uint_eq(server.flushed_at_wait[0], 3 * ONE_MB + 1000);
}

START_TEST(every_batch_is_acknowledged_at_once_where_commits_wait)
{
    run_with_pauses(true);
    ck_assert_uint_eq(server.flushed_at_wait[1], 3 * ONE_MB + 2000);
}
END_TEST

START_TEST(the_first_batch_is_acknowledged_at_once_and_then_the_disk_rests_where_none_waits)
{
    int64_t began = clock_monotonic();

    run_with_pauses(false);
    if (clock_monotonic() - began < 20000) /* it had no time to rest in between */
        ck_assert_uint_eq(server.flushed_at_wait[1], 3 * ONE_MB + 1000);
}
END_TEST

START_TEST(a_receiver_that_catches_up_does_not_sync_each_batch)
{
    struct error err;
    enum wal_stream_fault fault;
    struct receive_stream stream = stream_from(1, 3);

    config.settings.synchronous = true;
    server_sends_first(3, 1000);
    server.messages[1].server_end.value = 30 * ONE_MB;
    server_pauses();
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    ck_assert_uint_eq(server.flushed_at_wait[0], 3 * ONE_MB);
    ck_assert_uint_eq(receiver.acknowledged.value, 3 * ONE_MB + 1000);
    config.settings.synchronous = false;
}
END_TEST

/* Ten seconds are too long for a server that answers within one, and nothing for one that has a minute. */
START_TEST(a_server_that_is_silent_for_longer_than_it_promises_is_given_up)
{
    struct error err;
    enum wal_stream_fault fault;

    for (unsigned patient = 0; patient < 2; patient++) {
        struct receive_stream stream = stream_from(1, 3);
        stream.server_patience = patient == 0 ? 1000000 : 60000000;
        server_begins_again();
        observed = &stream;
        server.heard_before = 10000000;
        server_pauses();
        server_pauses();
        enum receive_stream_end end = receive_stream_run(&stream, &fault, &err);
        observed = NULL;
        ck_assert_int_eq(end, patient == 0 ? RECEIVE_STREAM_FAULT : RECEIVE_STREAM_END_OF_TIMELINE);
    }
    ck_assert_str_eq(err.message, "the server has been silent for 10 s");
}
END_TEST

START_TEST(what_a_primary_proves_to_be_complete_is_noted_once_it_is_durable)
{
    struct error err;
    enum wal_stream_fault fault;

    for (unsigned is_primary = 0; is_primary < 2; is_primary++) {
        struct receive_stream stream = stream_from(1, 3);
        stream.completeness.is_primary = is_primary;
        server_begins_again();
        server_sends_first(3, 1000);
        server.messages[1].sent_at.microseconds = INT64_C(1700000000000000);
        server_pauses();
        ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
        struct wal_complete complete = wal_complete_read(&archive, stream.timeline);
        ck_assert_uint_eq(complete.position.value, is_primary ? 3 * ONE_MB + 1000 : 0);
        ck_assert_int_eq(complete.at.microseconds, is_primary ? INT64_C(1699999998000000) : 0);
    }
}
END_TEST

START_TEST(what_could_not_be_made_durable_is_not_noted)
{
    struct error err;
    enum wal_stream_fault fault;
    struct receive_stream stream = stream_from(1, 3);

    stream.completeness.is_primary = true;
    server_sends_first(3, 1000);
    server.messages[1].sent_at.microseconds = INT64_C(1700000000000000);
    server.sync_errno = EIO;
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_FAULT);
    ck_assert_int_eq(wal_complete_read(&archive, stream.timeline).at.microseconds, 0);
}
END_TEST

/* The server may have spoken all the time: it waits to be read. */
START_TEST(a_disk_that_takes_longer_than_any_silence_may_last_is_not_taken_for_one)
{
    struct error err;
    enum wal_stream_fault fault;
    struct receive_stream stream = stream_from(1, 3);

    stream.server_patience = 1000000;
    observed = &stream;
    server.sync_takes = 7000000;
    server_sends_first(3, 5000);
    server_pauses();
    server_pauses();
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    observed = NULL;
    ck_assert_uint_ge(server.wait_count, 2);
}
END_TEST

/* A copy of the server that has gone on by itself: its commits must not take our word for those of the other one. */
START_TEST(a_new_connection_is_told_of_nothing_that_it_has_not_sent)
{
    struct error err;
    enum wal_stream_fault fault;
    struct receive_stream stream = stream_from(1, 3);

    server_sends_first(3, 5000);
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    ck_assert_uint_eq(receiver.acknowledged.value, 3 * ONE_MB + 5000);

    server_begins_again();
    stream = stream_from(1, 3);
    stream.server_position.value = 3 * ONE_MB + 9000;
    server_asks();
    server_sends_first(3, 3000);
    server_asks();
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    ck_assert_uint_eq(server.feedback_count, 3);
    for (size_t i = 0; i < 2; i++)
        ck_assert(server.flushed[i] == 0 && server.written[i] == 0);
    ck_assert_uint_eq(server.flushed[2], 3 * ONE_MB + 3000);
    ck_assert_uint_eq(server.written[2], 3 * ONE_MB + 3000);
    ck_assert_uint_eq(receiver.report.flushed.value, 3 * ONE_MB + 5000);
}
END_TEST

START_TEST(a_server_that_has_no_more_to_send_is_told_so_at_once)
{
    struct error err;
    enum wal_stream_fault fault;
    struct receive_stream stream = stream_from(1, 3);

    stream.server_position.value = 3 * ONE_MB;
    ck_assert_int_eq(receive_stream_run(&stream, &fault, &err), RECEIVE_STREAM_END_OF_TIMELINE);
    ck_assert_uint_eq(server.flushed[0], 3 * ONE_MB);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive stream");

    tcase_add_checked_fixture(tests, stream_make, stream_remove);
    tcase_add_test(tests, a_segment_is_acknowledged_once_it_is_whole);
    tcase_add_test(tests, a_segment_whose_last_fdatasync_fails_is_never_acknowledged);
    tcase_add_test(tests, what_was_set_aside_is_no_longer_dependable_though_it_stays_acknowledged);
    tcase_add_test(tests, the_slot_is_not_moved_back_by_the_next_timeline);
    tcase_add_test(tests, a_stream_that_ends_for_renewed_certificates_loses_nothing);
    tcase_add_test(tests, a_slow_disk_does_not_silence_the_stream);
    tcase_add_test(tests, every_batch_is_acknowledged_at_once_where_commits_wait);
    tcase_add_test(tests, the_first_batch_is_acknowledged_at_once_and_then_the_disk_rests_where_none_waits);
    tcase_add_test(tests, a_receiver_that_catches_up_does_not_sync_each_batch);
    tcase_add_test(tests, a_disk_that_takes_longer_than_any_silence_may_last_is_not_taken_for_one);
    tcase_add_test(tests, a_new_connection_is_told_of_nothing_that_it_has_not_sent);
    tcase_add_test(tests, a_server_that_has_no_more_to_send_is_told_so_at_once);
    tcase_add_test(tests, a_server_that_is_silent_for_longer_than_it_promises_is_given_up);
    tcase_add_test(tests, what_a_primary_proves_to_be_complete_is_noted_once_it_is_durable);
    tcase_add_test(tests, what_could_not_be_made_durable_is_not_noted);
    return suite_run("receive_stream", tests);
}
