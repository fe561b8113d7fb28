#include "support/suite.h"

#include <stdlib.h>
#include <string.h>

#include "jobs/receive/start_internal.h"

#define SEGMENT (UINT64_C(1) << 20)
#define MOST    8

/* What a test says about the server and the archive; everything else is derived from it. */
static struct {
    struct pg_identity server;
    struct history_entry entries[MOST];
    struct history server_history;
    struct wal_range ranges[MOST];
    struct wal_ranges held;
    struct history_entry stored_entries[MOST][MOST];
    struct history stored[MOST];
    struct pg_slot slot;
    struct receive_start_input input;
    struct receive_start start;
    enum receive_obstacle obstacle;
    struct error error;
} now;

static void nothing_is_known(void)
{
    memset(&now, 0, sizeof now);
    now.server_history.entries = now.entries;
    now.held.ranges = now.ranges;
    now.slot.is_known = true;
    now.input = (struct receive_start_input){.server = &now.server,
                                             .server_history = &now.server_history,
                                             .held = &now.held,
                                             .stored_histories = now.stored,
                                             .slot = &now.slot,
                                             .segment_size = {SEGMENT}};
}

static void server_is_at(uint32_t timeline, uint64_t position)
{
    now.server = (struct pg_identity){1, {timeline}, {position}};
    now.server_history.timeline.value = timeline;
}

static void server_forked(uint32_t from, uint64_t position)
{
    now.entries[now.server_history.entry_count++] = (struct history_entry){{from}, {position}};
}

static void archive_holds(uint32_t timeline, uint64_t start, uint64_t end)
{
    now.ranges[now.held.count++] = (struct wal_range){.timeline = {timeline}, .start = {start}, .end = {end}};
}

static void archive_knows_fork(uint32_t timeline, uint32_t from, uint64_t position)
{
    size_t index = now.input.stored_history_count;

    if (index > 0 && now.stored[index - 1].timeline.value == timeline)
        index--;
    else
        now.input.stored_history_count++;
    struct history *stored = &now.stored[index];
    stored->timeline.value = timeline;
    stored->entries = now.stored_entries[index];
    stored->entries[stored->entry_count++] = (struct history_entry){{from}, {position}};
}

static void slot_keeps(uint32_t timeline, uint64_t position)
{
    now.slot = (struct pg_slot){.exists = true,
                                .is_physical = true,
                                .has_position = true,
                                .is_known = true,
                                .restart_position = {position},
                                .restart_timeline = {timeline}};
}

static bool decide(void)
{
    return receive_start_decide(&now.input, &now.start, &now.obstacle, &now.error);
}

static void check_start(enum receive_start_reason reason, uint32_t timeline, uint64_t position, uint64_t held_end)
{
    ck_assert_msg(decide(), "%s", now.error.message);
    ck_assert_int_eq(now.start.reason, reason);
    ck_assert_uint_eq(now.start.timeline.value, timeline);
    ck_assert_uint_eq(now.start.position.value, position);
    ck_assert_uint_eq(now.start.held_end.value, held_end);
    ck_assert_int_eq(now.obstacle, RECEIVE_OBSTACLE_NONE);
}

static void check_fork_copy(uint32_t from, uint64_t position)
{
    ck_assert(now.start.has_fork_copy);
    ck_assert_uint_eq(now.start.fork_from.value, from);
    ck_assert_uint_eq(now.start.fork_position.value, position);
}

static void check_obstacle(enum receive_obstacle obstacle)
{
    ck_assert(!decide());
    ck_assert_int_eq(now.obstacle, obstacle);
    ck_assert_int_eq(now.error.kind, ERROR_INTEGRITY);
    ck_assert_int_ne(now.error.message[0], '\0');
    ck_assert_int_ne(now.error.hint[0], '\0');
}

/* ---- nothing held ---- */

START_TEST(the_first_contact_begins_with_the_segment_of_the_slot)
{
    server_is_at(1, 9 * SEGMENT + 77);
    slot_keeps(1, 7 * SEGMENT + 40);
    check_start(RECEIVE_START_SLOT, 1, 7 * SEGMENT, 0);
}
END_TEST

START_TEST(without_a_slot_the_first_contact_begins_with_the_present_segment)
{
    server_is_at(1, 9 * SEGMENT + 77);
    check_start(RECEIVE_START_CURRENT, 1, 9 * SEGMENT, 0);
}
END_TEST

START_TEST(a_slot_without_a_position_counts_as_none)
{
    server_is_at(1, 9 * SEGMENT);
    slot_keeps(1, 0);
    now.slot.has_position = false;
    check_start(RECEIVE_START_CURRENT, 1, 9 * SEGMENT, 0);
}
END_TEST

START_TEST(a_logical_slot_is_never_a_start)
{
    server_is_at(1, 9 * SEGMENT + 1);
    slot_keeps(1, 7 * SEGMENT);
    now.slot.is_physical = false;
    check_start(RECEIVE_START_CURRENT, 1, 9 * SEGMENT, 0);
}
END_TEST

START_TEST(a_slot_behind_a_fork_is_streamed_on_its_own_timeline)
{
    server_is_at(3, 9 * SEGMENT + 77);
    server_forked(1, 4 * SEGMENT + 5);
    server_forked(2, 8 * SEGMENT + 5);
    slot_keeps(2, 7 * SEGMENT + 40);
    check_start(RECEIVE_START_SLOT, 2, 7 * SEGMENT, 0);
}
END_TEST

START_TEST(a_server_that_does_not_say_the_slots_timeline_has_it_worked_out)
{
    server_is_at(3, 9 * SEGMENT + 77);
    server_forked(1, 4 * SEGMENT + 5);
    server_forked(2, 8 * SEGMENT + 5);
    slot_keeps(0, 4 * SEGMENT + 4);
    check_start(RECEIVE_START_SLOT, 1, 4 * SEGMENT, 0);
    slot_keeps(0, 4 * SEGMENT + 5);
    check_start(RECEIVE_START_SLOT, 2, 4 * SEGMENT, 0);
}
END_TEST

START_TEST(a_slots_timeline_outside_the_history_is_not_believed)
{
    server_is_at(3, 9 * SEGMENT + 77);
    server_forked(1, 4 * SEGMENT + 5);
    slot_keeps(2, 7 * SEGMENT + 40);
    check_start(RECEIVE_START_SLOT, 3, 7 * SEGMENT, 0);
}
END_TEST

/* ---- the same timeline ---- */

START_TEST(streaming_goes_on_in_the_segment_of_the_last_byte_held)
{
    server_is_at(1, 9 * SEGMENT + 77);
    archive_holds(1, 2 * SEGMENT, 6 * SEGMENT + 1000);
    slot_keeps(1, 5 * SEGMENT);
    check_start(RECEIVE_START_HELD, 1, 6 * SEGMENT, 6 * SEGMENT + 1000);
}
END_TEST

START_TEST(after_a_whole_segment_the_next_one_begins)
{
    server_is_at(1, 9 * SEGMENT + 77);
    archive_holds(1, 2 * SEGMENT, 6 * SEGMENT);
    check_start(RECEIVE_START_HELD, 1, 6 * SEGMENT, 6 * SEGMENT);
}
END_TEST

START_TEST(a_gap_before_the_newest_range_is_not_filled_again)
{
    server_is_at(1, 9 * SEGMENT + 77);
    archive_holds(1, 7 * SEGMENT, 8 * SEGMENT + 1);
    archive_holds(1, 2 * SEGMENT, 6 * SEGMENT);
    check_start(RECEIVE_START_HELD, 1, 8 * SEGMENT, 8 * SEGMENT + 1);
}
END_TEST

START_TEST(a_server_at_the_very_end_held_is_not_behind)
{
    server_is_at(1, 6 * SEGMENT + 1000);
    archive_holds(1, 2 * SEGMENT, 6 * SEGMENT + 1000);
    check_start(RECEIVE_START_HELD, 1, 6 * SEGMENT, 6 * SEGMENT + 1000);
}
END_TEST

START_TEST(a_server_behind_what_is_held_is_not_touched)
{
    server_is_at(1, 6 * SEGMENT + 999);
    archive_holds(1, 2 * SEGMENT, 6 * SEGMENT + 1000);
    check_obstacle(RECEIVE_OBSTACLE_BEHIND);
}
END_TEST

/* ---- a newer timeline on the server ---- */

START_TEST(the_rest_of_the_old_timeline_comes_before_the_new_one)
{
    server_is_at(2, 9 * SEGMENT);
    server_forked(1, 7 * SEGMENT + 500);
    archive_holds(1, 2 * SEGMENT, 6 * SEGMENT + 1000);
    check_start(RECEIVE_START_HELD, 1, 6 * SEGMENT, 6 * SEGMENT + 1000);
    ck_assert(!now.start.has_fork_copy);
}
END_TEST

START_TEST(everything_up_to_the_fork_held_means_copying_it)
{
    server_is_at(2, 9 * SEGMENT);
    server_forked(1, 7 * SEGMENT + 500);
    archive_holds(1, 2 * SEGMENT, 7 * SEGMENT + 500);
    check_start(RECEIVE_START_FORK, 2, 7 * SEGMENT, 0);
    check_fork_copy(1, 7 * SEGMENT + 500);
}
END_TEST

START_TEST(a_server_rewound_in_place_forks_below_what_is_held)
{
    server_is_at(2, 6 * SEGMENT);
    server_forked(1, 5 * SEGMENT + 500);
    archive_holds(1, 2 * SEGMENT, 8 * SEGMENT + 1);
    slot_keeps(2, 5 * SEGMENT + 700);
    check_start(RECEIVE_START_FORK, 2, 5 * SEGMENT, 0);
    check_fork_copy(1, 5 * SEGMENT + 500);
}
END_TEST

START_TEST(a_fork_on_a_segment_boundary_begins_with_the_segment_behind_it)
{
    server_is_at(2, 6 * SEGMENT);
    server_forked(1, 5 * SEGMENT);
    archive_holds(1, 2 * SEGMENT, 8 * SEGMENT + 1);
    check_start(RECEIVE_START_FORK, 2, 5 * SEGMENT, 0);
    check_fork_copy(1, 5 * SEGMENT);
}
END_TEST

START_TEST(a_fork_within_a_gap_leaves_nothing_to_copy)
{
    server_is_at(2, 9 * SEGMENT);
    server_forked(1, 5 * SEGMENT + 500);
    archive_holds(1, 2 * SEGMENT, 5 * SEGMENT + 499);
    archive_holds(1, 7 * SEGMENT, 8 * SEGMENT + 1);
    check_start(RECEIVE_START_FORK, 2, 5 * SEGMENT, 0);
    ck_assert(!now.start.has_fork_copy);
}
END_TEST

START_TEST(a_copied_fork_without_its_history_goes_on_on_the_new_timeline)
{
    server_is_at(2, 9 * SEGMENT);
    server_forked(1, 5 * SEGMENT + 500);
    archive_holds(1, 2 * SEGMENT, 8 * SEGMENT + 1);
    archive_holds(2, 5 * SEGMENT, 5 * SEGMENT + 500);
    check_start(RECEIVE_START_HELD, 2, 5 * SEGMENT, 5 * SEGMENT + 500);
}
END_TEST

START_TEST(a_dead_branch_is_left_at_the_newest_common_ancestor)
{
    server_is_at(3, 9 * SEGMENT);
    server_forked(1, 4 * SEGMENT + 500);
    archive_holds(1, 2 * SEGMENT, 6 * SEGMENT + 10);
    archive_holds(2, 6 * SEGMENT, 8 * SEGMENT + 10);
    archive_knows_fork(2, 1, 6 * SEGMENT + 10);
    check_start(RECEIVE_START_FORK, 3, 4 * SEGMENT, 0);
    check_fork_copy(1, 4 * SEGMENT + 500);
}
END_TEST

START_TEST(several_forks_passed_meanwhile_are_followed_one_by_one)
{
    server_is_at(5, 20 * SEGMENT);
    server_forked(1, 4 * SEGMENT + 500);
    server_forked(3, 9 * SEGMENT + 500);
    server_forked(4, 9 * SEGMENT + 500);
    archive_holds(1, 2 * SEGMENT, 6 * SEGMENT);
    check_start(RECEIVE_START_FORK, 3, 4 * SEGMENT, 0);
    archive_holds(3, 4 * SEGMENT, 9 * SEGMENT + 500);
    check_start(RECEIVE_START_FORK, 4, 9 * SEGMENT, 0);
    check_fork_copy(3, 9 * SEGMENT + 500);
    archive_holds(4, 9 * SEGMENT, 9 * SEGMENT + 500);
    check_start(RECEIVE_START_FORK, 5, 9 * SEGMENT, 0);
    check_fork_copy(4, 9 * SEGMENT + 500);
}
END_TEST

START_TEST(a_dead_branch_without_any_common_ancestor_leaves_it_to_the_slot)
{
    server_is_at(3, 9 * SEGMENT + 5);
    server_forked(1, 4 * SEGMENT + 500);
    archive_holds(2, 6 * SEGMENT, 8 * SEGMENT + 10);
    slot_keeps(3, 8 * SEGMENT + 9);
    check_start(RECEIVE_START_SLOT, 3, 8 * SEGMENT, 0);
}
END_TEST

/* ---- alarms ---- */

START_TEST(an_old_primary_is_not_touched)
{
    server_is_at(1, 9 * SEGMENT);
    archive_holds(1, 2 * SEGMENT, 6 * SEGMENT);
    archive_holds(2, 6 * SEGMENT, 7 * SEGMENT);
    check_obstacle(RECEIVE_OBSTACLE_OLD_TIMELINE);
}
END_TEST

START_TEST(a_newer_history_alone_makes_an_old_primary_too)
{
    server_is_at(1, 9 * SEGMENT);
    archive_holds(1, 2 * SEGMENT, 6 * SEGMENT);
    archive_knows_fork(2, 1, 7 * SEGMENT);
    check_obstacle(RECEIVE_OBSTACLE_OLD_TIMELINE);
}
END_TEST

START_TEST(the_same_timeline_with_another_switch_point_is_an_alarm)
{
    server_is_at(2, 9 * SEGMENT);
    server_forked(1, 5 * SEGMENT + 500);
    archive_holds(2, 5 * SEGMENT, 7 * SEGMENT);
    archive_knows_fork(2, 1, 5 * SEGMENT + 501);
    check_obstacle(RECEIVE_OBSTACLE_OTHER_HISTORY);
}
END_TEST

START_TEST(an_ancestor_with_another_switch_point_is_an_alarm)
{
    server_is_at(3, 9 * SEGMENT);
    server_forked(1, 5 * SEGMENT + 500);
    server_forked(2, 6 * SEGMENT + 500);
    archive_holds(2, 5 * SEGMENT, 6 * SEGMENT);
    archive_knows_fork(2, 1, 5 * SEGMENT + 499);
    check_obstacle(RECEIVE_OBSTACLE_OTHER_HISTORY);
}
END_TEST

START_TEST(an_ancestor_with_more_ancestors_is_an_alarm)
{
    server_is_at(4, 9 * SEGMENT);
    server_forked(1, 5 * SEGMENT + 500);
    server_forked(3, 6 * SEGMENT + 500);
    archive_knows_fork(3, 1, 5 * SEGMENT + 500);
    archive_knows_fork(3, 2, 5 * SEGMENT + 900);
    check_obstacle(RECEIVE_OBSTACLE_OTHER_HISTORY);
}
END_TEST

START_TEST(histories_that_agree_are_no_obstacle)
{
    server_is_at(4, 9 * SEGMENT);
    server_forked(1, 5 * SEGMENT + 500);
    server_forked(3, 6 * SEGMENT + 500);
    archive_knows_fork(2, 1, 3 * SEGMENT); /* a dead branch */
    archive_knows_fork(3, 1, 5 * SEGMENT + 500);
    archive_knows_fork(4, 1, 5 * SEGMENT + 500);
    archive_knows_fork(4, 3, 6 * SEGMENT + 500);
    archive_holds(4, 6 * SEGMENT, 7 * SEGMENT + 3);
    check_start(RECEIVE_START_HELD, 4, 7 * SEGMENT, 7 * SEGMENT + 3);
}
END_TEST

/* ---- WAL the server has removed ---- */

START_TEST(removed_wal_is_skipped_to_what_the_slot_keeps)
{
    server_is_at(1, 9 * SEGMENT + 77);
    archive_holds(1, 2 * SEGMENT, 4 * SEGMENT + 10);
    slot_keeps(1, 7 * SEGMENT + 40);
    now.input.is_lost = true;
    now.input.lost_position.value = 4 * SEGMENT;
    check_start(RECEIVE_START_SLOT, 1, 7 * SEGMENT, 0);
}
END_TEST

START_TEST(a_slot_that_keeps_only_removed_wal_is_passed_over)
{
    server_is_at(1, 9 * SEGMENT + 77);
    archive_holds(1, 2 * SEGMENT, 4 * SEGMENT + 10);
    slot_keeps(1, 4 * SEGMENT + 40);
    now.input.is_lost = true;
    now.input.lost_position.value = 4 * SEGMENT;
    check_start(RECEIVE_START_CURRENT, 1, 9 * SEGMENT, 0);
}
END_TEST

START_TEST(an_old_primary_stays_an_alarm_with_removed_wal_too)
{
    server_is_at(1, 9 * SEGMENT);
    archive_holds(2, 6 * SEGMENT, 7 * SEGMENT);
    now.input.is_lost = true;
    check_obstacle(RECEIVE_OBSTACLE_OLD_TIMELINE);
}
END_TEST

/* ---- system identifiers ---- */

START_TEST(only_a_higher_major_version_makes_a_new_identifier_an_upgrade)
{
    ck_assert(receive_start_is_upgrade(150018, 160001));
    ck_assert(receive_start_is_upgrade(130000, 180000));
    ck_assert(!receive_start_is_upgrade(150018, 150019));
    ck_assert(!receive_start_is_upgrade(150018, 140005));
    ck_assert(!receive_start_is_upgrade(0, 160001));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, the_first_contact_begins_with_the_segment_of_the_slot);
    tcase_add_test(tests, without_a_slot_the_first_contact_begins_with_the_present_segment);
    tcase_add_test(tests, a_slot_without_a_position_counts_as_none);
    tcase_add_test(tests, a_logical_slot_is_never_a_start);
    tcase_add_test(tests, a_slot_behind_a_fork_is_streamed_on_its_own_timeline);
    tcase_add_test(tests, a_server_that_does_not_say_the_slots_timeline_has_it_worked_out);
    tcase_add_test(tests, a_slots_timeline_outside_the_history_is_not_believed);
    tcase_add_test(tests, streaming_goes_on_in_the_segment_of_the_last_byte_held);
    tcase_add_test(tests, after_a_whole_segment_the_next_one_begins);
    tcase_add_test(tests, a_gap_before_the_newest_range_is_not_filled_again);
    tcase_add_test(tests, a_server_at_the_very_end_held_is_not_behind);
    tcase_add_test(tests, a_server_behind_what_is_held_is_not_touched);
    tcase_add_test(tests, the_rest_of_the_old_timeline_comes_before_the_new_one);
    tcase_add_test(tests, everything_up_to_the_fork_held_means_copying_it);
    tcase_add_test(tests, a_server_rewound_in_place_forks_below_what_is_held);
    tcase_add_test(tests, a_fork_on_a_segment_boundary_begins_with_the_segment_behind_it);
    tcase_add_test(tests, a_fork_within_a_gap_leaves_nothing_to_copy);
    tcase_add_test(tests, a_copied_fork_without_its_history_goes_on_on_the_new_timeline);
    tcase_add_test(tests, a_dead_branch_is_left_at_the_newest_common_ancestor);
    tcase_add_test(tests, several_forks_passed_meanwhile_are_followed_one_by_one);
    tcase_add_test(tests, a_dead_branch_without_any_common_ancestor_leaves_it_to_the_slot);
    tcase_add_test(tests, an_old_primary_is_not_touched);
    tcase_add_test(tests, a_newer_history_alone_makes_an_old_primary_too);
    tcase_add_test(tests, the_same_timeline_with_another_switch_point_is_an_alarm);
    tcase_add_test(tests, an_ancestor_with_another_switch_point_is_an_alarm);
    tcase_add_test(tests, an_ancestor_with_more_ancestors_is_an_alarm);
    tcase_add_test(tests, histories_that_agree_are_no_obstacle);
    tcase_add_test(tests, removed_wal_is_skipped_to_what_the_slot_keeps);
    tcase_add_test(tests, a_slot_that_keeps_only_removed_wal_is_passed_over);
    tcase_add_test(tests, an_old_primary_stays_an_alarm_with_removed_wal_too);
    tcase_add_test(tests, only_a_higher_major_version_makes_a_new_identifier_an_upgrade);
}

int main(void)
{
    TCase *tests = tcase_create("receive start");

    tcase_add_checked_fixture(tests, nothing_is_known, NULL);
    add_tests(tests);
    return suite_run("receive_start", tests);
}
