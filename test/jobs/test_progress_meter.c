#include "jobs/progress_meter_internal.h"
#include "support/suite.h"

#define SECOND INT64_C(1000000)

static struct progress_meter started(uint64_t total)
{
    struct progress_meter meter;

    progress_meter_start(&meter, 5 * SECOND);
    progress_meter_phase(&meter, 5 * SECOND, "copy", "", total);
    return meter;
}

START_TEST(a_new_phase_is_due_at_once)
{
    struct progress_meter meter = started(100);

    ck_assert(progress_meter_advance(&meter, 5 * SECOND, 0));
    ck_assert_str_eq(meter.progress.phase, "copy");
    ck_assert(!progress_meter_advance(&meter, 5 * SECOND + 1, 1));
    progress_meter_phase(&meter, 5 * SECOND + 2, "wal", "0/1", 0);
    ck_assert(progress_meter_advance(&meter, 5 * SECOND + 2, 0));
}
END_TEST

START_TEST(there_are_at_most_five_reports_a_second)
{
    struct progress_meter meter = started(0);
    int reports = 0;

    for (int64_t now = 5 * SECOND; now < 7 * SECOND; now += 1000)
        reports += progress_meter_advance(&meter, now, (uint64_t)now);
    ck_assert_int_eq(reports, 10);
}
END_TEST

START_TEST(a_steady_stream_gives_its_rate_and_the_time_left)
{
    struct progress_meter meter = started(10000);

    for (int64_t tick = 1; tick <= 40; tick++)
        (void)progress_meter_advance(&meter, 5 * SECOND + tick * SECOND / 4, (uint64_t)tick * 50);
    ck_assert_double_eq_tol(meter.progress.rate_bytes_per_second, 200, 0.01);
    ck_assert_double_eq_tol(meter.progress.eta_seconds, 40, 0.01);
    ck_assert_double_eq_tol(meter.progress.elapsed_seconds, 10, 0.01);
}
END_TEST

START_TEST(the_rate_follows_a_change_within_seconds)
{
    struct progress_meter meter = started(0);
    uint64_t done = 0;

    for (int64_t second = 1; second <= 60; second++)
        (void)progress_meter_advance(&meter, (5 + second) * SECOND, done += second <= 30 ? 1000 : 100);
    ck_assert_double_lt(meter.progress.rate_bytes_per_second, 150);
    ck_assert_double_gt(meter.progress.rate_bytes_per_second, 99);
}
END_TEST

START_TEST(in_the_first_second_the_end_is_unknown)
{
    struct progress_meter meter = started(1000);

    ck_assert(progress_meter_advance(&meter, 5 * SECOND + SECOND / 2, 100));
    ck_assert_double_lt(meter.progress.eta_seconds, 0);
    ck_assert_double_gt(meter.progress.rate_bytes_per_second, 0);
    ck_assert(progress_meter_advance(&meter, 6 * SECOND, 200));
    ck_assert_double_eq_tol(meter.progress.eta_seconds, 4, 0.1);
}
END_TEST

/* 8 s of 2 MB/s, then 8 s of none: 1 MB/s in the long run, 300 s in all. */
START_TEST(a_source_that_comes_in_gusts_does_not_make_the_time_left_jump)
{
    const uint64_t total = 300000000;
    struct progress_meter meter = started(total);
    uint64_t done = 0;

    for (int64_t tick = 1; tick <= 300 * 4; tick++) {
        done += (tick / 4) % 16 < 8 ? 500000 : 0;
        (void)progress_meter_advance(&meter, 5 * SECOND + tick * SECOND / 4, done);
        double left = 300 - (double)tick / 4;
        if (tick >= 150 * 4 && left > 60)
            ck_assert_double_eq_tol(meter.progress.eta_seconds, left, 0.25 * left);
    }
}
END_TEST

START_TEST(without_a_total_the_end_is_unknown)
{
    struct progress_meter meter = started(0);

    ck_assert(progress_meter_advance(&meter, 6 * SECOND, 500));
    ck_assert_double_lt(meter.progress.eta_seconds, 0);
    ck_assert_double_gt(meter.progress.rate_bytes_per_second, 0);
}
END_TEST

START_TEST(a_cluster_larger_than_its_estimate_has_no_negative_time_left)
{
    struct progress_meter meter = started(100);

    ck_assert(progress_meter_advance(&meter, 6 * SECOND, 500));
    ck_assert_double_eq(meter.progress.eta_seconds, 0);
    ck_assert_uint_eq(meter.progress.done_bytes, 500);
}
END_TEST

START_TEST(a_server_that_sends_nothing_stops_the_estimate)
{
    struct progress_meter meter = started(100);

    ck_assert(progress_meter_advance(&meter, 6 * SECOND, 0));
    ck_assert_double_lt(meter.progress.eta_seconds, 0);
    ck_assert_double_eq(meter.progress.rate_bytes_per_second, 0);
}
END_TEST

START_TEST(the_last_word_has_everything_done)
{
    struct progress_meter meter = started(1000);

    (void)progress_meter_advance(&meter, 6 * SECOND, 10);
    progress_meter_finish(&meter, 9 * SECOND, 800);
    ck_assert_uint_eq(meter.progress.done_bytes, 800);
    ck_assert_uint_eq(meter.progress.total_bytes, 800);
    ck_assert_double_eq(meter.progress.eta_seconds, 0);
    ck_assert_double_eq_tol(meter.progress.rate_bytes_per_second, 200, 0.01);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("progress_meter");

    tcase_add_test(tests, a_new_phase_is_due_at_once);
    tcase_add_test(tests, there_are_at_most_five_reports_a_second);
    tcase_add_test(tests, a_steady_stream_gives_its_rate_and_the_time_left);
    tcase_add_test(tests, the_rate_follows_a_change_within_seconds);
    tcase_add_test(tests, in_the_first_second_the_end_is_unknown);
    tcase_add_test(tests, a_source_that_comes_in_gusts_does_not_make_the_time_left_jump);
    tcase_add_test(tests, without_a_total_the_end_is_unknown);
    tcase_add_test(tests, a_cluster_larger_than_its_estimate_has_no_negative_time_left);
    tcase_add_test(tests, a_server_that_sends_nothing_stops_the_estimate);
    tcase_add_test(tests, the_last_word_has_everything_done);
    return suite_run("progress_meter", tests);
}
