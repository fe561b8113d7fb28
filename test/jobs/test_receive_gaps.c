#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "repo/repository.h"

#include "jobs/receive/receiver_internal.h"

/* What the receiver does with the thread that fills gaps; the test's own task stands before the real one. */
#define SYSTEM UINT64_C(7000000000000000001)

static const struct wal_segment_size size = {ONE_MB};
static struct server_config config = {.name = "primary"};
static struct control_stream *supervisor;
static struct receiver receiver;
static struct error err;

/* ---- the task ---- */

static struct {
    unsigned settles, fetches; /* how many have begun */
    bool is_settle_failing;
    bool is_stubborn; /* it does not mind being cancelled, until that is over */
} filler;

static void wait_for_end(const struct filler_task *task)
{
    struct pollfd cancelled = {.fd = task->interrupt_fd, .events = POLLIN};

    ck_assert_int_eq(poll(&cancelled, 1, 30000), 1);
    while (__atomic_load_n(&filler.is_stubborn, __ATOMIC_ACQUIRE))
        (void)poll(NULL, 0, 1);
}

static const char partial[] = "wal/00000001/00000000/000000010000000000000004.partial";
static const char whole[] = "wal/00000001/00000000/000000010000000000000004";

void filler_run(struct filler_task *task)
{
    static const struct wal_gap gap = {
        .timeline = {1}, .start = {4 * ONE_MB}, .end = {5 * ONE_MB}, .reason = WAL_GAP_REMOVED};

    __atomic_add_fetch(task->kind == FILLER_SETTLE ? &filler.settles : &filler.fetches, 1, __ATOMIC_RELEASE);
    if (task->kind == FILLER_SETTLE && filler.is_settle_failing) {
        error_set(&task->failure, ERROR_INTEGRITY, "a history is damaged");
        return;
    }
    task->is_done = true;
    if (task->kind == FILLER_SETTLE) {
        task->gaps = (struct wal_gaps){memory_new(sizeof gap), 1};
        memcpy(task->gaps.gaps, &gap, sizeof gap);
        task->held = (struct wal_ranges){memory_new(sizeof(struct wal_range)), 1};
        task->held.ranges[0] = (struct wal_range){.timeline = {1}, .start = {5 * ONE_MB}, .end = {6 * ONE_MB}};
        return;
    }
    /* Between the last byte of a segment and its name. */
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 4 + 1000);
    repository_put(partial, bytes, ONE_MB);
    wait_for_end(task);
    ck_assert_int_eq(rename(repository_path(partial), repository_path(whole)), 0);
    task->finished[0] = segment_of(1, 4);
    __atomic_store_n(&task->finished_count, 1, __ATOMIC_RELEASE);
    eventfd_write(task->finished_fd, 1);
}

size_t filler_finished(const struct filler_task *task)
{
    return __atomic_load_n(&task->finished_count, __ATOMIC_ACQUIRE);
}

void filler_done(struct filler_task *task)
{
    wal_gaps_done(&task->gaps);
    wal_ranges_done(&task->held);
}

/* ---- the receiver ---- */

static void make(void)
{
    int ends[2];

    memset(&filler, 0, sizeof filler);
    repository_make();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    supervisor = control_stream_new(ends[0], CONTROL_CHANNEL_SIZE);
    receiver = (struct receiver){
        .server = &config,
        .repo = &repo,
        .report = {.channel = control_stream_new(ends[1], CONTROL_CHANNEL_SIZE), .slot = "pgcoffer"},
        .hosts = {.count = 1},
    };
    hold_segment(1, 3);
    hold_segment(1, 5);
    MUST(receive_cluster_adopt(&receiver, SYSTEM, 150004, size, &err));
    receive_gaps_begin(&receiver);
}

static void drop(void)
{
    receive_gaps_end(&receiver.gaps);
    receive_compressor_free(receiver.compressor);
    receive_report_done(&receiver.report);
    control_stream_free(receiver.report.channel);
    control_stream_free(supervisor);
    repository_remove();
}

static void wait_and_turn(void)
{
    struct pollfd done = {.fd = receive_gaps_descriptor(&receiver.gaps), .events = POLLIN};

    ck_assert_int_eq(poll(&done, 1, 30000), 1);
    receive_gaps_turn(&receiver);
}

/* Until the fetch is at its segment. */
static void begin_fetch(void)
{
    receive_gaps_look_now(&receiver.gaps);
    receive_gaps_turn(&receiver);
    wait_and_turn();
    ck_assert(receiver.gaps.is_busy);
    for (int i = 0; i < 30000 && !repository_has(partial); i++)
        (void)poll(NULL, 0, 1);
    ck_assert(repository_has(partial));
}

START_TEST(the_archive_is_not_cleaned_up_beside_the_task)
{
    struct wal_file file;

    begin_fetch();
    receiver.is_to_recover = true;
    MUST(receive_cluster_open_stored(&receiver, &err));
    ck_assert(!receiver.gaps.is_busy && !receiver.is_to_recover);
    MUST(wal_archive_stat(&receiver.archive, segment_of(1, 4), &file, &err));
    ck_assert_int_eq(file.state, WAL_FILE_RAW);
    /* The next task is not cancelled as well. */
    struct pollfd cancelled = {.fd = receiver.gaps.cancel_fd, .events = POLLIN};
    ck_assert_int_eq(poll(&cancelled, 1, 0), 0);
    ck_assert_int_eq(unlink(repository_path(whole)), 0);
    begin_fetch();
    ck_assert_uint_eq(filler.fetches, 2);
    receive_gaps_cancel(&receiver.gaps);
    wait_and_turn();
}
END_TEST

START_TEST(a_task_that_does_not_end_puts_the_clean_up_off)
{
    begin_fetch();
    filler.is_stubborn = true;
    receiver.is_to_recover = true;
    ck_assert(!receive_cluster_open_stored(&receiver, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    ck_assert(receiver.is_to_recover && receiver.has_archive);
    ck_assert(repository_has(partial));
    __atomic_store_n(&filler.is_stubborn, false, __ATOMIC_RELEASE);
    wait_and_turn();
    ck_assert(!receiver.gaps.is_busy); /* nor does another one begin before */
    ck_assert_int_eq(receive_gaps_due(&receiver), INT64_MAX);
    MUST(receive_cluster_open_stored(&receiver, &err));
    ck_assert_int_lt(receive_gaps_due(&receiver), INT64_MAX);
}
END_TEST

START_TEST(a_segment_that_is_finished_is_compressed_at_once)
{
    begin_fetch();
    receive_gaps_cancel(&receiver.gaps);
    struct pollfd finished = {.fd = receive_gaps_finished_descriptor(&receiver.gaps), .events = POLLIN};
    ck_assert_int_eq(poll(&finished, 1, 30000), 1);
    receive_gaps_turn(&receiver);
    ck_assert_uint_eq(receiver.gaps.handed_over, 1);
    ck_assert_int_eq(poll(&finished, 1, 0), 0);
    if (receiver.gaps.is_busy)
        wait_and_turn();
}
END_TEST

START_TEST(in_a_pause_nothing_is_fetched)
{
    receiver.room.is_paused = true;
    receive_gaps_look_now(&receiver.gaps);
    receive_gaps_turn(&receiver);
    wait_and_turn();
    ck_assert(!receiver.gaps.is_busy);
    ck_assert_uint_eq(filler.settles, 1);
    ck_assert_int_eq(receive_gaps_due(&receiver), INT64_MAX);
    receiver.room.is_paused = false;
    ck_assert_int_eq(receive_gaps_due(&receiver), 0);
    receive_gaps_turn(&receiver);
    ck_assert(receiver.gaps.is_busy);
    receive_gaps_cancel(&receiver.gaps);
    wait_and_turn();
    ck_assert_uint_eq(filler.fetches, 1);
}
END_TEST

START_TEST(what_cannot_be_settled_is_told_and_tried_again_later)
{
    filler.is_settle_failing = true;
    receive_gaps_look_now(&receiver.gaps);
    receive_gaps_turn(&receiver);
    wait_and_turn();
    for (int i = 0; i < 3; i++)
        receive_gaps_turn(&receiver);
    ck_assert(!receiver.gaps.is_busy);
    ck_assert_uint_eq(filler.settles, 1);
    ck_assert_str_eq(receiver.gaps.told, "a history is damaged");
    ck_assert_int_gt(receive_gaps_due(&receiver), clock_monotonic());
    ck_assert_int_lt(receive_gaps_due(&receiver), INT64_MAX);
}
END_TEST

/* How often the log tells that WAL is missing, so far. */
static unsigned told(void)
{
    struct buffer text SCOPED(buffer_done) = BUFFER_WITH_LIMIT(1 << 20);
    unsigned count = 0;

    MUST(file_read_whole(scratch_path("stderr"), &text, &err) && buffer_append(&text, "", 1, &err));
    for (const char *at = (const char *)text.bytes; (at = strstr(at, "warning WAL is missing: ")) != NULL; at++)
        count++;
    return count;
}

static void settle(void)
{
    receive_gaps_look_now(&receiver.gaps);
    receive_gaps_turn(&receiver);
    wait_and_turn();
}

START_TEST(what_is_missing_is_logged_when_it_is_found_and_once_a_day)
{
    unsetenv("JOURNAL_STREAM");
    ck_assert_ptr_nonnull(freopen(scratch_path("stderr"), "we", stderr));
    receiver.room.is_paused = true; /* nothing is fetched */
    settle();
    ck_assert_uint_eq(told(), 1);
    settle();
    ck_assert_uint_eq(told(), 1);
    receiver.gaps.told_at -= GAPS_TOLD_AGAIN_AFTER; /* a day later */
    settle();
    settle();
    ck_assert_uint_eq(told(), 2);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive_gaps");

    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, make, drop);
    tcase_add_test(tests, the_archive_is_not_cleaned_up_beside_the_task);
    tcase_add_test(tests, a_task_that_does_not_end_puts_the_clean_up_off);
    tcase_add_test(tests, a_segment_that_is_finished_is_compressed_at_once);
    tcase_add_test(tests, in_a_pause_nothing_is_fetched);
    tcase_add_test(tests, what_cannot_be_settled_is_told_and_tried_again_later);
    tcase_add_test(tests, what_is_missing_is_logged_when_it_is_found_and_once_a_day);
    return suite_run("receive_gaps", tests);
}
