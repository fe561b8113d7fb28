#include "support/suite.h"

#include <stdio.h>

#include "jobs/receive/expiry_internal.h"

#define HOUR INT64_C(3600000000)
#define DAY  (24 * HOUR)

static const struct timestamp now = {INT64_C(1795000000000000)};
static const struct expiry_limits usual = {.warn_days = 21, .critical_days = 3};

static struct timestamp in(int64_t microseconds)
{
    return (struct timestamp){now.microseconds + microseconds};
}

START_TEST(days_that_are_left_decide)
{
    ck_assert_int_eq(expiry_judge(in(365 * DAY), now, usual), EXPIRY_FAR);
    ck_assert_int_eq(expiry_judge(in(21 * DAY), now, usual), EXPIRY_FAR);
    ck_assert_int_eq(expiry_judge(in(21 * DAY - 1), now, usual), EXPIRY_NEAR);
    ck_assert_int_eq(expiry_judge(in(3 * DAY), now, usual), EXPIRY_NEAR);
    ck_assert_int_eq(expiry_judge(in(3 * DAY - 1), now, usual), EXPIRY_CRITICAL);
    ck_assert_int_eq(expiry_judge(in(1), now, usual), EXPIRY_CRITICAL);
    ck_assert_int_eq(expiry_judge(in(0), now, usual), EXPIRY_OVER);
    ck_assert_int_eq(expiry_judge(in(-1000 * DAY), now, usual), EXPIRY_OVER);
}
END_TEST

START_TEST(without_critical_days_only_the_end_is_a_failure)
{
    const struct expiry_limits lax = {.warn_days = 1, .critical_days = 0};

    ck_assert_int_eq(expiry_judge(in(DAY), now, lax), EXPIRY_FAR);
    ck_assert_int_eq(expiry_judge(in(1), now, lax), EXPIRY_NEAR);
    ck_assert_int_eq(expiry_judge(in(0), now, lax), EXPIRY_OVER);
}
END_TEST

START_TEST(more_critical_than_warning_days_are_critical_first)
{
    const struct expiry_limits turned = {.warn_days = 3, .critical_days = 21};

    ck_assert_int_eq(expiry_judge(in(20 * DAY), now, turned), EXPIRY_CRITICAL);
    ck_assert_int_eq(expiry_judge(in(22 * DAY), now, turned), EXPIRY_FAR);
}
END_TEST

/* Walks from change to change; each makes it worse at that very moment and not before. */
START_TEST(the_next_change_is_when_the_judgement_becomes_worse)
{
    struct timestamp end = in(100 * DAY), at = now, next = {0};
    enum expiry_level level = expiry_judge(end, at, usual);

    for (int changes = 0; changes < 3; changes++) {
        ck_assert(expiry_next_change(end, at, usual, &next));
        ck_assert_int_eq(expiry_judge(end, (struct timestamp){next.microseconds - 1}, usual), level);
        ck_assert_int_gt(expiry_judge(end, next, usual), level);
        level = expiry_judge(end, next, usual);
        at = next;
    }
    ck_assert_int_eq(level, EXPIRY_OVER);
    ck_assert(!expiry_next_change(end, at, usual, &next));
}
END_TEST

START_TEST(each_is_told_once_a_day)
{
    struct expiry_memory memory = {.next = 0};
    int64_t at = 7;

    ck_assert(!expiry_is_due(&memory, "A", EXPIRY_FAR, at));
    ck_assert(expiry_is_due(&memory, "A", EXPIRY_NEAR, at));
    ck_assert(expiry_is_due(&memory, "B", EXPIRY_NEAR, at));
    for (int reconnects = 0; reconnects < 100; reconnects++)
        ck_assert(!expiry_is_due(&memory, "A", EXPIRY_NEAR, at += HOUR / 10));
    ck_assert(!expiry_is_due(&memory, "A", EXPIRY_NEAR, 7 + DAY - 1));
    ck_assert(expiry_is_due(&memory, "A", EXPIRY_NEAR, 7 + DAY));
    ck_assert(!expiry_is_due(&memory, "A", EXPIRY_NEAR, 7 + DAY + 1));
}
END_TEST

START_TEST(worse_is_told_at_once_and_better_is_not)
{
    struct expiry_memory memory = {.next = 0};

    ck_assert(expiry_is_due(&memory, "A", EXPIRY_NEAR, 1));
    ck_assert(expiry_is_due(&memory, "A", EXPIRY_CRITICAL, 2));
    ck_assert(expiry_is_due(&memory, "A", EXPIRY_OVER, 3));
    ck_assert(!expiry_is_due(&memory, "A", EXPIRY_OVER, 4));
    ck_assert(!expiry_is_due(&memory, "A", EXPIRY_NEAR, 5)); /* the clock was set back */
}
END_TEST

START_TEST(what_was_told_long_ago_gives_way)
{
    struct expiry_memory memory = {.next = 0};
    char name[16];

    for (int i = 0; i < EXPIRY_MOST_TOLD; i++) {
        snprintf(name, sizeof name, "%d", i);
        ck_assert(expiry_is_due(&memory, name, EXPIRY_NEAR, 1));
    }
    ck_assert(expiry_is_due(&memory, "new", EXPIRY_NEAR, 1));
    ck_assert(!expiry_is_due(&memory, "1", EXPIRY_NEAR, 1));
    ck_assert(expiry_is_due(&memory, "0", EXPIRY_NEAR, 1));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive expiry");

    tcase_add_test(tests, days_that_are_left_decide);
    tcase_add_test(tests, without_critical_days_only_the_end_is_a_failure);
    tcase_add_test(tests, more_critical_than_warning_days_are_critical_first);
    tcase_add_test(tests, the_next_change_is_when_the_judgement_becomes_worse);
    tcase_add_test(tests, each_is_told_once_a_day);
    tcase_add_test(tests, worse_is_told_at_once_and_better_is_not);
    tcase_add_test(tests, what_was_told_long_ago_gives_way);
    return suite_run("receive_expiry", tests);
}
