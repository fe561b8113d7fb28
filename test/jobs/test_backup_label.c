#include <string.h>

#include "jobs/backup/label_internal.h"
#include "support/suite.h"

#define START    "START WAL LOCATION: 0/1600028 (file 000000010000000000000016)\n"
#define MIDDLE   "CHECKPOINT LOCATION: 0/1600080\nBACKUP METHOD: streamed\n"
#define TIMELINE "START TIMELINE: 3\n"

static struct error err;

static struct label parsed(const char *text)
{
    struct label label;

    ck_assert_msg(label_parse(text, strlen(text), &label, &err), "%s", err.message);
    return label;
}

START_TEST(a_primarys_label_is_read)
{
    struct label label = parsed(START MIDDLE "BACKUP FROM: primary\nSTART TIME: 2026-11-22 00:06:37 UTC\n"
                                             "LABEL: lbl\n" TIMELINE);

    ck_assert_uint_eq(label.start_position.value, 0x1600028);
    ck_assert_uint_eq(label.start_timeline.value, 3);
    ck_assert(!label.from_standby);
    ck_assert_int_eq(label.started_at.microseconds, INT64_C(1795305997000000));
}
END_TEST

START_TEST(version_13_says_master_and_a_standby_says_so)
{
    ck_assert(!parsed(START MIDDLE "BACKUP FROM: master\n" TIMELINE).from_standby);
    ck_assert(parsed(START MIDDLE "BACKUP FROM: standby\n" TIMELINE).from_standby);
}
END_TEST

START_TEST(a_zone_with_an_unknown_name_makes_the_time_unknown)
{
    ck_assert_int_eq(parsed(START "START TIME: 2026-11-22 00:06:37 CET\n" TIMELINE).started_at.microseconds, 0);
    ck_assert_int_eq(parsed(START "START TIME: nonsense\n" TIMELINE).started_at.microseconds, 0);
    ck_assert_int_eq(parsed(START TIMELINE).started_at.microseconds, 0);
    ck_assert_int_eq(parsed(START "START TIME: 2026-11-22 05:36:37 +0530\n" TIMELINE).started_at.microseconds,
                     INT64_C(1795305997000000));
}
END_TEST

START_TEST(a_label_that_looks_like_a_line_is_only_a_label)
{
    struct label label = parsed(START "LABEL: START TIMELINE: 9\n" TIMELINE);

    ck_assert_uint_eq(label.start_timeline.value, 3);
}
END_TEST

START_TEST(lines_of_later_versions_do_no_harm)
{
    parsed(START TIMELINE "INCREMENTAL FROM LSN: 0/1600028\nINCREMENTAL FROM TLI: 1\n");
    parsed(START "START TIMELINE: 3"); /* no newline at the end */
}
END_TEST

START_TEST(what_recovery_needs_must_be_there)
{
    static const char *const texts[] = {
        "",
        MIDDLE TIMELINE,
        START MIDDLE,
        "START WAL LOCATION: here\n" TIMELINE,
        "START WAL LOCATION: 0000000000000000000000000000000000000/1\n" TIMELINE,
        START "START TIMELINE: 0\n",
        START "START TIMELINE: -1\n",
        START "START TIMELINE: 99999999999\n",
    };
    struct label label;

    ck_assert(!label_parse(texts[_i], strlen(texts[_i]), &label, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_ptr_nonnull(strstr(err.message, "backup_label"));
}
END_TEST

START_TEST(zero_bytes_and_endless_lines_are_passed_over)
{
    static char text[8192];
    struct label label;
    size_t size = strlen(START);

    memcpy(text, START, size);
    memset(text + size, 'x', 4000);
    text[size + 4000] = '\n';
    text[size + 4001] = '\0';
    text[size + 4002] = '\n';
    memcpy(text + size + 4003, TIMELINE, strlen(TIMELINE));
    ck_assert(label_parse(text, size + 4003 + strlen(TIMELINE), &label, &err));
    ck_assert_uint_eq(label.start_timeline.value, 3);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("backup_label");

    tcase_add_test(tests, a_primarys_label_is_read);
    tcase_add_test(tests, version_13_says_master_and_a_standby_says_so);
    tcase_add_test(tests, a_zone_with_an_unknown_name_makes_the_time_unknown);
    tcase_add_test(tests, a_label_that_looks_like_a_line_is_only_a_label);
    tcase_add_test(tests, lines_of_later_versions_do_no_harm);
    tcase_add_loop_test(tests, what_recovery_needs_must_be_there, 0, 8);
    tcase_add_test(tests, zero_bytes_and_endless_lines_are_passed_over);
    return suite_run("backup_label", tests);
}
