#include "jobs/plan_scene.h"
#include "jobs/serve/windows_internal.h"
#include "support/suite.h"

static struct windows windows;
static struct wal_gap known[MOST];
static struct wal_gaps known_gaps;

/* The latest commit that a recovery along the way meets, which is all that a lookup in the notes tells. */
static struct timestamp last_commit_of(void *context, const struct history *history, const struct reach *reach)
{
    struct timestamp latest = {0};
    const struct plan_search all = {
        .history = history, .timeline = {1}, .from = {0}, .end = {reach->end.value}, .wish = &wish};

    (void)context;
    for (size_t i = 0; i < event_count; i++)
        if (events[i].timeline <= reach->timeline.value && is_on_the_way(&all, &events[i]) && is_held_at(&events[i]) &&
            events[i].event.time.microseconds > latest.microseconds)
            latest = events[i].event.time;
    return latest;
}

static void find(void)
{
    static const struct window_lookup lookup = {.last_commit = last_commit_of};

    windows_done(&windows);
    windows_find(&stock, &lookup, &windows);
}

static void make_windows(void)
{
    make();
    known_gaps = (struct wal_gaps){known, 0};
    stock.gaps = &known_gaps;
}

static void drop_windows(void)
{
    windows_done(&windows);
    drop();
}

static void lose_wal(uint32_t timeline, double start, double end)
{
    known[known_gaps.count++] = (struct wal_gap){
        .timeline = {timeline}, .start = at(start), .end = at(end), .reason = WAL_GAP_REMOVED, .words = "gone"};
}

static void expect_window(size_t number, int64_t from, int64_t until)
{
    ck_assert_uint_gt(windows.count, number);
    ck_assert_int_eq(windows.windows[number].from.microseconds, from * SECOND);
    ck_assert_int_eq(windows.windows[number].until.microseconds, until * SECOND);
}

static void expect_gap(size_t number, int64_t from, int64_t until, enum window_loss loss)
{
    ck_assert_uint_gt(windows.gap_count, number);
    ck_assert_int_eq(windows.gaps[number].from.microseconds, from * SECOND);
    ck_assert_int_eq(windows.gaps[number].until.microseconds, until * SECOND);
    ck_assert_str_eq(window_loss_word(windows.gaps[number].loss), window_loss_word(loss));
}

static void expect_places(const char *words)
{
    char said[256] = "";

    for (size_t i = 0; i < windows.backup_count; i++)
        snprintf(said + strlen(said), sizeof said - strlen(said), "%s%s", i > 0 ? " " : "",
                 window_place_word(windows.backups[i].place));
    ck_assert_str_eq(said, words);
}

/* ---- what is told ---- */

START_TEST(without_a_gap_it_is_one_window_from_the_first_backup_to_the_end)
{
    find();
    ck_assert_uint_eq(windows.count, 1);
    ck_assert_uint_eq(windows.gap_count, 0);
    expect_window(0, 100, 500);
    ck_assert(windows.windows[0].is_open);
    ck_assert_uint_eq(windows.windows[0].end.value, at(50).value);
    ck_assert_str_eq(windows.windows[0].first->id.text, entries[0].id.text);
    ck_assert_str_eq(windows.windows[0].last->id.text, entries[2].id.text);
    expect_places("within within within");
}
END_TEST

START_TEST(a_gap_divides_it_and_is_named_with_its_times)
{
    held.count = 0;
    hold(1, 10, 24, 9000);
    hold(1, 27, 50, 9000);
    lose_wal(1, 24, 27);
    find();
    ck_assert_uint_eq(windows.count, 2);
    expect_window(0, 100, 215); /* the last commit before it */
    expect_window(1, 300, 500);
    ck_assert(!windows.windows[0].is_open && windows.windows[1].is_open);
    ck_assert_uint_eq(windows.gap_count, 1);
    expect_gap(0, 215, 300, WINDOW_LOSS_WAL);
    ck_assert_uint_eq(windows.gaps[0].wal.start.value, at(24).value);
    ck_assert_uint_eq(windows.gaps[0].wal.end.value, at(27).value);
    ck_assert_str_eq(windows.gaps[0].wal.words, "gone");
    expect_places("within within within");
}
END_TEST

START_TEST(a_gap_behind_everything_ends_the_last_window)
{
    held.count = 0;
    hold(1, 10, 40, 9000);
    lose_wal(1, 40, 0);
    find();
    ck_assert_uint_eq(windows.count, 1);
    expect_window(0, 100, 375);
    ck_assert(!windows.windows[0].is_open);
    expect_gap(0, 375, 0, WINDOW_LOSS_WAL);
}
END_TEST

START_TEST(wal_behind_a_gap_without_a_backup_there_helps_nobody)
{
    held.count = 0;
    hold(1, 10, 35, 9000);
    hold(1, 40, 50, 9000);
    find();
    expect_window(0, 100, 325);
    expect_gap(0, 325, 0, WINDOW_LOSS_WAL);
    ck_assert_uint_eq(windows.gaps[0].wal.end.value, at(40).value);
}
END_TEST

START_TEST(a_backup_between_two_gaps_is_restored_to_its_own_end_only)
{
    held.count = 0;
    hold(1, 10, 15, 9000);
    hold(1, 20, 22, 9000);
    hold(1, 30, 50, 9000);
    find();
    ck_assert_uint_eq(windows.count, 2);
    expect_window(0, 100, 125);
    expect_window(1, 300, 500);
    ck_assert_uint_eq(windows.gap_count, 1);
    expect_gap(0, 125, 300, WINDOW_LOSS_WAL);
    ck_assert_uint_eq(windows.gaps[0].losses, 2);
    expect_places("within own-end within");
}
END_TEST

START_TEST(a_backup_that_lacks_its_own_wal_is_no_beginning)
{
    held.count = 0;
    hold(1, 11, 50, 9000);
    find();
    expect_window(0, 200, 500);
    expect_places("unusable within within");
}
END_TEST

START_TEST(what_retention_removed_is_told_so)
{
    struct wal_range removed = {.timeline = {1}, .start = at(22), .end = at(27)};
    const struct wal_ranges expired = {&removed, 1};

    stock.expired = &expired;
    held.count = 0;
    hold(1, 10, 22, 9000);
    hold(1, 27, 50, 9000);
    find();
    expect_window(0, 100, 195);
    expect_window(1, 300, 500);
    expect_gap(0, 195, 300, WINDOW_LOSS_EXPIRED);
    expect_places("within own-end within");
}
END_TEST

START_TEST(where_nothing_is_held_nothing_is_claimed_and_the_reason_told)
{
    held.count = 0;
    find();
    ck_assert_uint_eq(windows.count, 0);
    ck_assert_uint_eq(windows.gap_count, 1);
    expect_gap(0, 0, 0, WINDOW_LOSS_OWN_WAL);
    expect_places("unusable unusable unusable");
}
END_TEST

START_TEST(a_backup_that_waits_or_is_damaged_begins_nothing)
{
    entries[0].meta->state = BACKUP_DAMAGED;
    entries[1].meta->state = BACKUP_COPIED;
    find();
    expect_window(0, 300, 500);
    expect_places("within");
}
END_TEST

START_TEST(what_lies_on_a_dead_branch_is_reached_by_its_number_only)
{
    fork_at_25();
    find();
    ck_assert_uint_eq(windows.count, 1);
    expect_window(0, 100, 600);
    ck_assert_uint_eq(windows.windows[0].timeline.value, 2);
    expect_places("within within timeline");
    ck_assert_uint_eq(windows.backups[2].timeline.value, 1);
}
END_TEST

START_TEST(a_history_that_cannot_be_read_hides_what_is_behind_it)
{
    fork_at_25();
    timelines[1].is_damaged = true;
    error_set(&timelines[1].damage, ERROR_INTEGRITY, "it is torn");
    find();
    ck_assert_uint_eq(windows.count, 0);
    expect_gap(0, 0, 0, WINDOW_LOSS_HISTORY);
    ck_assert_str_eq(windows.gaps[0].damage, "it is torn");
    expect_places("timeline timeline timeline");
}
END_TEST

START_TEST(a_note_as_new_as_the_files_is_enough)
{
    ranges[0].last_written_at = second(500);
    commit(1, 49.8, 2000, 505); /* which nobody looks for then */
    find();
    expect_window(0, 100, 500);
}
END_TEST

START_TEST(quiet_times_that_nothing_vouches_for_are_left_out)
{
    know_complete(1, 0, 0);
    event_count = 0;
    commit(1, 13, 8, 110);
    find();
    ck_assert_uint_eq(windows.count, 1);
    expect_window(0, 100, 110);
    expect_gap(0, 110, 0, WINDOW_LOSS_UNPROVEN);
    expect_places("within own-end own-end");
}
END_TEST

START_TEST(missing_wal_is_told_rather_than_a_quiet_time_before_it)
{
    know_complete(1, 0, 0);
    event_count = 0;
    commit(1, 13, 8, 110);
    commit(1, 32.5, 7, 305);
    held.count = 0;
    hold(1, 10, 29, 9000);
    hold(1, 30, 50, 9000);
    find();
    expect_window(0, 100, 110);
    expect_gap(0, 110, 300, WINDOW_LOSS_WAL);
    ck_assert_uint_eq(windows.gaps[0].losses, 2);
    expect_window(1, 300, 305);
    expect_places("within own-end within");
}
END_TEST

/* ---- the plan agrees ---- */

static bool is_claimed(struct timestamp time)
{
    for (size_t i = 0; i < windows.count; i++)
        if (windows.windows[i].from.microseconds <= time.microseconds &&
            time.microseconds <= windows.windows[i].until.microseconds)
            return true;
    return false;
}

static bool is_own_end(struct timestamp time)
{
    for (size_t i = 0; i < catalogue.count; i++)
        if (reach_stop_time(entries[i].meta).microseconds == time.microseconds)
            return true;
    return false;
}

static bool is_planned(struct timestamp time)
{
    wish.target = PLAN_TIME;
    wish.value = "T";
    wish.time = time;
    return plan_choose(&stock, &wish, &plan, &err);
}

static void expect_agreement(int64_t microseconds)
{
    struct timestamp time = {microseconds};
    bool is_reached = is_planned(time);
    bool is_right = is_claimed(time) ? is_reached : !is_reached || is_own_end(time);
    ck_assert_msg(is_right, "at %.6f s it is %s, and the plan says: %s", (double)microseconds / (double)SECOND,
                  is_claimed(time) ? "claimed" : "not claimed", is_reached ? plan.why : err.message);
}

static void walk(void)
{
    find();
    for (int64_t moment = 0; moment < 700; moment += 3)
        expect_agreement(moment * SECOND);
    for (size_t i = 0; i < windows.count; i++)
        for (int64_t edge = -1; edge <= 1; edge++) {
            expect_agreement(windows.windows[i].from.microseconds + edge);
            expect_agreement(windows.windows[i].until.microseconds + edge);
        }
}

static double some(double least, double most)
{
    return least + (most - least) * (double)rand() / ((double)RAND_MAX + 1);
}

static void begin_anew(void)
{
    drop_windows();
    make_windows();
    for (size_t i = 0; i < catalogue.count; i++)
        backup_meta_free(entries[i].meta);
    catalogue.count = held.count = event_count = 0;
}

static void add_some_backups(void)
{
    double place = 8;

    for (int i = 0; i < 5; i++) {
        char id[BACKUP_ID_SIZE];
        double start = some(place, place + 10), end = some(start, start + 4);
        snprintf(id, sizeof id, "2026112%dT000000Z", i);
        uint32_t timeline = 1 + (uint32_t)(stock.timeline_count > 1 && start > 25 ? rand() % 2 : 0);
        add_backup(id, timeline, start, end, (int64_t)((end - 2) * 10) + 1 + rand() % 5);
        if (rand() % 8 == 0)
            entries[i].meta->state = BACKUP_DAMAGED;
        place = start + 2;
    }
}

static void hold_some(uint32_t timeline, int from)
{
    for (int i = 0; i < 3; i++) {
        int start = from + rand() % 8, end = start + 1 + rand() % 25;
        hold(timeline, start, i == 2 ? end + 0.25 : end, rand() % 2 == 0 ? 9000 : (end - 2) * 10);
        if (rand() % 2 == 0)
            lose_wal(timeline, i == 2 ? end + 0.25 : end, 0);
        from = end + 1;
    }
}

static void commit_sometimes(uint32_t timeline, int first, int last)
{
    for (int megabyte = first; megabyte < last; megabyte++)
        if (rand() % 3 == 0)
            commit_in_each(timeline, megabyte, megabyte + 1);
}

static void make_some_archive(int seed)
{
    srand((unsigned)seed);
    begin_anew();
    if (rand() % 2 == 0)
        add_timeline(2, "1\t0/1900000\tno reason\n");
    add_some_backups();
    hold_some(1, 5);
    if (stock.timeline_count > 1)
        hold_some(2, 25);
    know_complete(1, some(10, 60), 300 + rand() % 300);
    if (stock.timeline_count > 1)
        know_complete(2, some(25, 60), 300 + rand() % 300);
    commit_sometimes(1, 5, 60);
    if (stock.timeline_count > 1)
        commit_sometimes(2, 25, 60);
    for (size_t i = 0; i < held.count; i++)
        ranges[i].last_written_at = second(9000); /* so that the records count, and not a note alone */
}

START_TEST(no_moment_is_claimed_that_the_plan_refuses_and_none_left_out_that_it_reaches)
{
    make_some_archive(_i);
    walk();
}
END_TEST

static bool is_within_a_backup(struct wal_position position)
{
    for (size_t i = 0; i < catalogue.count; i++)
        if (entries[i].meta->start_position.value <= position.value &&
            position.value < entries[i].meta->end_position.value)
            return true;
    return false;
}

/* Of a backup in which transactions ended before the clock was set back. Others of the window have an older one. */
static bool is_right_behind_a_beginning(struct timestamp time, int64_t seconds)
{
    for (size_t i = 0; i < windows.count; i++)
        if (windows.windows[i].from.microseconds <= time.microseconds &&
            time.microseconds <= windows.windows[i].from.microseconds + seconds * SECOND)
            return true;
    return false;
}

START_TEST(a_clock_that_was_set_back_during_a_backup_matters_right_behind_the_beginning_of_a_window_alone)
{
    const int64_t step = 25;

    make_some_archive(_i);
    for (size_t i = 0; i < event_count; i++)
        if (is_within_a_backup(events[i].event.position))
            events[i].event.time.microseconds += step * SECOND;
    find();
    for (int64_t moment = 0; moment < 700; moment++)
        if (is_claimed(second(moment)) && !is_planned(second(moment)))
            ck_assert_msg(is_right_behind_a_beginning(second(moment), step), "at %jd s: %s", (intmax_t)moment,
                          err.message);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("windows");

    tcase_add_checked_fixture(tests, make_windows, drop_windows);
    tcase_add_test(tests, without_a_gap_it_is_one_window_from_the_first_backup_to_the_end);
    tcase_add_test(tests, a_gap_divides_it_and_is_named_with_its_times);
    tcase_add_test(tests, a_gap_behind_everything_ends_the_last_window);
    tcase_add_test(tests, wal_behind_a_gap_without_a_backup_there_helps_nobody);
    tcase_add_test(tests, a_backup_between_two_gaps_is_restored_to_its_own_end_only);
    tcase_add_test(tests, a_backup_that_lacks_its_own_wal_is_no_beginning);
    tcase_add_test(tests, what_retention_removed_is_told_so);
    tcase_add_test(tests, where_nothing_is_held_nothing_is_claimed_and_the_reason_told);
    tcase_add_test(tests, a_backup_that_waits_or_is_damaged_begins_nothing);
    tcase_add_test(tests, what_lies_on_a_dead_branch_is_reached_by_its_number_only);
    tcase_add_test(tests, a_history_that_cannot_be_read_hides_what_is_behind_it);
    tcase_add_test(tests, a_note_as_new_as_the_files_is_enough);
    tcase_add_test(tests, missing_wal_is_told_rather_than_a_quiet_time_before_it);
    tcase_add_test(tests, quiet_times_that_nothing_vouches_for_are_left_out);
    tcase_add_loop_test(tests, no_moment_is_claimed_that_the_plan_refuses_and_none_left_out_that_it_reaches, 0, 150);
    tcase_add_loop_test(
        tests, a_clock_that_was_set_back_during_a_backup_matters_right_behind_the_beginning_of_a_window_alone, 0, 150);
    return suite_run("windows", tests);
}
