#include "repo/repository.h"

static struct wal_ranges read_ranges(void)
{
    struct error err;
    struct wal_ranges ranges;

    MUST(wal_archive_ranges(&archive, &ranges, &err));
    return ranges;
}

static struct history read_history(uint32_t timeline, const char *text)
{
    struct error err;
    struct history history;

    MUST(history_parse((struct timeline){timeline}, text, strlen(text), &history, &err));
    return history;
}

/* Positions in bytes; `missing` is where the way ends, or UINT64_MAX when all of it is held. */
static void assert_cover(const char *history_text, uint32_t last_timeline, uint32_t timeline, uint64_t start,
                         uint64_t end, uint32_t missing_timeline, uint64_t missing)
{
    struct wal_ranges ranges = read_ranges();
    struct history history = read_history(last_timeline, history_text);
    struct timeline found_timeline = {0};
    struct wal_position found = {UINT64_MAX};

    bool covered = wal_ranges_cover(&ranges, &history, (struct timeline){timeline}, (struct wal_position){start},
                                    (struct wal_position){end}, archive.segment_size, &found_timeline, &found);
    ck_assert_int_eq(covered, missing == UINT64_MAX);
    ck_assert_uint_eq(found.value, missing);
    ck_assert_uint_eq(found_timeline.value, missing_timeline);
    history_done(&history);
    wal_ranges_done(&ranges);
}

static void assert_covered(const char *history_text, uint32_t last_timeline, uint32_t timeline, uint64_t start,
                           uint64_t end)
{
    assert_cover(history_text, last_timeline, timeline, start, end, 0, UINT64_MAX);
}

#define MB UINT64_C(1048576)

START_TEST(contiguous_segments_make_one_range_to_the_last_byte)
{
    hold_segment(1, 3);
    hold_segment(1, 4);
    hold_partial(1, 5, 77);
    struct wal_ranges ranges = read_ranges();
    ck_assert_uint_eq(ranges.count, 1);
    ck_assert_uint_eq(ranges.ranges[0].start.value, 3 * MB);
    ck_assert_uint_eq(ranges.ranges[0].end.value, 5 * MB + 77);
    ck_assert_int_gt(ranges.ranges[0].last_written_at.microseconds, 0);
    wal_ranges_done(&ranges);
}
END_TEST

START_TEST(gaps_and_timelines_begin_a_new_range)
{
    hold_segment(1, 3);
    hold_segment(1, 5);
    hold_partial(1, 6, 0);
    hold_partial(1, 8, 5); /* an unfinished one does not reach the next */
    hold_segment(1, 9);
    hold_segment(2, 10);
    struct wal_ranges ranges = read_ranges();
    static const uint64_t expected[][3] = {
        {1, 3 * MB, 4 * MB}, {1, 5 * MB, 6 * MB}, {1, 8 * MB, 8 * MB + 5}, {1, 9 * MB, 10 * MB}, {2, 10 * MB, 11 * MB}};
    ck_assert_uint_eq(ranges.count, 5);
    for (size_t i = 0; i < 5; i++) {
        ck_assert_uint_eq(ranges.ranges[i].timeline.value, expected[i][0]);
        ck_assert_uint_eq(ranges.ranges[i].start.value, expected[i][1]);
        ck_assert_uint_eq(ranges.ranges[i].end.value, expected[i][2]);
    }
    wal_ranges_done(&ranges);
}
END_TEST

START_TEST(an_empty_archive_has_no_range)
{
    struct wal_ranges ranges = read_ranges();

    ck_assert_uint_eq(ranges.count, 0);
    assert_cover("", 1, 1, 5, 6, 1, 5);
    wal_ranges_done(&ranges);
}
END_TEST

START_TEST(one_timeline_is_covered_up_to_the_byte)
{
    hold_segment(1, 3);
    hold_partial(1, 4, 77);
    assert_covered("", 1, 1, 3 * MB, 4 * MB + 77);
    assert_covered("", 1, 1, 4 * MB + 10, 4 * MB + 10);
    assert_covered("", 1, 1, 4 * MB - 1, 4 * MB);
    assert_cover("", 1, 1, 3 * MB, 4 * MB + 78, 1, 4 * MB + 77);
    assert_cover("", 1, 1, 3 * MB - 1, 4 * MB, 1, 3 * MB - 1);
    assert_cover("", 1, 2, 3 * MB, 4 * MB, 2, 3 * MB);
}
END_TEST

START_TEST(a_gap_is_named_by_its_first_byte)
{
    hold_segment(1, 3);
    hold_segment(1, 5);
    assert_cover("", 1, 1, 3 * MB, 6 * MB, 1, 4 * MB);
    assert_covered("", 1, 1, 5 * MB + 1, 6 * MB);
}
END_TEST

START_TEST(the_way_over_a_fork_needs_the_new_timelines_segment)
{
    static const char fork[] = "1\t0/400010\tx\n"; /* 4 MB and 16 bytes */
    struct error err;

    hold_segment(1, 3);
    hold_partial(1, 4, 100); /* reaches beyond the fork */
    assert_cover(fork, 2, 1, 3 * MB, 4 * MB + 50, 2, 4 * MB + 16);
    assert_covered(fork, 2, 1, 3 * MB, 4 * MB + 16);
    MUST(wal_archive_copy_fork(&archive, (struct timeline){1}, (struct timeline){2}, (struct wal_position){4 * MB + 16},
                               &err));
    assert_cover(fork, 2, 1, 3 * MB, 4 * MB + 50, 2, 4 * MB + 16);
    struct wal_partial *partial = NULL;
    MUST(wal_partial_open(&archive, segment_of(2, 4), &partial, &err));
    ck_assert_uint_eq(wal_partial_held(partial), 16);
    MUST(wal_partial_write(partial, 16, "new timeline", 12, &err));
    wal_partial_free(partial);
    assert_covered(fork, 2, 1, 3 * MB, 4 * MB + 28);
    assert_covered(fork, 2, 2, 4 * MB + 16, 4 * MB + 28);
    assert_covered("", 1, 1, 3 * MB, 4 * MB + 100); /* the old branch is whole too */
}
END_TEST

START_TEST(a_position_on_the_dead_branch_is_never_covered)
{
    static const char fork[] = "1\t0/400010\tx\n";

    hold_segment(1, 3);
    hold_segment(1, 4);
    hold_segment(2, 4);
    assert_cover(fork, 2, 1, 4 * MB + 17, 5 * MB, 1, 4 * MB + 17);
    assert_covered(fork, 2, 1, 4 * MB + 16, 5 * MB);
    assert_cover(fork, 2, 3, 4 * MB, 5 * MB, 3, 4 * MB);
}
END_TEST

START_TEST(a_fork_on_a_segment_boundary_needs_no_copy)
{
    static const char fork[] = "1\t0/400000\tx\n";
    struct error err;

    hold_segment(1, 3);
    MUST(wal_archive_copy_fork(&archive, (struct timeline){1}, (struct timeline){2}, (struct wal_position){4 * MB},
                               &err));
    ck_assert(!repository_has("wal/00000002"));
    assert_cover(fork, 2, 1, 3 * MB, 4 * MB + 1, 2, 4 * MB);
    hold_partial(2, 4, 9);
    assert_covered(fork, 2, 1, 3 * MB, 4 * MB + 9);
}
END_TEST

START_TEST(a_chain_of_forks_is_followed_even_within_one_segment)
{
    static const char forks[] = "1\t0/400010\ta\n2\t0/400010\tb\n3\t0/400020\tc\n";

    hold_segment(1, 3);
    hold_partial(1, 4, 16);
    hold_partial(3, 4, 0x20);
    assert_cover(forks, 5, 1, 3 * MB, 6 * MB, 5, 4 * MB + 0x20);
    hold_segment(5, 4);
    assert_cover(forks, 5, 1, 3 * MB, 6 * MB, 5, 5 * MB);
    hold_segment(5, 5);
    assert_covered(forks, 5, 1, 3 * MB, 6 * MB); /* timeline 2 wrote nothing */
    assert_covered(forks, 5, 3, 4 * MB + 0x20, 6 * MB);
}
END_TEST

START_TEST(a_fork_is_copied_from_every_state_of_its_segment)
{
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);
    static const char name[] = "wal/00000002/00000000/000000020000000000000003.partial";

    for (int state = 0; state < 3; state++) {
        if (state == 0)
            hold_partial(1, 3, 5000);
        else if (state == 1)
            hold_segment(1, 3);
        else
            MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
        MUST(wal_archive_copy_fork(&archive, (struct timeline){1}, (struct timeline){2},
                                   (struct wal_position){3 * MB + 4999}, &err));
        struct buffer copy = repository_get(name);
        ck_assert_uint_eq(copy.used, 4999);
        ck_assert_int_eq(memcmp(copy.bytes, bytes, 4999), 0);
        buffer_done(&copy);
        if (state == 0)
            ck_assert_int_eq(unlink(repository_path("wal/00000001/00000000/000000010000000000000003.partial")), 0);
        if (state == 1)
            repository_put(name, "short", 5); /* of a killed process: replaced */
    }
}
END_TEST

START_TEST(a_longer_branch_is_not_cut_back_to_the_fork)
{
    struct error err;

    hold_partial(1, 3, 5000);
    hold_partial(2, 3, 6000);
    MUST(wal_archive_copy_fork(&archive, (struct timeline){1}, (struct timeline){2},
                               (struct wal_position){3 * MB + 4999}, &err));
    assert_holds(2, 3, WAL_FILE_PARTIAL);
    hold_segment(3, 3);
    MUST(wal_archive_copy_fork(&archive, (struct timeline){1}, (struct timeline){3},
                               (struct wal_position){3 * MB + 4999}, &err));
    assert_holds(3, 3, WAL_FILE_RAW);
}
END_TEST

START_TEST(a_fork_beyond_what_is_held_leaves_nothing_behind)
{
    struct error err;

    ck_assert(!wal_archive_copy_fork(&archive, (struct timeline){1}, (struct timeline){2},
                                     (struct wal_position){3 * MB + 1}, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    hold_partial(1, 3, 5000);
    ck_assert(!wal_archive_copy_fork(&archive, (struct timeline){1}, (struct timeline){2},
                                     (struct wal_position){3 * MB + 5001}, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_ptr_nonnull(strstr(err.message, "fork of timeline 2 at 0/301389"));
    ck_assert(!repository_has("wal/00000002/00000000/000000020000000000000003.partial"));
    ck_assert(!repository_has("wal/00000002/00000000/000000020000000000000003.partial.tmp"));
}
END_TEST

static bool write_history(uint32_t timeline, const char *text, struct error *err)
{
    return wal_archive_write_history(&archive, (struct timeline){timeline}, text, strlen(text), err);
}

START_TEST(a_history_is_stored_once_and_never_exchanged)
{
    struct error err;
    struct history history;

    MUST(write_history(2, "1\t0/3000000\treason\n", &err));
    MUST(write_history(2, "1\t0/3000000\tanother reason\n", &err));
    ck_assert(!write_history(2, "1\t0/3000008\treason\n", &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_int_eq(err.errnum, EILSEQ);
    struct buffer text = BUFFER_WITH_LIMIT(4096);
    MUST(wal_archive_read_history(&archive, (struct timeline){2}, &text, &err));
    ck_assert_uint_eq(text.used, strlen("1\t0/3000000\treason\n"));
    buffer_done(&text);
    MUST(wal_archive_history(&archive, (struct timeline){2}, &history, &err));
    ck_assert_uint_eq(history.entries[0].switched_at.value, 0x3000000);
    history_done(&history);
    MUST(wal_archive_history(&archive, (struct timeline){1}, &history, &err));
    ck_assert_uint_eq(history.entry_count, 0);
    history_done(&history);
}
END_TEST

START_TEST(a_history_that_does_not_parse_is_not_stored)
{
    static const char *const bad[] = {"", "garbage\n", "2\t0/1\tx\n", "1\t0/30"};
    struct error err;
    struct buffer text = BUFFER_WITH_LIMIT(4096);

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert(!write_history(2, bad[i], &err));
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    }
    ck_assert(!write_history(1, "", &err));
    ck_assert(!wal_archive_read_history(&archive, (struct timeline){2}, &text, &err));
    ck_assert_int_eq(err.errnum, ENOENT);
    repository_put("wal/00000002.history", "damaged", 7);
    struct history history;
    ck_assert(!wal_archive_history(&archive, (struct timeline){2}, &history, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    MUST(write_history(2, "1\t0/3000000\treason\n", &err)); /* the server's replaces damage */
}
END_TEST

START_TEST(timelines_are_those_with_a_segment_or_a_history)
{
    struct error err;
    struct timeline *timelines = NULL;
    size_t count = 0;

    MUST(wal_archive_timelines(&archive, &timelines, &count, &err));
    ck_assert_uint_eq(count, 0);
    free(timelines);
    MUST(write_history(7, "1\t0/1\tx\n", &err));
    MUST(write_history(3, "1\t0/1\tx\n", &err));
    hold_segment(3, 3);
    hold_segment(1, 3);
    hold_segment(1, 4);
    MUST(wal_archive_timelines(&archive, &timelines, &count, &err));
    ck_assert_uint_eq(count, 3);
    ck_assert_uint_eq(timelines[0].value, 1);
    ck_assert_uint_eq(timelines[1].value, 3);
    ck_assert_uint_eq(timelines[2].value, 7);
    free(timelines);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wal_ranges");

    tcase_add_checked_fixture(tests, repository_make, repository_remove);
    tcase_add_test(tests, contiguous_segments_make_one_range_to_the_last_byte);
    tcase_add_test(tests, gaps_and_timelines_begin_a_new_range);
    tcase_add_test(tests, an_empty_archive_has_no_range);
    tcase_add_test(tests, one_timeline_is_covered_up_to_the_byte);
    tcase_add_test(tests, a_gap_is_named_by_its_first_byte);
    tcase_add_test(tests, the_way_over_a_fork_needs_the_new_timelines_segment);
    tcase_add_test(tests, a_position_on_the_dead_branch_is_never_covered);
    tcase_add_test(tests, a_fork_on_a_segment_boundary_needs_no_copy);
    tcase_add_test(tests, a_chain_of_forks_is_followed_even_within_one_segment);
    tcase_add_test(tests, a_fork_is_copied_from_every_state_of_its_segment);
    tcase_add_test(tests, a_longer_branch_is_not_cut_back_to_the_fork);
    tcase_add_test(tests, a_fork_beyond_what_is_held_leaves_nothing_behind);
    tcase_add_test(tests, a_history_is_stored_once_and_never_exchanged);
    tcase_add_test(tests, a_history_that_does_not_parse_is_not_stored);
    tcase_add_test(tests, timelines_are_those_with_a_segment_or_a_history);
    return suite_run("wal_ranges", tests);
}
