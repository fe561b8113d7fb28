#include "jobs/receive/completeness_internal.h"
#include "support/suite.h"

/* Positions are small numbers, times seconds of the server's clock. */
#define SECOND INT64_C(1000000)
#define MARGIN 2

static struct receive_completeness known;

static void make(void)
{
    known = (struct receive_completeness){.is_primary = true, .has_caught_up = true};
}

static void data(uint64_t end, uint64_t server_end, int64_t at)
{
    const struct wal_message message = {.kind = WAL_MESSAGE_DATA, .server_end = {server_end}, .sent_at = {at * SECOND}};

    receive_completeness_data(&known, &message, (struct wal_position){end});
}

/* True: a reply is to be asked for. */
static bool keepalive(uint64_t end, uint64_t sent, int64_t at, bool is_answer)
{
    const struct wal_message message = {.kind = WAL_MESSAGE_KEEPALIVE,
                                        .server_end = {sent},
                                        .sent_at = {at * SECOND},
                                        .is_reply_requested = !is_answer};

    return receive_completeness_keepalive(&known, &message, (struct wal_position){end});
}

static void expect(uint64_t position, int64_t seconds)
{
    ck_assert_int_eq(known.proven.at.microseconds, seconds * SECOND);
    ck_assert_uint_eq(known.proven.position.value, position);
}

static void expect_nothing(void)
{
    ck_assert_int_eq(known.proven.at.microseconds, 0);
}

START_TEST(data_that_end_where_the_servers_wal_does_prove_it)
{
    data(100, 100, 1000);
    expect(100, 1000 - MARGIN);
    data(200, 500, 1100);
    expect(100, 1000 - MARGIN);
    data(500, 500, 1200);
    expect(500, 1200 - MARGIN);
}
END_TEST

/* Twelve to one there was no connection; at one the server sends what was written by ten past twelve, and dies. */
START_TEST(what_comes_late_proves_nothing)
{
    data(100, 500, 13 * 3600);
    ck_assert(!keepalive(100, 100, 13 * 3600 + 1, true));
    receive_completeness_asked(&known);
    ck_assert(!keepalive(100, 100, 13 * 3600 + 2, true));
    expect_nothing();
}
END_TEST

START_TEST(an_idle_server_proves_the_moment_of_the_first_of_two_keepalives)
{
    data(100, 100, 1000);
    receive_completeness_asked(&known);
    ck_assert(keepalive(100, 100, 1010, true));
    expect(100, 1000 - MARGIN);
    receive_completeness_asked(&known);
    ck_assert(!keepalive(100, 100, 1011, true));
    expect(100, 1010 - MARGIN);
}
END_TEST

/* It tells how far the server has sent, and what it had not yet looked at comes behind it. */
START_TEST(a_keepalive_before_data_proves_nothing)
{
    ck_assert(keepalive(100, 100, 1010, false));
    receive_completeness_asked(&known);
    data(200, 300, 1011);
    ck_assert(!keepalive(200, 200, 1012, true));
    expect_nothing();
}
END_TEST

START_TEST(two_keepalives_that_wait_together_prove_nothing)
{
    receive_completeness_asked(&known); /* both questions lie before the server */
    receive_completeness_asked(&known);
    ck_assert(!keepalive(100, 100, 1010, true));
    ck_assert(keepalive(100, 100, 1011, true));
    expect_nothing();
    ck_assert(keepalive(100, 100, 1012, false)); /* nor one that was not asked for */
    expect_nothing();
}
END_TEST

/* The answer to a question from before the first keepalive was on its way with it. */
START_TEST(only_the_answer_to_the_later_question_is_the_second)
{
    receive_completeness_asked(&known);
    ck_assert(!keepalive(100, 100, 1010, false));
    receive_completeness_asked(&known);
    ck_assert(!keepalive(100, 100, 1011, true));
    expect_nothing();
    ck_assert(keepalive(100, 100, 1012, true));
    receive_completeness_asked(&known);
    ck_assert(!keepalive(100, 100, 1013, true));
    expect(100, 1012 - MARGIN);
}
END_TEST

START_TEST(a_standby_proves_nothing)
{
    known.is_primary = false;
    data(100, 100, 1000);
    ck_assert(!keepalive(100, 100, 1010, true));
    receive_completeness_asked(&known);
    ck_assert(!keepalive(100, 100, 1011, true));
    expect_nothing();
}
END_TEST

START_TEST(only_what_is_durable_is_noted)
{
    data(100, 100, 1000);
    ck_assert(!receive_completeness_is_due(&known, (struct wal_position){99}));
    ck_assert(receive_completeness_is_due(&known, (struct wal_position){100}));
    known.note_at = INT64_MAX;
    ck_assert(!receive_completeness_is_due(&known, (struct wal_position){100}));
}
END_TEST

int main(void)
{
    TCase *group = tcase_create("completeness");

    tcase_add_checked_fixture(group, make, NULL);
    tcase_add_test(group, data_that_end_where_the_servers_wal_does_prove_it);
    tcase_add_test(group, what_comes_late_proves_nothing);
    tcase_add_test(group, an_idle_server_proves_the_moment_of_the_first_of_two_keepalives);
    tcase_add_test(group, a_keepalive_before_data_proves_nothing);
    tcase_add_test(group, two_keepalives_that_wait_together_prove_nothing);
    tcase_add_test(group, only_the_answer_to_the_later_question_is_the_second);
    tcase_add_test(group, a_standby_proves_nothing);
    tcase_add_test(group, only_what_is_durable_is_noted);
    return suite_run("completeness", group);
}
