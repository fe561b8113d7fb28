#include "pgcoffer/base/clock.h"

#include <stdlib.h>
#include <string.h>

#include "support/suite.h"

static void assert_reads_as(const char *text, const char *wanted)
{
    struct timestamp timestamp;
    struct error err;
    char got[TIMESTAMP_TEXT_SIZE];

    ck_assert_msg(timestamp_parse(text, &timestamp, &err), "refused \"%s\"", text);
    timestamp_format(timestamp, got);
    ck_assert_msg(strcmp(got, wanted) == 0, "\"%s\" gave %s, not %s", text, got, wanted);
}

START_TEST(times_of_rfc_3339_and_of_postgresql_are_read)
{
    assert_reads_as("2026-11-22T01:30:00Z", "2026-11-22T01:30:00Z");
    assert_reads_as("2026-11-22t01:30:00z", "2026-11-22T01:30:00Z");
    assert_reads_as("2026-11-22 01:30:00 UTC", "2026-11-22T01:30:00Z");
    assert_reads_as("2026-11-22 01:30:00.5+02", "2026-11-21T23:30:00.500000Z");
    assert_reads_as("2026-11-22 01:30:00.123456-03:30", "2026-11-22T05:00:00.123456Z");
    assert_reads_as("2026-11-22 01:30:00.1234567+0000", "2026-11-22T01:30:00.123457Z");
    assert_reads_as("2026-11-22 01:30:00.9999999Z", "2026-11-22T01:30:01Z");
    assert_reads_as("1970-01-01 00:19:32+00:19:32", "1970-01-01T00:00:00Z");
    assert_reads_as("2026-11-22 01:30 +01", "2026-11-22T00:30:00Z");
    assert_reads_as("2026-11-22 GMT", "2026-11-22T00:00:00Z");
    assert_reads_as("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z");
    assert_reads_as("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z");
}
END_TEST

START_TEST(without_a_zone_it_is_local_time)
{
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    assert_reads_as("2026-11-22 01:30:00", "2026-11-22T00:30:00Z");
    assert_reads_as("2026-07-01 01:30:00", "2026-06-30T23:30:00Z");
    assert_reads_as("2026-07-01 01:30:00Z", "2026-07-01T01:30:00Z");
}
END_TEST

START_TEST(what_is_no_time_is_refused)
{
    static const char *const bad[] = {"",
                                      "now",
                                      "2026",
                                      "2026-11",
                                      "26-11-22",
                                      "2026-13-01Z",
                                      "2026-00-01Z",
                                      "2026-01-00Z",
                                      "2026-02-30Z",
                                      "2025-02-29Z",
                                      "2026-02-30",
                                      "1969-12-31Z",
                                      "2026-11-22T24:00:00Z",
                                      "2026-11-22T01:60:00Z",
                                      "2026-11-22T01:30:60Z",
                                      "2026-11-22T01:30:00.Z",
                                      "2026-11-22T01:30:00.1234567890Z",
                                      "2026-11-22T1:30:00Z",
                                      "2026-11-22TZ",
                                      "2026-11-22 01:30:00 Europe/Berlin",
                                      "2026-11-22 01:30:00+",
                                      "2026-11-22 01:30:00+2",
                                      "2026-11-22 01:30:00+16",
                                      "2026-11-22 01:30:00+02:",
                                      "2026-11-22 01:30:00+02:60",
                                      "2026-11-22 01:30:00+02:00:",
                                      "2026-11-22 01:30:00Zx"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct timestamp timestamp;
        struct error err;
        ck_assert_msg(!timestamp_parse(bad[i], &timestamp, &err), "accepted \"%s\"", bad[i]);
        ck_assert_int_eq(err.kind, ERROR_USAGE);
        ck_assert_str_ne(err.hint, "");
    }
}
END_TEST

START_TEST(times_before_1970_are_written_downwards)
{
    char text[TIMESTAMP_TEXT_SIZE];

    timestamp_format((struct timestamp){-1}, text);
    ck_assert_str_eq(text, "1969-12-31T23:59:59.999999Z");
    timestamp_format((struct timestamp){INT64_MAX}, text);
    ck_assert_str_eq(text, "294247-01-10T04:00:54.775807Z");
    timestamp_format((struct timestamp){INT64_MIN}, text);
}
END_TEST

START_TEST(the_clock_of_postgresql_begins_in_2000)
{
    char text[TIMESTAMP_TEXT_SIZE];

    timestamp_format(timestamp_from_postgres(0), text);
    ck_assert_str_eq(text, "2000-01-01T00:00:00Z");
    ck_assert_int_eq(timestamp_to_postgres(timestamp_from_postgres(123456789)), 123456789);
    ck_assert_int_eq(timestamp_from_postgres(INT64_MAX).microseconds, INT64_MAX);
    ck_assert_int_eq(timestamp_to_postgres((struct timestamp){INT64_MIN}), INT64_MIN);
}
END_TEST

START_TEST(the_monotonic_clock_does_not_go_back)
{
    int64_t before = clock_monotonic();

    ck_assert_int_ge(clock_monotonic(), before);
    ck_assert_int_gt(clock_now().microseconds, INT64_C(1700000000000000));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("clock");

    tcase_add_test(tests, times_of_rfc_3339_and_of_postgresql_are_read);
    tcase_add_test(tests, without_a_zone_it_is_local_time);
    tcase_add_test(tests, what_is_no_time_is_refused);
    tcase_add_test(tests, times_before_1970_are_written_downwards);
    tcase_add_test(tests, the_clock_of_postgresql_begins_in_2000);
    tcase_add_test(tests, the_monotonic_clock_does_not_go_back);
    return suite_run("clock", tests);
}
