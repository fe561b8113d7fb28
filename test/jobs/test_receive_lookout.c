#include "jobs/receive/lookout_internal.h"
#include "support/suite.h"

#define SYSTEM UINT64_C(7000000000000000001)

static struct pg_host_report reports[3];

static struct pg_host_report host(enum pg_role role, uint32_t timeline, uint64_t position)
{
    return (struct pg_host_report){
        .is_asked = true,
        .role = role,
        .identity = {.system_identifier = SYSTEM, .timeline = {timeline}, .position = {position}}};
}

/* We stream from the first of three, on timeline 2, and are at 5000. */
static struct lookout_input from(enum pg_role role)
{
    return (struct lookout_input){.count = 3,
                                  .here = 0,
                                  .role = role,
                                  .system_identifier = SYSTEM,
                                  .timeline = {2},
                                  .received = {5000},
                                  .received_before = {4000},
                                  .far_bytes = 1000,
                                  .reports = reports};
}

static size_t choose(enum pg_role role)
{
    struct lookout_input input = from(role);

    return lookout_choose(&input);
}

START_TEST(nobody_leaves_a_primary_for_anything_of_the_same_timeline)
{
    reports[1] = host(PG_ROLE_STANDBY, 2, 9000);
    reports[2] = host(PG_ROLE_PRIMARY, 2, 9000);
    ck_assert_uint_eq(choose(PG_ROLE_PRIMARY), 3);
}
END_TEST

START_TEST(a_primary_is_better_than_the_standby_in_use)
{
    reports[1] = host(PG_ROLE_STANDBY, 2, 9000);
    reports[2] = host(PG_ROLE_PRIMARY, 2, 5000);
    ck_assert_uint_eq(choose(PG_ROLE_STANDBY), 2);
}
END_TEST

START_TEST(a_primary_of_a_newer_timeline_is_better_than_the_primary_in_use)
{
    reports[1] = host(PG_ROLE_PRIMARY, 3, 4000);
    reports[2] = host(PG_ROLE_PRIMARY, 4, 4500);
    ck_assert_uint_eq(choose(PG_ROLE_PRIMARY), 2);
}
END_TEST

START_TEST(a_standby_of_a_newer_timeline_is_no_reason_to_leave_a_primary)
{
    reports[1] = host(PG_ROLE_STANDBY, 3, 4000);
    reports[2] = host(PG_ROLE_STANDBY, 2, 4000);
    ck_assert_uint_eq(choose(PG_ROLE_PRIMARY), 3);
    ck_assert_uint_eq(choose(PG_ROLE_STANDBY), 1);
}
END_TEST

START_TEST(an_old_primary_is_never_gone_to)
{
    reports[1] = host(PG_ROLE_PRIMARY, 1, 9000);
    reports[2] = host(PG_ROLE_STANDBY, 1, 9000);
    ck_assert_uint_eq(choose(PG_ROLE_STANDBY), 3);
    ck_assert_uint_eq(choose(PG_ROLE_PRIMARY), 3);
}
END_TEST

START_TEST(another_cluster_and_one_that_is_down_do_not_count)
{
    reports[1] = host(PG_ROLE_PRIMARY, 3, 9000);
    reports[1].identity.system_identifier++;
    reports[2] = host(PG_ROLE_PRIMARY, 3, 9000);
    reports[2].is_refused = true;
    ck_assert_uint_eq(choose(PG_ROLE_STANDBY), 3);
    reports[2] = (struct pg_host_report){.is_asked = false};
    ck_assert_uint_eq(choose(PG_ROLE_STANDBY), 3);
}
END_TEST

START_TEST(a_standby_that_stands_still_is_left_for_one_that_is_far_ahead)
{
    struct lookout_input input = from(PG_ROLE_STANDBY);

    reports[1] = host(PG_ROLE_STANDBY, 2, 5999);
    reports[2] = host(PG_ROLE_STANDBY, 2, 6000);
    ck_assert_uint_eq(lookout_choose(&input), 3); /* it moves */
    input.received_before = input.received;
    ck_assert_uint_eq(lookout_choose(&input), 2);
    reports[2] = host(PG_ROLE_STANDBY, 2, 100); /* behind */
    ck_assert_uint_eq(lookout_choose(&input), 3);
}
END_TEST

START_TEST(another_cluster_is_a_problem)
{
    struct lookout_input input = from(PG_ROLE_PRIMARY);
    struct error err;

    reports[1] = host(PG_ROLE_STANDBY, 2, 5000);
    ck_assert(!lookout_find_problem(&input, 1, &err));
    reports[1].identity.system_identifier = 7;
    ck_assert(lookout_find_problem(&input, 1, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_str_eq(err.message, "it has system identifier 7, and the others have 7000000000000000001: it is another "
                                  "cluster");
    ck_assert_str_ne(err.hint, "");
}
END_TEST

START_TEST(a_second_primary_is_a_problem_unless_it_is_gone_to)
{
    struct lookout_input input = from(PG_ROLE_PRIMARY);
    struct error err;

    for (uint32_t timeline = 1; timeline <= 2; timeline++) {
        reports[1] = host(PG_ROLE_PRIMARY, timeline, 5000);
        ck_assert(lookout_find_problem(&input, 1, &err));
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    }
    reports[1] = host(PG_ROLE_PRIMARY, 3, 5000);
    ck_assert(!lookout_find_problem(&input, 1, &err));
    reports[1].is_refused = true;
    ck_assert(!lookout_find_problem(&input, 1, &err));
    ck_assert(!lookout_find_problem(&input, 0, &err));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("lookout");

    tcase_add_test(tests, nobody_leaves_a_primary_for_anything_of_the_same_timeline);
    tcase_add_test(tests, a_primary_is_better_than_the_standby_in_use);
    tcase_add_test(tests, a_primary_of_a_newer_timeline_is_better_than_the_primary_in_use);
    tcase_add_test(tests, a_standby_of_a_newer_timeline_is_no_reason_to_leave_a_primary);
    tcase_add_test(tests, an_old_primary_is_never_gone_to);
    tcase_add_test(tests, another_cluster_and_one_that_is_down_do_not_count);
    tcase_add_test(tests, a_standby_that_stands_still_is_left_for_one_that_is_far_ahead);
    tcase_add_test(tests, another_cluster_is_a_problem);
    tcase_add_test(tests, a_second_primary_is_a_problem_unless_it_is_gone_to);
    return suite_run("lookout", tests);
}
