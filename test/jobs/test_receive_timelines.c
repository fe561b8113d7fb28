#include "repo/repository.h"

#include "jobs/receive/timelines_internal.h"

static const char history_2[] = "1\t0/300400\tno recovery target specified\n";

START_TEST(a_fork_within_a_segment_is_copied_up_to_the_fork)
{
    struct error err;
    struct wal_file file;

    hold_segment(1, 3);
    MUST(receive_timelines_copy_fork(&archive, (struct timeline){1}, (struct timeline){2},
                                     (struct wal_position){3 * ONE_MB + 1024}, &err));
    MUST(wal_archive_stat(&archive, segment_of(2, 3), &file, &err));
    ck_assert_int_eq(file.state, WAL_FILE_PARTIAL);
    ck_assert_uint_eq(file.held_bytes, 1024);
}
END_TEST

START_TEST(a_fork_on_a_boundary_gets_an_empty_segment_so_that_none_is_taken_from_the_dead_branch)
{
    struct error err;
    struct wal_file file;

    hold_segment(1, 3);
    hold_segment(1, 4);
    for (int times = 0; times < 2; times++)
        MUST(receive_timelines_copy_fork(&archive, (struct timeline){1}, (struct timeline){2},
                                         (struct wal_position){4 * ONE_MB}, &err));
    MUST(wal_archive_stat(&archive, segment_of(2, 4), &file, &err));
    ck_assert_int_eq(file.state, WAL_FILE_PARTIAL);
    ck_assert_uint_eq(file.held_bytes, 0);
}
END_TEST

START_TEST(a_new_timeline_that_went_on_already_is_left_alone)
{
    struct error err;

    hold_segment(1, 4);
    hold_segment(2, 4);
    MUST(receive_timelines_copy_fork(&archive, (struct timeline){1}, (struct timeline){2},
                                     (struct wal_position){4 * ONE_MB}, &err));
    MUST(receive_timelines_copy_fork(&archive, (struct timeline){1}, (struct timeline){2},
                                     (struct wal_position){4 * ONE_MB + 77}, &err));
    assert_holds(2, 4, WAL_FILE_RAW);
}
END_TEST

START_TEST(stored_histories_are_read_and_timelines_without_one_skipped)
{
    struct error err;
    struct wal_histories stored SCOPED(wal_histories_done) = {.count = 0};

    hold_segment(1, 2);
    hold_partial(3, 3, 100);
    MUST(wal_archive_write_history(&archive, (struct timeline){2}, history_2, sizeof history_2 - 1, &err));
    MUST(receive_timelines_load(&archive, &stored, &err));
    ck_assert_uint_eq(stored.count, 1);
    ck_assert_uint_eq(stored.histories[0].timeline.value, 2);
    ck_assert_uint_eq(stored.histories[0].entry_count, 1);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive timelines");

    tcase_add_checked_fixture(tests, repository_make, repository_remove);
    tcase_add_test(tests, a_fork_within_a_segment_is_copied_up_to_the_fork);
    tcase_add_test(tests, a_fork_on_a_boundary_gets_an_empty_segment_so_that_none_is_taken_from_the_dead_branch);
    tcase_add_test(tests, a_new_timeline_that_went_on_already_is_left_alone);
    tcase_add_test(tests, stored_histories_are_read_and_timelines_without_one_skipped);
    return suite_run("receive_timelines", tests);
}
