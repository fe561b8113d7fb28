#include "support/suite.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "jobs/receive/report_internal.h"

static struct control_stream *supervisor;
static struct receive_report report;

static void report_make(void)
{
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    supervisor = control_stream_new(ends[0], CONTROL_CHANNEL_SIZE);
    report = (struct receive_report){.channel = control_stream_new(ends[1], CONTROL_CHANNEL_SIZE), .slot = "pgcoffer"};
}

static void report_remove(void)
{
    receive_report_done(&report);
    control_stream_free(report.channel);
    control_stream_free(supervisor);
}

static bool has_event(void)
{
    struct pollfd input = {.fd = control_stream_descriptor(supervisor), .events = POLLIN};

    return control_stream_has_input(supervisor) || poll(&input, 1, 0) == 1;
}

static json_t *next_event(void)
{
    struct error err;
    json_t *event = NULL;

    ck_assert_msg(control_receive(supervisor, &event, &err), "%s", err.message);
    return event;
}

static void assert_text(const json_t *data, const char *key, const char *expected)
{
    const char *text = json_text_or_null(data, key);

    ck_assert_msg(text != NULL, "%s is missing", key);
    ck_assert_str_eq(text, expected);
}

START_TEST(a_change_of_state_is_told_at_once)
{
    struct error failure;

    receive_report_state(&report, RECEIVE_STARTING, NULL);
    json_t *first SCOPED(scoped_json) = next_event();
    assert_text(first, "event", "receiver");
    const json_t *data = json_object_get(first, "data");
    assert_text(data, "state", "starting");
    assert_text(data, "slot", "pgcoffer");
    assert_text(data, "flushed", "0/0");
    ck_assert(json_is_null(json_object_get(data, "error")));
    ck_assert(json_is_null(json_object_get(data, "complete")));
    ck_assert(json_is_null(json_object_get(data, "last_message_at")));

    error_set(&failure, ERROR_TLS, "certificate expired");
    error_detail(&failure, "it did");
    error_hint(&failure, "Renew it.");
    receive_report_state(&report, RECEIVE_WAITING, &failure);
    json_t *second SCOPED(scoped_json) = next_event();
    const json_t *error = json_object_get(json_object_get(second, "data"), "error");
    assert_text(json_object_get(second, "data"), "state", "waiting");
    assert_text(error, "kind", "tls");
    assert_text(error, "message", "certificate expired");
    assert_text(error, "hint", "Renew it.");
    ck_assert(json_object_get(error, "event") == NULL);
}
END_TEST

START_TEST(moving_positions_are_told_now_and_then)
{
    receive_report_state(&report, RECEIVE_STREAMING, NULL);
    json_decref(next_event());
    ck_assert_int_eq(receive_report_due(&report), INT64_MAX);
    for (uint64_t at = 1; at <= 1000; at++) {
        receive_report_positions(&report, (struct timeline){2}, (struct wal_position){at}, (struct wal_position){at});
        receive_report_turn(&report);
    }
    ck_assert(!has_event());
    ck_assert_int_le(receive_report_due(&report), clock_monotonic() + RECEIVE_REPORT_MILLISECONDS * 1000);
    report.sent_at -= RECEIVE_REPORT_MILLISECONDS * 1000;
    receive_report_turn(&report);
    json_t *event SCOPED(scoped_json) = next_event();
    assert_text(json_object_get(event, "data"), "received", "0/3E8");
    ck_assert_int_eq(json_number_or(json_object_get(event, "data"), "timeline", 0), 2);
    receive_report_turn(&report);
    ck_assert(!has_event());
}
END_TEST

START_TEST(positions_that_stand_still_are_told_once)
{
    receive_report_state(&report, RECEIVE_STREAMING, NULL);
    json_decref(next_event());
    receive_report_positions(&report, (struct timeline){0}, (struct wal_position){0}, (struct wal_position){0});
    ck_assert_int_eq(receive_report_due(&report), INT64_MAX);
}
END_TEST

START_TEST(streaming_ends_an_error_but_one_that_is_kept)
{
    struct error failure;

    error_set(&failure, ERROR_INTEGRITY, "WAL is lost");
    receive_report_state(&report, RECEIVE_WAITING, &failure);
    receive_report_state(&report, RECEIVE_CONNECTING, NULL);
    ck_assert(report.has_error);
    receive_report_state(&report, RECEIVE_STREAMING, NULL);
    ck_assert(!report.has_error);

    receive_report_keep_error(&report, &failure, 60000000);
    receive_report_state(&report, RECEIVE_STREAMING, NULL);
    ck_assert(report.has_error);
    report.error_kept_until = clock_monotonic();
    receive_report_turn(&report);
    ck_assert(!report.has_error);
    ck_assert(report.is_changed);
}
END_TEST

START_TEST(certificates_and_a_warning_stand_beside_the_state)
{
    const struct pg_session session = {.own = {"CN=repl", "2027-01-01T00:00:00Z", "AB:CD"},
                                       .peer = {"CN=db1", "2027-02-01T00:00:00Z", "12:34"}};
    const struct pg_certificate renewed = {"CN=db1", "2027-03-01T00:00:00Z", "56:78"};
    struct error warning;

    json_t *before SCOPED(scoped_json) = receive_report_to_json(&report);
    const json_t *data = json_object_get(before, "data");
    ck_assert(json_is_null(json_object_get(data, "certificate")));
    ck_assert(json_is_null(json_object_get(data, "server_certificate")));
    ck_assert(json_is_null(json_object_get(data, "warning")));

    receive_report_session(&report, &session);
    receive_report_served(&report, &renewed);
    error_set(&warning, ERROR_TLS, "the key does not belong to the certificate");
    receive_report_warning(&report, RECEIVE_WARNING_CERTIFICATES, &warning);
    receive_report_state(&report, RECEIVE_STREAMING, NULL);
    json_t *event SCOPED(scoped_json) = next_event();
    data = json_object_get(event, "data");
    assert_text(data, "state", "streaming");
    assert_text(json_object_get(data, "certificate"), "subject", "CN=repl");
    assert_text(json_object_get(data, "certificate"), "not_after", "2027-01-01T00:00:00Z");
    assert_text(json_object_get(data, "certificate"), "fingerprint", "AB:CD");
    assert_text(json_object_get(data, "server_certificate"), "fingerprint", "56:78");
    assert_text(json_object_get(data, "warning"), "kind", "tls");
    assert_text(json_object_get(data, "warning"), "message", "the key does not belong to the certificate");
    ck_assert(json_is_null(json_object_get(data, "error")));

    receive_report_warning(&report, RECEIVE_WARNING_CERTIFICATES, NULL);
    ck_assert(report.is_changed);
    json_t *after SCOPED(scoped_json) = receive_report_to_json(&report);
    ck_assert(json_is_null(json_object_get(json_object_get(after, "data"), "warning")));
}
END_TEST

START_TEST(a_supervisor_that_is_gone_is_no_crash)
{
    control_stream_free(supervisor);
    supervisor = NULL;
    receive_report_state(&report, RECEIVE_STREAMING, NULL);
    receive_report_state(&report, RECEIVE_WAITING, NULL);
}
END_TEST

/* ---- how far behind ---- */

static const struct timeline first_timeline = {1};

static void flush(uint64_t position)
{
    receive_report_positions(&report, first_timeline, (struct wal_position){position}, (struct wal_position){position});
}

static void hear(uint64_t position)
{
    receive_report_server(&report, (struct wal_position){position});
}

/* A moment that is certainly another one, so that who kept an earlier one is seen. */
static void make_older(struct timestamp *at)
{
    at->microseconds -= 1000;
}

START_TEST(all_is_here_when_what_the_server_had_is_flushed)
{
    receive_report_state(&report, RECEIVE_STREAMING, NULL);
    ck_assert_int_eq(report.caught_up_at.microseconds, 0);
    hear(100);
    ck_assert_int_eq(report.caught_up_at.microseconds, 0);
    flush(99);
    ck_assert_int_eq(report.caught_up_at.microseconds, 0);
    flush(100);
    ck_assert_int_ne(report.caught_up_at.microseconds, 0);

    struct timestamp then = report.caught_up_at;
    make_older(&report.caught_up_at);
    hear(100); /* it still has no more */
    ck_assert_int_ge(report.caught_up_at.microseconds, then.microseconds);
    make_older(&report.caught_up_at);
    hear(200); /* up to now all was here */
    ck_assert_int_ge(report.caught_up_at.microseconds, then.microseconds);
}
END_TEST

START_TEST(a_server_that_always_has_more_was_caught_up_with_where_a_mark_was_set)
{
    receive_report_state(&report, RECEIVE_STREAMING, NULL);
    hear(1000);
    struct timestamp marked = report.mark.at;
    ck_assert_int_ne(marked.microseconds, 0);
    make_older(&report.mark.at);
    hear(2000);
    flush(999);
    ck_assert_int_eq(report.caught_up_at.microseconds, 0);
    flush(1500); /* all of the mark, not all of the server */
    ck_assert_int_eq(report.caught_up_at.microseconds, marked.microseconds - 1000);
    ck_assert_uint_eq(report.mark.position.value, 2000);
    hear(3000);
    flush(1999);
    ck_assert_int_eq(report.caught_up_at.microseconds, marked.microseconds - 1000);
    flush(2000);
    ck_assert_int_ge(report.caught_up_at.microseconds, marked.microseconds);
}
END_TEST

START_TEST(of_a_server_that_was_away_nobody_knows_when_it_got_more)
{
    receive_report_state(&report, RECEIVE_STREAMING, NULL);
    hear(100);
    flush(100);
    make_older(&report.caught_up_at);
    struct timestamp before = report.caught_up_at;
    receive_report_state(&report, RECEIVE_CONNECTING, NULL);
    hear(900);
    receive_report_state(&report, RECEIVE_STREAMING, NULL);
    hear(900);
    ck_assert_int_eq(report.caught_up_at.microseconds, before.microseconds);
    flush(900);
    ck_assert_int_gt(report.caught_up_at.microseconds, before.microseconds);

    before = report.caught_up_at; /* connected, and yet not heard */
    report.last_message_at.microseconds -= RECEIVE_SILENCE + 1;
    hear(1000);
    ck_assert_int_eq(report.caught_up_at.microseconds, before.microseconds);
}
END_TEST

START_TEST(connections_that_were_made_and_refused_are_counted)
{
    const struct pg_session encrypted = {.is_encrypted = true}, plain = {.is_encrypted = false};
    struct error failure;

    receive_report_state(&report, RECEIVE_STARTING, NULL);
    json_t *first SCOPED(scoped_json) = next_event();
    ck_assert(json_is_null(json_object_get(json_object_get(first, "data"), "up")));
    receive_report_session(&report, &encrypted);
    receive_report_session(&report, &encrypted);
    receive_report_session(&report, &plain);
    error_set(&failure, ERROR_TLS, "certificate expired");
    receive_report_refused(&report, &failure);
    error_set(&failure, ERROR_SERVER, "nobody is there");
    receive_report_refused(&report, &failure);
    report.received_bytes = 77;
    receive_report_state(&report, RECEIVE_WAITING, NULL);
    json_t *second SCOPED(scoped_json) = next_event();
    const json_t *data = json_object_get(second, "data"), *handshakes = json_object_get(data, "handshakes");
    ck_assert_int_eq(json_number_or(handshakes, "ok", -1), 2);
    ck_assert_int_eq(json_number_or(handshakes, "refused", -1), 1);
    ck_assert_int_eq(json_number_or(data, "received_bytes", -1), 77);
    ck_assert(json_is_false(json_object_get(data, "up")));
    receive_report_session(&report, &plain);
    receive_report_state(&report, RECEIVE_WAITING, NULL);
    json_t *third SCOPED(scoped_json) = next_event();
    ck_assert(json_is_true(json_object_get(json_object_get(third, "data"), "up")));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive report");

    tcase_add_checked_fixture(tests, report_make, report_remove);
    tcase_add_test(tests, a_change_of_state_is_told_at_once);
    tcase_add_test(tests, moving_positions_are_told_now_and_then);
    tcase_add_test(tests, positions_that_stand_still_are_told_once);
    tcase_add_test(tests, streaming_ends_an_error_but_one_that_is_kept);
    tcase_add_test(tests, certificates_and_a_warning_stand_beside_the_state);
    tcase_add_test(tests, a_supervisor_that_is_gone_is_no_crash);
    tcase_add_test(tests, all_is_here_when_what_the_server_had_is_flushed);
    tcase_add_test(tests, a_server_that_always_has_more_was_caught_up_with_where_a_mark_was_set);
    tcase_add_test(tests, of_a_server_that_was_away_nobody_knows_when_it_got_more);
    tcase_add_test(tests, connections_that_were_made_and_refused_are_counted);
    return suite_run("receive_report", tests);
}
