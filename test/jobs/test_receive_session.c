#include <errno.h>
#include <sys/socket.h>
#include <sys/statvfs.h>

#include "repo/repository.h"

#include "jobs/receive/session_internal.h"
#include "pg/connection_internal.h"

/* The server's slot, and the disk, of the test stand before the real ones. */
static struct {
    bool exists, is_active;
    struct wal_position position;
    unsigned made, dropped;
} slot;
static bool is_disk_full;

bool pg_slot_read(struct pg_connection *connection, const char *name, struct pg_slot *ret_slot, struct error *err)
{
    (void)connection;
    (void)name;
    (void)err;
    *ret_slot = (struct pg_slot){.is_known = true,
                                 .exists = slot.exists,
                                 .is_physical = slot.exists,
                                 .has_position = slot.position.value != 0,
                                 .restart_position = slot.position};
    return true;
}

bool pg_slot_create(struct pg_connection *connection, const char *name, bool *ret_existed, struct error *err)
{
    (void)connection;
    (void)name;
    (void)err;
    *ret_existed = slot.exists;
    slot.exists = true;
    slot.position.value = 5 * ONE_MB;
    slot.made++;
    return true;
}

bool pg_slot_create_temporary(struct pg_connection *connection, const char *name, struct error *err)
{
    (void)connection;
    (void)name;
    return error_set(err, ERROR_SERVER, "not of this test");
}

bool pg_slot_drop(struct pg_connection *connection, const char *name, struct error *err)
{
    (void)connection;
    (void)name;
    if (slot.is_active)
        return error_set(err, ERROR_BUSY, "it is active");
    slot.exists = false;
    slot.position.value = 0;
    slot.dropped++;
    return true;
}

int statvfs(const char *path, struct statvfs *status)
{
    (void)path;
    *status = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096, .f_blocks = 1 << 20, .f_files = 1 << 20};
    status->f_bavail = status->f_bfree = is_disk_full ? 300 : 1 << 19;
    status->f_favail = status->f_ffree = 1 << 19;
    return 0;
}

static struct server_config config = {.name = "primary"};
static struct control_stream *supervisor;
static struct receiver receiver;
static struct pg_connection connection;
static struct session session;

/* A session of a server of version 16, of which WAL is held, with its slot. */
static void session_make(void)
{
    int ends[2];

    repository_make();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    supervisor = control_stream_new(ends[0], CONTROL_CHANNEL_SIZE);
    memset(&slot, 0, sizeof slot);
    is_disk_full = false;
    config.settings.create_slot = true;
    snprintf(config.settings.wal_slot, sizeof config.settings.wal_slot, "pgcoffer");
    receiver = (struct receiver){
        .server = &config,
        .repo = &repo,
        .report = {.channel = control_stream_new(ends[1], CONTROL_CHANNEL_SIZE), .slot = "pgcoffer"},
        .hosts = {.count = 1},
        .has_archive = true,
        .archive = archive,
    };
    connection = (struct pg_connection){.session.server_version = 160004};
    session = (struct session){
        .receiver = &receiver,
        .connection = &connection,
        .role = PG_ROLE_PRIMARY,
        .slot_name = config.settings.wal_slot,
        .segment_size = {ONE_MB},
        .start = {.timeline = {1}, .position = {4 * ONE_MB}, .held_end = {4 * ONE_MB}},
        .verdict = RECEIVE_RETRY,
    };
    hold_segment(1, 3);
}

static void session_remove(void)
{
    receive_report_done(&receiver.report);
    control_stream_free(receiver.report.channel);
    control_stream_free(supervisor);
    repository_remove();
}

/* ---- a slot that keeps nothing ---- */

static bool mend(struct error *err)
{
    return session_read_slot(&session, err) && session_mend_slot(&session, err);
}

START_TEST(an_invalidated_slot_is_made_anew_before_anything_streams_from_it)
{
    struct error err;

    slot.exists = true;
    MUST(mend(&err));
    ck_assert_uint_eq(slot.dropped, 1);
    ck_assert_uint_eq(slot.made, 1);
    ck_assert(session.slot.has_position);
    ck_assert(receiver.gaps.is_slot_lost);
    MUST(mend(&err));
    ck_assert_uint_eq(slot.dropped, 1);
}
END_TEST

START_TEST(a_slot_that_waits_for_its_first_word_is_left_alone)
{
    struct error err;

    slot.exists = true;
    session.start.held_end.value = 0; /* nothing is held: it was never used */
    MUST(mend(&err));
    session.start.held_end.value = 4 * ONE_MB;
    slot.position.value = 4 * ONE_MB;
    MUST(mend(&err));
    ck_assert_uint_eq(slot.dropped, 0);
}
END_TEST

START_TEST(an_invalidated_slot_of_somebody_else_is_an_alarm_where_it_never_keeps_anything_again)
{
    struct error err;

    slot.exists = true;
    config.settings.create_slot = false;
    ck_assert(!mend(&err));
    ck_assert_int_eq(session.verdict, RECEIVE_REFUSED);
    ck_assert_ptr_nonnull(strstr(err.hint, "SELECT pg_drop_replication_slot('pgcoffer');"));
    ck_assert_uint_eq(slot.dropped, 0);
    connection.session.server_version = 150009; /* the first word revives it */
    MUST(mend(&err));
}
END_TEST

START_TEST(an_invalidated_slot_that_is_still_held_is_waited_for)
{
    struct error err;

    slot.exists = slot.is_active = true;
    ck_assert(!mend(&err));
    ck_assert_int_eq(session.verdict, RECEIVE_SLOT_BUSY);
}
END_TEST

/* ---- a loss ---- */

static enum receive_verdict hear_of_loss(struct error *err)
{
    error_set(err, ERROR_SERVER, "requested WAL segment has already been removed");
    return session_note_loss(&session, err);
}

static size_t gaps_recorded(void)
{
    struct wal_gap_record record = {0};
    struct error err;

    MUST(wal_gaps_read(&archive, &record, &err));
    size_t count = record.open.count;
    wal_gap_record_done(&record);
    return count;
}

START_TEST(a_loss_is_recorded_once_it_was_told_twice)
{
    struct error err;

    ck_assert_int_eq(hear_of_loss(&err), RECEIVE_RETRY);
    ck_assert(!receiver.is_lost);
    ck_assert_uint_eq(gaps_recorded(), 0);
    ck_assert_int_eq(hear_of_loss(&err), RECEIVE_LOST_WAL);
    ck_assert(receiver.is_lost);
    ck_assert_uint_eq(gaps_recorded(), 1);
}
END_TEST

START_TEST(of_another_place_it_is_asked_again)
{
    struct error err;

    ck_assert_int_eq(hear_of_loss(&err), RECEIVE_RETRY);
    session.start.position.value += ONE_MB;
    ck_assert_int_eq(hear_of_loss(&err), RECEIVE_RETRY);
    ck_assert_uint_eq(gaps_recorded(), 0);
}
END_TEST

START_TEST(a_standby_is_asked_for_a_while)
{
    struct error err;

    session.role = PG_ROLE_STANDBY;
    for (int times = 0; times < 3; times++)
        ck_assert_int_eq(hear_of_loss(&err), RECEIVE_RETRY);
    ck_assert_uint_eq(gaps_recorded(), 0);
    receiver.doubt.since -= 6000000;
    ck_assert_int_eq(hear_of_loss(&err), RECEIVE_LOST_WAL);
    ck_assert_uint_eq(gaps_recorded(), 1);
}
END_TEST

/* ---- a fork ---- */

START_TEST(the_copy_of_a_fork_waits_for_the_room_of_its_segment)
{
    struct error err;
    struct wal_file file;

    session.start = (struct receive_start){.reason = RECEIVE_START_FORK,
                                           .timeline = {2},
                                           .position = {3 * ONE_MB},
                                           .has_fork_copy = true,
                                           .fork_from = {1},
                                           .fork_position = {3 * ONE_MB + 1024}};
    session.history.history.timeline.value = 2;
    is_disk_full = true;
    ck_assert(!session_publish_histories(&session, &err));
    ck_assert_int_eq(err.errnum, ENOSPC);
    ck_assert(receiver.room.has_segment);
    ck_assert_uint_eq(receiver.room.segment.timeline.value, 2);
    ck_assert_uint_eq(receiver.room.segment.number, 3);
    is_disk_full = false;
    MUST(session_publish_histories(&session, &err));
    MUST(wal_archive_stat(&archive, segment_of(2, 3), &file, &err));
    ck_assert_uint_eq(file.held_bytes, 1024);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive session");

    tcase_add_checked_fixture(tests, session_make, session_remove);
    tcase_add_test(tests, an_invalidated_slot_is_made_anew_before_anything_streams_from_it);
    tcase_add_test(tests, a_slot_that_waits_for_its_first_word_is_left_alone);
    tcase_add_test(tests, an_invalidated_slot_of_somebody_else_is_an_alarm_where_it_never_keeps_anything_again);
    tcase_add_test(tests, an_invalidated_slot_that_is_still_held_is_waited_for);
    tcase_add_test(tests, a_loss_is_recorded_once_it_was_told_twice);
    tcase_add_test(tests, of_another_place_it_is_asked_again);
    tcase_add_test(tests, a_standby_is_asked_for_a_while);
    tcase_add_test(tests, the_copy_of_a_fork_waits_for_the_room_of_its_segment);
    return suite_run("receive_session", tests);
}
