#include "daemon/whole_daemon.h"
#include "pgcoffer/base/clock.h"
#include "support/suite.h"

/* What is stored, as `status` tells it: the fake survey (fake_worker.h) looks into files beside the repository. */

static char *NEVER_NULL place(const char *name)
{
    return memory_text("%s/%s", scratch_path("base"), name);
}

static void put(const char *name)
{
    char *path SCOPED(scoped_free) = place(name);

    fclose(fopen(path, "we"));
}

static void take_away(const char *name)
{
    char *path SCOPED(scoped_free) = place(name);

    ck_assert_int_eq(unlink(path), 0);
}

/* How many surveys have begun. */
static long count_surveys(void)
{
    char *path SCOPED(scoped_free) = place("begun");
    FILE *file = fopen(path, "re");
    long count = 0;

    if (file == NULL)
        return 0;
    while (fgetc(file) != EOF)
        count++;
    fclose(file);
    return count;
}

static json_t *ask_for_survey(void)
{
    json_t *status SCOPED(scoped_json) = ask("status");
    const json_t *server = json_array_get(json_object_get(status, "servers"), 0);

    return json_incref(json_object_get(server, "survey"));
}

static const char *error_of(const json_t *survey)
{
    const char *message = json_text_or_null(json_object_get(survey, "error"), "message");

    return message != NULL ? message : "";
}

static void take_backup(void)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = connect_now();

    send_request(stream, "backup", "one", "quick");
    json_decref(expect(stream, "job"));
    json_decref(expect(stream, "progress"));
    json_decref(expect(stream, "result"));
}

START_TEST(the_first_status_waits_for_the_survey_of_the_start)
{
    json_t *survey SCOPED(scoped_json) = ask_for_survey();

    ck_assert_str_eq(json_text_or_null(survey, "at"), "2026-11-22T01:30:00Z");
    ck_assert_str_eq(error_of(survey), "");
    ck_assert(json_is_null(json_object_get(survey, "running_since")));
    ck_assert_int_eq(json_number_or(json_object_get(survey, "room"), "days_until_full", -1), 33);
}
END_TEST

START_TEST(what_is_held_is_told_again_without_another_survey)
{
    json_decref(ask_for_survey());
    long before = count_surveys();
    for (int i = 0; i < 20; i++)
        json_decref(ask_for_survey());
    ck_assert_int_eq(count_surveys(), before);
    ck_assert_int_ge(before, 1);
}
END_TEST

START_TEST(a_status_after_a_backup_knows_of_it)
{
    json_decref(ask_for_survey());
    take_backup();
    json_t *status SCOPED(scoped_json) = ask("status");
    const json_t *server = json_array_get(json_object_get(status, "servers"), 0);
    ck_assert_str_eq(json_text_or_null(json_object_get(server, "last_backup"), "id"), "new");
}
END_TEST

START_TEST(a_survey_that_hangs_keeps_nobody_waiting_for_long)
{
    json_decref(ask_for_survey());
    put("hangs");
    take_backup();
    long begun = count_surveys();
    int64_t before = clock_monotonic();
    json_t *first SCOPED(scoped_json) = ask_for_survey();
    ck_assert_int_lt(clock_monotonic() - before, 10000000);
    ck_assert(json_is_string(json_object_get(first, "running_since")));
    ck_assert_str_eq(json_text_or_null(first, "at"), "2026-11-22T01:30:00Z"); /* the one before */
    before = clock_monotonic();
    for (int i = 0; i < 5; i++)
        json_decref(ask_for_survey());
    /* Not each of them waits for it again, which would take ten seconds; one may, if it began behind another survey. */
    ck_assert_int_lt(clock_monotonic() - before, 6000000);
    ck_assert_int_le(count_surveys(), begun + 1); /* nor does a second one begin */
}
END_TEST

START_TEST(a_survey_that_fails_is_told_and_what_was_known_stays)
{
    json_decref(ask_for_survey());
    put("fails");
    take_backup();
    json_t *survey SCOPED(scoped_json) = ask_for_survey();
    ck_assert_str_eq(error_of(survey), "the disk is gone");
    ck_assert_str_eq(json_text_or_null(survey, "at"), "2026-11-22T01:30:00Z");
    take_away("fails");
    take_backup();
    json_t *better SCOPED(scoped_json) = ask_for_survey();
    ck_assert_str_eq(error_of(better), "");
}
END_TEST

/* ---- what the receiver tells meanwhile ---- */

static void start_anew_with(const char *name, const char *other_name)
{
    stop_daemon();
    prepare_daemon();
    put(name);
    put(other_name);
    begin_daemon();
}

static char *NEVER_NULL told_until(void)
{
    json_t *survey SCOPED(scoped_json) = ask_for_survey();
    const json_t *windows = json_object_get(json_object_get(survey, "restorable"), "windows");
    const char *until = json_text_or_null(json_array_get(windows, 0), "until");

    return memory_copy_text(until != NULL ? until : "");
}

static void await_until(const char *wanted)
{
    int64_t deadline = clock_monotonic() + 15000000;
    char *until SCOPED(scoped_free) = told_until();

    while (strcmp(until, wanted) != 0 && clock_monotonic() < deadline) {
        free(until);
        until = told_until();
    }
    ck_assert_str_eq(until, wanted);
}

START_TEST(the_end_that_the_receiver_tells_counts_only_for_what_is_not_outdated)
{
    await_until("2026-11-22T02:00:00Z");
    put("fails");
    take_backup();
    await_until("2026-11-22T01:30:00Z"); /* who knows what the job has left */
    take_away("fails");
    put("hangs");
    take_backup();
    await_until("2026-11-22T01:30:00Z");
}
END_TEST

START_TEST(the_end_that_the_receiver_tells_is_that_of_its_own_cluster)
{
    await_until("2026-11-22T02:00:00Z");
    put("other");
    take_backup();
    await_until("2026-11-22T01:30:00Z");
    take_away("other");
    take_backup();
    await_until("2026-11-22T02:00:00Z");
}
END_TEST

START_TEST(a_survey_that_fails_is_not_begun_anew_for_each_who_asks)
{
    bool is_told = false;

    start_anew_with("fails", "fails");
    while (!is_told) {
        json_t *status SCOPED(scoped_json) = ask("status");
        const json_t *server = json_array_get(json_object_get(status, "servers"), 0);
        is_told = json_is_object(json_object_get(json_object_get(server, "receiver"), "complete"));
    }
    json_decref(ask_for_survey());
    long before = count_surveys();
    for (int i = 0; i < 20; i++)
        json_decref(ask_for_survey());
    ck_assert_int_le(count_surveys(), before + 1); /* the one for the receiver's first word may come late */
}
END_TEST

START_TEST(what_changes_all_the_time_is_looked_at_for_a_tenth_of_it)
{
    const int most = 2;

    start_anew_with("flaps", "slow");
    int64_t deadline = clock_monotonic() + 30000000, began;
    long before = count_surveys();
    while (count_surveys() == before && clock_monotonic() < deadline)
        json_decref(ask_for_survey());
    began = clock_monotonic();
    before = count_surveys();
    while (count_surveys() < before + most && clock_monotonic() < deadline)
        json_decref(ask_for_survey());
    ck_assert_int_ge(count_surveys(), before + most);
    ck_assert_int_gt(clock_monotonic() - began, INT64_C(1000) * (most - 1) * 10 * FAKE_SURVEY_MILLISECONDS);
}
END_TEST

START_TEST(a_shutdown_ends_a_survey_that_hangs)
{
    json_decref(ask_for_survey());
    put("hangs");
    take_backup();
    int64_t before = clock_monotonic();
    kill(daemon_pid, SIGTERM);
    ck_assert_int_eq(end_of(daemon_pid), 0);
    daemon_pid = 0;
    ck_assert_int_lt(clock_monotonic() - before, 5000000);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2 && strncmp(argv[1], "--role=", 7) == 0)
        return fake_worker(argv[1] + 7);
    TCase *tests = tcase_create("surveys");

    tcase_add_checked_fixture(tests, start_daemon, stop_daemon);
    tcase_add_test(tests, the_first_status_waits_for_the_survey_of_the_start);
    tcase_add_test(tests, what_is_held_is_told_again_without_another_survey);
    tcase_add_test(tests, a_status_after_a_backup_knows_of_it);
    tcase_add_test(tests, a_survey_that_hangs_keeps_nobody_waiting_for_long);
    tcase_add_test(tests, a_survey_that_fails_is_told_and_what_was_known_stays);
    tcase_add_test(tests, a_shutdown_ends_a_survey_that_hangs);
    tcase_add_test(tests, the_end_that_the_receiver_tells_counts_only_for_what_is_not_outdated);
    tcase_add_test(tests, the_end_that_the_receiver_tells_is_that_of_its_own_cluster);
    tcase_add_test(tests, a_survey_that_fails_is_not_begun_anew_for_each_who_asks);
    tcase_add_test(tests, what_changes_all_the_time_is_looked_at_for_a_tenth_of_it);
    return suite_run("surveys", tests);
}
