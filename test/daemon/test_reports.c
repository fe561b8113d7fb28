#include "daemon/whole_daemon.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/text.h"
#include "support/suite.h"

/* A client that runs a restore and tells of it, spoken to by hand. */

static void say(struct control_stream *stream, json_t *message_stolen)
{
    struct error err;
    json_t *message SCOPED(scoped_json) = message_stolen;

    ck_assert_msg(control_send(stream, message, &err), "%s", err.message);
}

static struct control_stream *begin_report(const char *command)
{
    struct control_stream *stream = connect_now();

    say(stream, json_pack("{s:i, s:s, s:s, s:{s:s}}", "v", CONTROL_VERSION, "command", "report", "server", "one",
                          "options", "command", command));
    return stream;
}

/* The job's id, in memory of its own. */
static struct control_stream *start_report(const char *command, char ret_job[32])
{
    struct control_stream *stream = begin_report(command);
    json_t *event SCOPED(scoped_json) = expect(stream, "job");

    ck_assert_str_eq(json_text_or_null(event, "command"), command);
    snprintf(ret_job, 32, "%s", json_text_or_null(event, "job"));
    return stream;
}

static json_t *progress_of(const char *phase, json_int_t done)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:f, s:f}", "event", "progress", "phase", phase, "item", "base",
                     "done_bytes", done, "total_bytes", (json_int_t)1000, "rate_bytes_per_second", 10.0, "eta_seconds",
                     90.0, "elapsed_seconds", 1.0);
}

static json_t *find_job(const char *id)
{
    json_t *data SCOPED(scoped_json) = ask("jobs");
    const json_t *job;
    size_t i;

    json_array_foreach(json_object_get(data, "jobs"), i, job)
    {
        if (strcmp(json_text_or_null(job, "job"), id) == 0)
            return json_incref((json_t *)job);
    }
    ck_abort_msg("there is no job %s", id);
}

static struct control_stream *ask_of_job(const char *command, const char *id)
{
    struct control_stream *stream = connect_now();

    say(stream, json_pack("{s:i, s:s, s:s}", "v", CONTROL_VERSION, "command", command, "job", id));
    return stream;
}

static void expect_state(const char *id, const char *state)
{
    json_t *job SCOPED(scoped_json) = find_job(id);

    ck_assert_str_eq(json_text_or_null(job, "state"), state);
}

START_TEST(what_is_reported_is_a_job_that_can_be_followed_to_its_end)
{
    char job[32];
    struct control_stream *reporter SCOPED(scoped_control_stream) = start_report("restore", job);

    expect_state(job, "running");
    struct control_stream *follower SCOPED(scoped_control_stream) = ask_of_job("follow", job);
    say(reporter, progress_of("restore", 100));
    json_t *followed SCOPED(scoped_json) = expect(follower, "progress");
    json_t *sent SCOPED(scoped_json) = progress_of("restore", 100);
    ck_assert(json_equal(followed, sent));
    json_t *shown SCOPED(scoped_json) = find_job(job);
    json_object_del(sent, "event");
    ck_assert(json_equal(json_object_get(shown, "progress"), sent));
    ck_assert_str_eq(json_text_or_null(shown, "command"), "restore");
    say(reporter,
        json_pack("{s:s, s:{s:s, s:i}}", "event", "result", "data", "backup", "20260101T000000Z", "size_bytes", 1000));
    json_t *end SCOPED(scoped_json) = expect(follower, "result");
    ck_assert_str_eq(json_text_or_null(json_object_get(end, "data"), "backup"), "20260101T000000Z");
    json_t *answer SCOPED(scoped_json) = expect(reporter, "result");
    ck_assert_str_eq(json_text_or_null(json_object_get(answer, "data"), "state"), "done");
    expect_end(reporter);
    expect_state(job, "done");
}
END_TEST

START_TEST(a_failure_is_told_in_the_clients_words)
{
    char job[32];
    struct control_stream *reporter SCOPED(scoped_control_stream) = start_report("drill", job);

    say(reporter, json_pack("{s:s, s:s, s:s}", "event", "error", "kind", "storage", "message", "the disk is full"));
    json_decref(expect(reporter, "result"));
    struct control_stream *late SCOPED(scoped_control_stream) = ask_of_job("follow", job);
    expect_error(late, "storage", "the disk is full");
    expect_state(job, "failed");
}
END_TEST

START_TEST(a_client_that_goes_away_without_a_word_leaves_a_job_that_is_gone)
{
    char job[32];
    struct control_stream *reporter = start_report("export", job);
    struct control_stream *follower SCOPED(scoped_control_stream) = ask_of_job("follow", job);

    say(reporter, progress_of("restore", 100));
    json_decref(expect(follower, "progress"));
    control_stream_free(reporter);
    expect_error(follower, "failed", "the program that ran the export went away without telling how it ended");
    expect_state(job, "gone");
}
END_TEST

START_TEST(who_cancels_it_asks_the_client_and_waits_for_its_end)
{
    char job[32];
    struct control_stream *reporter SCOPED(scoped_control_stream) = start_report("restore", job);
    struct control_stream *other SCOPED(scoped_control_stream) = ask_of_job("cancel", job);
    json_t *event SCOPED(scoped_json) = expect(reporter, "cancel");

    ck_assert(!text_is_empty(json_text_or_null(event, "by")));
    say(reporter, json_pack("{s:s, s:s}", "event", "error", "message", "the restore was interrupted"));
    json_t *answer SCOPED(scoped_json) = expect(other, "result");
    ck_assert_str_eq(json_text_or_null(json_object_get(answer, "data"), "state"), "cancelled");
    expect_state(job, "cancelled");
}
END_TEST

START_TEST(words_of_a_client_are_made_printable_and_its_numbers_possible)
{
    char job[32];
    char bell[300];
    struct control_stream *reporter SCOPED(scoped_control_stream) = start_report("restore", job);
    struct control_stream *follower SCOPED(scoped_control_stream) = ask_of_job("follow", job);

    memset(bell, '\a', sizeof bell - 1);
    bell[sizeof bell - 1] = '\0';
    say(reporter, json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:f, s:{}}", "event", "progress", "phase", "\033[2J",
                            "item", bell, "done_bytes", (json_int_t)-5, "rate_bytes_per_second", 1e300, "eta_seconds",
                            1e300, "elapsed_seconds", -7.0, "more"));
    json_t *event SCOPED(scoped_json) = expect(follower, "progress");
    ck_assert_str_eq(json_text_or_null(event, "phase"), "?[2J");
    ck_assert_uint_eq(strspn(json_text_or_null(event, "item"), "?"), 255);
    ck_assert_int_eq(json_number_or(event, "done_bytes", -1), 0);
    ck_assert_double_eq(json_number_value(json_object_get(event, "rate_bytes_per_second")), 0);
    ck_assert_double_eq(json_number_value(json_object_get(event, "eta_seconds")), -1);
    ck_assert_double_eq(json_number_value(json_object_get(event, "elapsed_seconds")), 0);
    ck_assert_ptr_null(json_object_get(event, "more"));
}
END_TEST

START_TEST(only_a_restore_a_drill_or_an_export_can_be_reported)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = begin_report("backup");

    expect_error(stream, "usage", "restore, drill and export");
}
END_TEST

START_TEST(what_is_no_event_ends_it)
{
    char job[32];
    struct control_stream *reporter SCOPED(scoped_control_stream) = start_report("restore", job);

    say(reporter, json_pack("{s:s, s:{s:s}}", "event", "item", "data", "a", "b"));
    expect_error(reporter, "usage", "progress, result and error only");
    expect_end(reporter);
    expect_state(job, "gone");
}
END_TEST

START_TEST(a_flood_of_them_is_taken_at_the_pace_of_a_reader)
{
    enum { EVENTS = 100 }; /* 19 KB, of which 16 go at once */
    char job[32];
    struct control_stream *reporter SCOPED(scoped_control_stream) = start_report("restore", job);
    int64_t begun_at = clock_monotonic();

    for (int i = 0; i < EVENTS; i++)
        say(reporter, progress_of("restore", i));
    say(reporter, json_pack("{s:s, s:{}}", "event", "result", "data"));
    json_decref(expect(reporter, "result"));
    ck_assert_int_gt(clock_monotonic() - begun_at, 500000);
    json_t *shown SCOPED(scoped_json) = find_job(job);
    ck_assert_int_eq(json_number_or(json_object_get(shown, "progress"), "done_bytes", -1), EVENTS - 1);
}
END_TEST

START_TEST(the_end_of_the_daemon_is_told_to_both)
{
    char job[32];
    struct control_stream *reporter SCOPED(scoped_control_stream) = start_report("restore", job);
    struct control_stream *follower SCOPED(scoped_control_stream) = ask_of_job("follow", job);

    say(reporter, progress_of("restore", 1));
    json_decref(expect(follower, "progress"));
    kill(daemon_pid, SIGTERM);
    expect_error(reporter, "daemon", "the daemon was shut down");
    expect_error(follower, "daemon", "the daemon was shut down");
    ck_assert_int_eq(end_of(daemon_pid), 0);
    daemon_pid = 0;
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2 && strncmp(argv[1], "--role=", 7) == 0)
        return fake_worker(argv[1] + 7);
    TCase *tests = tcase_create("reports");

    tcase_add_checked_fixture(tests, start_daemon, stop_daemon);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, what_is_reported_is_a_job_that_can_be_followed_to_its_end);
    tcase_add_test(tests, a_failure_is_told_in_the_clients_words);
    tcase_add_test(tests, a_client_that_goes_away_without_a_word_leaves_a_job_that_is_gone);
    tcase_add_test(tests, who_cancels_it_asks_the_client_and_waits_for_its_end);
    tcase_add_test(tests, words_of_a_client_are_made_printable_and_its_numbers_possible);
    tcase_add_test(tests, only_a_restore_a_drill_or_an_export_can_be_reported);
    tcase_add_test(tests, what_is_no_event_ends_it);
    tcase_add_test(tests, a_flood_of_them_is_taken_at_the_pace_of_a_reader);
    tcase_add_test(tests, the_end_of_the_daemon_is_told_to_both);
    return suite_run("reports", tests);
}
