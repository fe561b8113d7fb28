#include "jobs/growth_internal.h"
#include "support/suite.h"

#define DAY INT64_C(86400000000)

/* Days since 1970, and a part of one. */
static struct timestamp day(double days)
{
    return (struct timestamp){(int64_t)(days * (double)DAY)};
}

/* -1: nothing can be said yet. */
static int64_t per_day(const struct growth *growth, struct timestamp now)
{
    uint64_t bytes;

    return growth_per_day(growth, now, &bytes) ? (int64_t)bytes : -1;
}

START_TEST(what_came_before_anything_else_does_not_count)
{
    struct growth growth = {.wal = {0}};

    growth_add_segment(&growth, day(20000), 300);
    growth_add_backup(&growth, day(20000.5), 1000000); /* of which nobody knows whether another one follows */
    ck_assert_int_eq(per_day(&growth, day(20010)), 0);
    growth_add_segment(&growth, day(20005), 500);
    growth_add_segment(&growth, day(20009.5), 500);
    ck_assert_int_eq(per_day(&growth, day(20010)), 100);
    growth_add_backup(&growth, day(20010.5), 2000000);
    ck_assert_int_eq(per_day(&growth, day(20020.5)), 100000 + 48);
    ck_assert_uint_eq(growth.backups.count, 2);
    ck_assert_uint_eq(growth.wal.count, 3);
    ck_assert_uint_eq(growth.backups.bytes, 3000000);
    ck_assert_uint_eq(growth.wal.bytes, 1300);
}
END_TEST

START_TEST(less_than_a_day_says_nothing)
{
    struct growth growth = {.wal = {0}};

    growth_add_segment(&growth, day(20000), 10);
    growth_add_segment(&growth, day(20000.5), 500);
    growth_add_backup(&growth, day(20000.5), 700);
    growth_add_backup(&growth, day(20000.7), 700);
    ck_assert_int_eq(per_day(&growth, day(20000.9)), -1);
    ck_assert_int_eq(per_day(&growth, day(20001)), 500);
}
END_TEST

START_TEST(the_order_in_which_it_is_told_does_not_matter)
{
    struct growth forwards = {.wal = {0}}, backwards = {.wal = {0}};

    for (int i = 0; i <= 100; i++) {
        growth_add_segment(&forwards, day(20000 + i / 4.0), 1000 + (uint64_t)i);
        growth_add_segment(&backwards, day(20000 + (100 - i) / 4.0), 1000 + (uint64_t)(100 - i));
    }
    ck_assert_int_gt(per_day(&forwards, day(20025)), 4000);
    ck_assert_int_eq(per_day(&forwards, day(20025)), per_day(&backwards, day(20025)));
}
END_TEST

START_TEST(only_the_last_thirty_days_count)
{
    struct growth growth = {.wal = {0}};

    for (int i = 0; i < 400; i++) /* much at first, then a little */
        growth_add_segment(&growth, day(20000 + i + 0.5), i < 360 ? 100000 : 100);
    ck_assert_int_eq(per_day(&growth, day(20400)), 100);
}
END_TEST

START_TEST(times_that_cannot_be_are_stored_bytes_all_the_same)
{
    struct growth growth = {.wal = {0}};

    growth_add_segment(&growth, day(0), 7);
    growth_add_segment(&growth, (struct timestamp){-5}, 7);
    growth_add_segment(&growth, day(30000), 7); /* a clock was wrong */
    ck_assert_uint_eq(growth.wal.bytes, 21);
    ck_assert_int_eq(per_day(&growth, day(20000)), -1);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("growth");

    tcase_add_test(tests, what_came_before_anything_else_does_not_count);
    tcase_add_test(tests, less_than_a_day_says_nothing);
    tcase_add_test(tests, the_order_in_which_it_is_told_does_not_matter);
    tcase_add_test(tests, only_the_last_thirty_days_count);
    tcase_add_test(tests, times_that_cannot_be_are_stored_bytes_all_the_same);
    return suite_run("growth", tests);
}
