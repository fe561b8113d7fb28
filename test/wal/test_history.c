#include "pgcoffer/wal/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"

static struct history parse(uint32_t timeline, const char *text)
{
    struct history history;
    struct error err;

    ck_assert_msg(history_parse((struct timeline){timeline}, text, strlen(text), &history, &err), "%s", err.message);
    return history;
}

static void assert_refused(uint32_t timeline, const char *text, const char *why)
{
    struct history history;
    struct error err;

    ck_assert_msg(!history_parse((struct timeline){timeline}, text, strlen(text), &history, &err), "%s", text);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_msg(strstr(err.message, why) != NULL, "\"%s\" instead of \"%s\"", err.message, why);
}

static const char chain[] = "1\t0/3000000\tno recovery target specified\n"
                            "\n"
                            "2\t0/5000028\tbefore 2026-11-22 01:30:00+00\n"
                            "# by hand\n"
                            "\n"
                            "4 0/5000028 at restore point \"x\"\n";

START_TEST(a_chain_of_forks_tells_who_wrote_what)
{
    struct history history = parse(7, chain);
    static const struct {
        uint64_t position;
        uint32_t timeline;
    } expected[] = {{0, 1}, {0x2FFFFFF, 1}, {0x3000000, 2}, {0x5000027, 2}, {0x5000028, 7}, {UINT64_MAX, 7}};

    ck_assert_uint_eq(history.entry_count, 3);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        ck_assert_uint_eq(history_timeline_at(&history, (struct wal_position){expected[i].position}).value,
                          expected[i].timeline);
    history_done(&history);
}
END_TEST

START_TEST(a_chain_of_forks_leads_from_each_to_the_next)
{
    struct history history = parse(7, chain);
    struct wal_position fork;
    struct timeline timeline = {1};

    ck_assert(history_switch_point(&history, timeline, &fork));
    ck_assert_uint_eq(fork.value, 0x3000000);
    ck_assert(history_next(&history, timeline, &timeline));
    ck_assert_uint_eq(timeline.value, 2);
    ck_assert(history_next(&history, timeline, &timeline));
    ck_assert_uint_eq(timeline.value, 4);
    ck_assert(history_next(&history, timeline, &timeline));
    ck_assert_uint_eq(timeline.value, 7);
    ck_assert(!history_next(&history, timeline, &timeline));
    ck_assert(!history_switch_point(&history, timeline, &fork));

    ck_assert(history_contains(&history, (struct timeline){7}));
    ck_assert(history_contains(&history, (struct timeline){4}));
    ck_assert(!history_contains(&history, (struct timeline){3}));
    ck_assert(!history_next(&history, (struct timeline){3}, &timeline));
    history_done(&history);
}
END_TEST

START_TEST(timeline_1_has_no_ancestor_and_every_other_has_one)
{
    struct history history = parse(1, "");

    ck_assert_uint_eq(history.entry_count, 0);
    ck_assert_uint_eq(history_timeline_at(&history, (struct wal_position){5}).value, 1);
    ck_assert(history_contains(&history, (struct timeline){1}));
    history_done(&history);
    assert_refused(2, "", "names no ancestor");
    assert_refused(2, "# only a remark\n\n", "names no ancestor");
    assert_refused(1, "1\t0/1\tx\n", "below the history's own");
}
END_TEST

START_TEST(reasons_and_blanks_do_not_make_a_difference)
{
    struct history one = parse(3, "1\t0/3000000\tno recovery target specified\n\n2\t0/5000028\treason\n");
    struct history other = parse(3, "  1 0/03000000\r\n2   0/5000028 another\r\n");
    struct history moved = parse(3, "1\t0/3000000\tx\n2\t0/5000029\tx\n");
    struct history adopted = parse(3, "1\t0/5000028\tx\n");
    struct history sibling = parse(4, "1\t0/3000000\n2\t0/5000028\n");

    ck_assert(history_is_same(&one, &other));
    ck_assert(!history_is_same(&one, &moved));
    ck_assert(!history_is_same(&one, &adopted));
    ck_assert(!history_is_same(&one, &sibling));
    history_done(&one);
    history_done(&other);
    history_done(&moved);
    history_done(&adopted);
    history_done(&sibling);
}
END_TEST

START_TEST(a_disorder_is_refused_with_its_line)
{
    assert_refused(5, "2\t0/1\tx\n2\t0/2\tx\n", "line 2: timelines must increase");
    assert_refused(5, "3\t0/1\tx\n2\t0/2\tx\n", "line 2: timelines must increase");
    assert_refused(5, "5\t0/1\tx\n", "line 1: timelines must be below");
    assert_refused(5, "1\t0/2\tx\n\n2\t0/1\tx\n", "line 3: switch points must not decrease");
}
END_TEST

START_TEST(a_garbled_line_is_refused_with_its_line)
{
    assert_refused(5, "x\t0/1\n", "line 1: expected a timeline number");
    assert_refused(5, "0\t0/1\n", "line 1: expected a timeline number");
    assert_refused(5, "-1\t0/1\n", "expected a timeline number");
    assert_refused(5, "4294967296\t0/1\n", "expected a timeline number");
    assert_refused(5, "99999999999999999999999999999999\t0/1\n", "expected a timeline number");
    assert_refused(5, "1\n", "line 1: expected a switch point");
    assert_refused(5, "1\t03000000\tx\n", "line 1: expected a switch point");
    assert_refused(5, "1\t0/G\tx\n", "line 1: expected a switch point");
    assert_refused(5, "10/3000000\tx\n", "expected a timeline number");
}
END_TEST

START_TEST(a_history_cut_off_within_a_switch_point_is_refused)
{
    struct history history = parse(2, "1\t0/3000000\tno recov");

    ck_assert_uint_eq(history.entry_count, 1);
    history_done(&history);
    assert_refused(2, "1\t0/30000", "it ends within the switch point");
    assert_refused(2, "1\t0/", "expected a switch point");
    assert_refused(2, "1", "expected a switch point");
}
END_TEST

START_TEST(bytes_of_zero_are_no_history)
{
    static const char zeros[512];
    struct history history;
    struct error err;

    for (size_t size = 1; size <= sizeof zeros; size *= 8)
        ck_assert(!history_parse((struct timeline){2}, zeros, size, &history, &err));
    ck_assert(!history_parse((struct timeline){2}, "1\0\t0/3\n", 7, &history, &err));
}
END_TEST

START_TEST(sizes_have_a_ceiling)
{
    size_t room = HISTORY_MOST_BYTES + 1, used = 0;
    char *text = malloc(room);
    struct history history;
    struct error err;

    for (int i = 1; i <= HISTORY_MOST_ENTRIES; i++)
        used += (size_t)snprintf(text + used, room - used, "%d\t0/%X\tx\n", i, (unsigned)i);
    ck_assert(history_parse((struct timeline){99999}, text, used, &history, &err));
    ck_assert_uint_eq(history.entry_count, HISTORY_MOST_ENTRIES);
    history_done(&history);
    used += (size_t)snprintf(text + used, room - used, "%d\t0/%X\tx\n", HISTORY_MOST_ENTRIES + 1, 1U << 30);
    ck_assert(!history_parse((struct timeline){99999}, text, used, &history, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);

    memset(text, '\n', room);
    ck_assert(!history_parse((struct timeline){2}, text, room, &history, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "too large"));
    free(text);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("history");

    tcase_add_test(tests, a_chain_of_forks_tells_who_wrote_what);
    tcase_add_test(tests, a_chain_of_forks_leads_from_each_to_the_next);
    tcase_add_test(tests, timeline_1_has_no_ancestor_and_every_other_has_one);
    tcase_add_test(tests, reasons_and_blanks_do_not_make_a_difference);
    tcase_add_test(tests, a_disorder_is_refused_with_its_line);
    tcase_add_test(tests, a_garbled_line_is_refused_with_its_line);
    tcase_add_test(tests, a_history_cut_off_within_a_switch_point_is_refused);
    tcase_add_test(tests, bytes_of_zero_are_no_history);
    tcase_add_test(tests, sizes_have_a_ceiling);
    return suite_run("history", tests);
}
