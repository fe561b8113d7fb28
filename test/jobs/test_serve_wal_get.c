#include "jobs/serving.h"
#include "pgcoffer/repo/wal_gaps.h"

/* The answers PostgreSQL's recovery hangs on: "not there" only where nothing was ever held. */

static struct error err;
static json_t *result;

static const char *more_options = "";

static bool get(const char *file)
{
    char request[256];

    snprintf(request, sizeof request, "'command':'wal-get','server':'primary','options':{'file':'%s'%s}", file,
             more_options);
    json_decref(result);
    result = serving_ask(request, &err);
    return result != NULL;
}

static void expect_found(const char *file, const char *encoding, uint64_t stored)
{
    ck_assert_msg(get(file), "%s: %s", file, err.message);
    const json_t *item = json_array_get(serving_items, 0);
    ck_assert(json_is_set(item, "found"));
    ck_assert_str_eq(json_text_or_null(item, "encoding"), encoding);
    ck_assert_uint_eq((uint64_t)json_number_or(item, "stored", -1), stored);
    ck_assert_uint_eq(serving_size, stored);
}

static void expect_not_there(const char *file)
{
    ck_assert_msg(get(file), "%s: %s", file, err.message);
    ck_assert_uint_eq(json_array_size(serving_items), 0);
    ck_assert(json_is_false(json_object_get(result, "found")));
    ck_assert_ptr_nonnull(json_text_or_null(result, "reason"));
}

static void expect_hole(const char *file)
{
    ck_assert_msg(!get(file), "%s was answered", file);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_msg(strstr(err.message, file) != NULL, "%s", err.message);
}

static void record(enum wal_gap_reason reason, uint64_t start, uint64_t end)
{
    const struct wal_gap gap = {
        .timeline = {1}, .start = {start}, .end = {end}, .reason = reason, .words = "a checksum is wrong"};

    ck_assert_msg(wal_gaps_record(&archive, &gap, &err), "%s", err.message);
}

static void drop(void)
{
    more_options = "";
    json_decref(result);
    json_decref(serving_items);
    serving_remove();
}

static void publish(uint32_t timeline, const char *text)
{
    ck_assert_msg(wal_archive_write_history(&archive, (struct timeline){timeline}, text, strlen(text), &err), "%s",
                  err.message);
}

START_TEST(a_finished_segment_comes_plain_or_compressed)
{
    serving_start(RIGHT_RESTORER);
    expect_found("000000010000000000000003", "plain", ONE_MB);
    ck_assert_msg(wal_archive_compress(&archive, segment_of(1, 3), 3, &err), "%s", err.message);
    ck_assert(get("000000010000000000000003"));
    ck_assert_str_eq(json_text_or_null(json_array_get(serving_items, 0), "encoding"), "zstd");
    ck_assert_int_eq(json_number_or(json_array_get(serving_items, 0), "length", 0), ONE_MB);
}
END_TEST

START_TEST(the_newest_unfinished_segment_comes_with_what_is_held)
{
    serving_start(RIGHT_RESTORER);
    expect_found("000000010000000000000004", "partial", 77);
}
END_TEST

START_TEST(what_lies_behind_the_last_byte_is_not_there)
{
    serving_start(RIGHT_RESTORER);
    expect_not_there("000000010000000000000005");
    expect_not_there("0000000100000000000000FF");
    expect_not_there("000000020000000000000003"); /* an unknown timeline */
    expect_not_there("00000002.history");
    expect_not_there("00000001.history");
}
END_TEST

START_TEST(other_names_are_not_there)
{
    static const char *const names[] = {"000000010000000000000003.partial", "000000010000000000000003.00000028.backup",
                                        "../../server.json", "00000001000000000000000g", "x"};

    serving_start(RIGHT_RESTORER);
    expect_not_there(names[_i]);
}
END_TEST

START_TEST(a_hole_is_an_error_never_an_end)
{
    hold_segment(1, 7);
    serving_start(RIGHT_RESTORER);
    expect_hole("000000010000000000000005");
    expect_hole("000000010000000000000006");
    expect_hole("000000010000000000000002"); /* before the first one held */
    expect_hole("000000010000000000000004"); /* a partial one with others behind it */
    expect_found("000000010000000000000007", "plain", ONE_MB);
}
END_TEST

/* The base holds segment 3, and 77 bytes of segment 4. */
START_TEST(a_loss_that_is_known_is_a_hole_even_when_nothing_follows_it)
{
    record(WAL_GAP_REMOVED, 4 * ONE_MB + 77, 0);
    serving_start(RIGHT_RESTORER);
    expect_hole("000000010000000000000004");
    expect_hole("000000010000000000000005");
    expect_hole("0000000100000000000000FF");
    expect_not_there("000000020000000000000003");
}
END_TEST

START_TEST(a_recovery_with_a_target_gets_what_lies_before_a_gap)
{
    hold_segment(1, 9);
    serving_start(RIGHT_RESTORER);
    expect_hole("000000010000000000000004");
    more_options = ",'to-target':true";
    expect_found("000000010000000000000004", "partial", 77);
    expect_hole("000000010000000000000005");
}
END_TEST

START_TEST(a_segment_recorded_as_damaged_is_not_given)
{
    record(WAL_GAP_DAMAGED, 3 * ONE_MB, 4 * ONE_MB);
    serving_start(RIGHT_RESTORER);
    expect_hole("000000010000000000000003");
    ck_assert_ptr_nonnull(strstr(err.detail, "a checksum is wrong"));
    ck_assert_msg(wal_gaps_mend(&archive, segment_of(1, 3), &err), "%s", err.message);
    expect_found("000000010000000000000003", "plain", ONE_MB);
}
END_TEST

START_TEST(a_record_of_gaps_that_cannot_be_read_is_no_end_of_wal)
{
    repository_put("wal/gaps.json", "{", 1);
    serving_start(RIGHT_RESTORER);
    ck_assert(!get("000000010000000000000005"));
    ck_assert_ptr_nonnull(strstr(err.message, "gaps.json"));
}
END_TEST

START_TEST(an_empty_file_behind_a_missing_segment_proves_the_hole)
{
    hold_partial(1, 7, 0);
    serving_start(RIGHT_RESTORER);
    expect_hole("000000010000000000000006");
    expect_not_there("000000010000000000000007");
}
END_TEST

START_TEST(segments_from_before_a_timelines_fork_are_not_there)
{
    static const char text[] = "1\t0/400020\tno recovery target specified\n";

    hold_partial(2, 4, 500);
    serving_start(RIGHT_RESTORER);
    expect_not_there("00000002.history"); /* the copied segment alone is no published switch */
    publish(2, text);
    expect_found("00000002.history", "history", strlen(text));
    expect_not_there("000000020000000000000003");
    expect_found("000000020000000000000004", "partial", 500);
}
END_TEST

/*
 * Part of segment 4 came of timeline 1, and timeline 2 began with that segment: what is not there of it recovery would
 * take from timeline 1, where that branch died.
 */
START_TEST(the_first_segment_of_a_timeline_is_never_denied_once_its_history_is_there)
{
    publish(2, "1\t0/400000\tno recovery target specified\n");
    serving_start(RIGHT_RESTORER);
    expect_found("000000020000000000000004", "partial", 0);
    ck_assert_int_eq(json_number_or(json_array_get(serving_items, 0), "length", 0), ONE_MB);
    hold_partial(2, 4, 0);
    expect_found("000000020000000000000004", "partial", 0);
    expect_not_there("000000020000000000000003");
    expect_not_there("000000020000000000000005");
    expect_found("000000010000000000000004", "partial", 77);
    hold_partial(2, 6, 0);
    expect_hole("000000020000000000000004");
}
END_TEST

START_TEST(a_first_segment_without_the_bytes_before_its_fork_is_a_hole)
{
    publish(2, "1\t0/400020\tno recovery target specified\n");
    serving_start(RIGHT_RESTORER);
    expect_hole("000000020000000000000004");
    hold_partial(2, 4, 0);
    expect_hole("000000020000000000000004");
    expect_not_there("000000020000000000000005");
}
END_TEST

/* A standby asks again and again for what is not there; the archive behind it may have a million segments. */
START_TEST(only_the_newest_folder_of_the_timeline_is_read)
{
    hold_segment(2, 5000);
    hold_partial(2, 5001, 77);
    repository_put("wal/00000002/00000000", "whoever opens this folder fails", 31);
    publish(2, "1\t0/400000\tno recovery target specified\n");
    serving_start(RIGHT_RESTORER);
    expect_found("000000020000000100000389", "partial", 77);
    expect_not_there("00000002000000010000038A");
    expect_not_there("0000000200000001000003FF");
    expect_not_there("00000003.history");
}
END_TEST

/* Timeline 1 is held up to segment 4, timeline 2 left it in segment 8: 4 to 7 are lost, and no end of WAL. */
START_TEST(what_is_missing_before_a_later_timelines_fork_is_a_hole)
{
    hold_segment(2, 8);
    publish(2, "1\t0/800020\tno recovery target specified\n");
    serving_start(RIGHT_RESTORER);
    expect_hole("000000010000000000000004");
    expect_hole("000000010000000000000005");
    expect_hole("000000010000000000000007");
    expect_not_there("000000010000000000000008"); /* recovery takes it from timeline 2 */
    expect_not_there("000000020000000000000007");
    expect_not_there("000000020000000000000009");
    expect_found("000000020000000000000008", "plain", ONE_MB);
}
END_TEST

START_TEST(an_end_of_wal_is_not_told_while_a_later_history_cannot_be_read)
{
    repository_put("wal/00000002.history", "nonsense", 8);
    serving_start(RIGHT_RESTORER);
    ck_assert(!get("000000010000000000000005"));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
}
END_TEST

START_TEST(a_history_that_is_missing_although_its_timeline_is_held_is_a_hole)
{
    hold_segment(2, 4);
    serving_start(RIGHT_RESTORER);
    expect_hole("00000002.history");
    repository_put("wal/00000002.history", "nonsense", 8);
    expect_hole("00000002.history");
}
END_TEST

START_TEST(a_finished_segment_of_another_size_is_damage)
{
    repository_put("wal/00000001/00000000/000000010000000000000003", "short", 5);
    serving_start(RIGHT_RESTORER);
    expect_hole("000000010000000000000003");
}
END_TEST

#define GET_OF "'command':'wal-get','server':'primary','options':{'file':'000000010000000000000003','system-id':"

START_TEST(the_system_identifier_decides_whose_wal_it_is)
{
    serving_start(RIGHT_RESTORER);
    result = serving_ask(GET_OF "'7000000000000000001'}", &err);
    ck_assert_ptr_nonnull(result);
    ck_assert_ptr_null(serving_ask(GET_OF "'42'}", &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_ptr_null(serving_ask(GET_OF "'x'}", &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
}
END_TEST

START_TEST(a_repository_without_any_wal_is_no_end_of_wal)
{
    serving_start(RIGHT_RESTORER);
    ck_assert_ptr_null(
        serving_ask("'command':'wal-get','server':'other','options':{'file':'000000010000000000000003'}", &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("serve_wal_get");

    tcase_add_checked_fixture(tests, serving_make, drop);
    tcase_add_test(tests, a_finished_segment_comes_plain_or_compressed);
    tcase_add_test(tests, the_newest_unfinished_segment_comes_with_what_is_held);
    tcase_add_test(tests, what_lies_behind_the_last_byte_is_not_there);
    tcase_add_loop_test(tests, other_names_are_not_there, 0, 5);
    tcase_add_test(tests, a_hole_is_an_error_never_an_end);
    tcase_add_test(tests, a_loss_that_is_known_is_a_hole_even_when_nothing_follows_it);
    tcase_add_test(tests, a_recovery_with_a_target_gets_what_lies_before_a_gap);
    tcase_add_test(tests, a_segment_recorded_as_damaged_is_not_given);
    tcase_add_test(tests, a_record_of_gaps_that_cannot_be_read_is_no_end_of_wal);
    tcase_add_test(tests, an_empty_file_behind_a_missing_segment_proves_the_hole);
    tcase_add_test(tests, segments_from_before_a_timelines_fork_are_not_there);
    tcase_add_test(tests, the_first_segment_of_a_timeline_is_never_denied_once_its_history_is_there);
    tcase_add_test(tests, a_first_segment_without_the_bytes_before_its_fork_is_a_hole);
    tcase_add_test(tests, only_the_newest_folder_of_the_timeline_is_read);
    tcase_add_test(tests, what_is_missing_before_a_later_timelines_fork_is_a_hole);
    tcase_add_test(tests, an_end_of_wal_is_not_told_while_a_later_history_cannot_be_read);
    tcase_add_test(tests, a_history_that_is_missing_although_its_timeline_is_held_is_a_hole);
    tcase_add_test(tests, a_finished_segment_of_another_size_is_damage);
    tcase_add_test(tests, the_system_identifier_decides_whose_wal_it_is);
    tcase_add_test(tests, a_repository_without_any_wal_is_no_end_of_wal);
    return suite_run("serve_wal_get", tests);
}
