#include "daemon/backoff_internal.h"

#include "support/suite.h"

START_TEST(the_waits_grow_to_half_a_minute_and_stay_there)
{
    static const unsigned expected[] = {1, 2, 5, 10, 30, 30, 30};
    struct backoff backoff = {0};

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        ck_assert_uint_eq(backoff_next_seconds(&backoff), expected[i]);
    for (int i = 0; i < 100000; i++)
        ck_assert_uint_eq(backoff_next_seconds(&backoff), 30);
}
END_TEST

START_TEST(a_success_makes_the_next_wait_short_again)
{
    struct backoff backoff = {0};

    for (int i = 0; i < 5; i++)
        (void)backoff_next_seconds(&backoff);
    backoff_reset(&backoff);
    ck_assert_uint_eq(backoff_next_seconds(&backoff), 1);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("backoff");

    tcase_add_test(tests, the_waits_grow_to_half_a_minute_and_stay_there);
    tcase_add_test(tests, a_success_makes_the_next_wait_short_again);
    return suite_run("backoff", tests);
}
