#include "jobs/plan_scene.h"
#include "support/suite.h"

static void expect(size_t backup, uint32_t timeline)
{
    ck_assert_msg(plan_choose(&stock, &wish, &plan, &err), "%s", err.message);
    ck_assert_str_eq(plan.backup->id.text, entries[backup].id.text);
    ck_assert_uint_eq(plan.history->timeline.value, timeline);
}

static void expect_refusal(enum error_kind kind, const char *words)
{
    ck_assert(!plan_choose(&stock, &wish, &plan, &err));
    ck_assert_msg(err.kind == kind, "%s: %s", error_kind_word(err.kind), err.message);
    ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
}

static void expect_warning(const char *words)
{
    for (size_t i = 0; i < plan.warning_count; i++)
        if (strstr(plan.warnings[i], words) != NULL)
            return;
    ck_abort_msg("no warning says \"%s\"", words);
}

static void want_transaction(uint32_t transaction)
{
    wish.target = PLAN_XID;
    wish.value = "X";
    wish.transaction = transaction;
}

static void want_name(const char *name)
{
    wish.target = PLAN_NAME;
    wish.value = name;
}

static void expect_stop(double place)
{
    ck_assert(plan.has_stop && !plan.is_to_end);
    ck_assert_uint_eq(plan.stop.position.value, at(place).value);
}

static void want_position(double megabytes)
{
    wish.target = PLAN_LSN;
    wish.value = "P";
    wish.position = at(megabytes);
}

static void want_timeline(uint32_t number)
{
    wish.timeline_choice = PLAN_TIMELINE_NUMBER;
    wish.timeline = (struct timeline){number};
}

/* ---- without a target ---- */

START_TEST(without_a_wish_the_newest_backup_and_all_wal_is_taken)
{
    expect(2, 1);
    ck_assert_uint_eq(plan.reach.end.value, at(50).value);
    ck_assert_int_eq(plan.complete_at.microseconds, 500 * SECOND);
    ck_assert_uint_eq(plan.warning_count, 0);
    ck_assert_ptr_nonnull(strstr(plan.why, "newest complete backup"));
}
END_TEST

START_TEST(a_named_backup_overrides)
{
    wish.backup = &entries[0];
    expect(0, 1);
    ck_assert_str_eq(plan.why, "it was named");
}
END_TEST

START_TEST(an_empty_catalogue_is_an_operators_error)
{
    for (size_t i = 0; i < 3; i++)
        backup_meta_free(entries[i].meta);
    catalogue.count = 0;
    expect_refusal(ERROR_USAGE, "no complete backup");
}
END_TEST

START_TEST(damaged_and_waiting_backups_are_never_chosen)
{
    entries[2].meta->state = BACKUP_DAMAGED;
    entries[1].meta->state = BACKUP_COPIED;
    expect(0, 1);
}
END_TEST

START_TEST(a_damaged_backup_is_taken_by_name_with_a_warning)
{
    entries[2].meta->state = BACKUP_DAMAGED;
    entries[2].meta->checksum_failures = 3;
    wish.backup = &entries[2];
    expect(2, 1);
    expect_warning("3 pages with a wrong checksum");
}
END_TEST

START_TEST(a_waiting_backup_is_refused_by_name)
{
    entries[2].meta->state = BACKUP_COPIED;
    wish.backup = &entries[2];
    expect_refusal(ERROR_USAGE, "still waits for the WAL");
}
END_TEST

START_TEST(an_unreadable_backup_is_passed_over_aloud)
{
    backup_meta_free(entries[2].meta);
    entries[2].meta = NULL;
    error_set(&entries[2].error, ERROR_INTEGRITY, "its digest is wrong");
    expect(1, 1);
    expect_warning("its digest is wrong");
}
END_TEST

START_TEST(when_all_are_unreadable_that_is_damage)
{
    for (size_t i = 0; i < 3; i++) {
        backup_meta_free(entries[i].meta);
        entries[i].meta = NULL;
        error_set(&entries[i].error, ERROR_INTEGRITY, "its digest is wrong");
    }
    expect_refusal(ERROR_INTEGRITY, "its digest is wrong");
}
END_TEST

START_TEST(when_all_were_found_damaged_that_is_told_and_what_a_former_cluster_had_is_not)
{
    for (size_t i = 0; i < 3; i++)
        entries[i].is_suspect = true;
    expect_refusal(ERROR_INTEGRITY, "was found damaged when it was verified");
    for (size_t i = 0; i < 3; i++)
        snprintf(entries[i].system.text, sizeof entries[i].system.text, "7710780024945402000");
    expect_refusal(ERROR_USAGE, "there is no complete backup");
}
END_TEST

START_TEST(an_unreadable_backup_is_refused_by_name)
{
    backup_meta_free(entries[2].meta);
    entries[2].meta = NULL;
    error_set(&entries[2].error, ERROR_INTEGRITY, "its digest is wrong");
    wish.backup = &entries[2];
    expect_refusal(ERROR_INTEGRITY, "its digest is wrong");
}
END_TEST

START_TEST(backups_of_a_former_system_are_taken_by_name_only)
{
    struct system_id former = {"42"};

    entries[2].system = former;
    expect(1, 1);
    wish.backup = &entries[2];
    stock.system = &former;
    expect(2, 1);
    expect_warning("former system 42");
}
END_TEST

/* ---- WAL that is missing ---- */

START_TEST(a_backup_without_its_own_wal_is_refused)
{
    held.count = 0;
    hold(1, 10, 31, 310);
    hold(1, 33, 50, 500);
    expect_refusal(ERROR_INTEGRITY, "00000001000000000000001F"); /* segment of 31 MB */
    held.count = 0;
    hold(1, 31, 50, 500);
    expect_refusal(ERROR_INTEGRITY, "00000001000000000000001E");
    held.count = 0;
    expect_refusal(ERROR_INTEGRITY, "needs it");
}
END_TEST

START_TEST(a_gap_behind_the_backup_is_refused_and_limits_the_reach)
{
    held.count = 0;
    hold(1, 10, 40, 400);
    hold(1, 45, 50, 500);
    expect_refusal(ERROR_INTEGRITY, "000000010000000000000028");
    ck_assert_ptr_nonnull(strstr(err.message, "the end of what is held lies behind it"));
    ck_assert_ptr_nonnull(strstr(err.hint, "--target-lsn"));
    ck_assert_ptr_nonnull(strstr(err.hint, "pgcoffer backup primary"));
    ck_assert_uint_eq(plan.reach.end.value, at(40).value);
}
END_TEST

START_TEST(a_gap_is_named_with_its_reason_and_the_backup_behind_it)
{
    struct wal_gap gap = {.timeline = {1},
                          .start = at(27),
                          .end = at(28),
                          .reason = WAL_GAP_REMOVED,
                          .words = "has already been removed"};
    struct wal_gaps gaps = {&gap, 1};

    held.count = 0;
    hold(1, 10, 27, 270);
    hold(1, 28, 50, 500);
    stock.gaps = &gaps;
    wish.backup = &entries[1];
    want_position(46);
    expect_refusal(ERROR_INTEGRITY, "the target lies behind it");
    ck_assert_ptr_nonnull(strstr(err.detail, "from 0/1B00000 to 0/1C00000 on timeline 1 (removed by the server"));
    ck_assert_ptr_nonnull(strstr(err.detail, "has already been removed"));
    ck_assert_ptr_nonnull(strstr(err.hint, "Backup 20261122T000003Z was taken behind the gap"));
    wish.backup = NULL;
    expect(2, 1);
}
END_TEST

START_TEST(a_loss_behind_which_nothing_has_come_yet_is_a_gap)
{
    struct wal_gap gap = {.timeline = {1}, .start = at(50), .reason = WAL_GAP_REMOVED};
    struct wal_gaps gaps = {&gap, 1};

    stock.gaps = &gaps;
    expect_refusal(ERROR_INTEGRITY, "lies behind it");
    want_position(51);
    expect_refusal(ERROR_INTEGRITY, "the target lies behind it");
    want_position(49);
    expect(2, 1);
}
END_TEST

START_TEST(a_gap_does_not_matter_when_recovery_stops_before_it)
{
    held.count = 0;
    hold(1, 10, 40, 400);
    hold(1, 45, 50, 500);
    wish.target = PLAN_IMMEDIATE;
    expect(2, 1);
    ck_assert_uint_eq(plan.warning_count, 0);
    want_position(39);
    expect(2, 1);
    ck_assert_uint_eq(plan.warning_count, 0);
    want_time(374);
    expect(2, 1);
    expect_stop(39.5);
    want_transaction(1039);
    expect(2, 1);
    ck_assert_uint_eq(plan.warning_count, 0);
}
END_TEST

START_TEST(a_target_behind_a_gap_is_damage_not_a_wrong_question)
{
    held.count = 0;
    hold(1, 10, 40, 400);
    hold(1, 45, 50, 500);
    want_position(46);
    expect_refusal(ERROR_INTEGRITY, "000000010000000000000028");
    want_time(450);
    expect_refusal(ERROR_INTEGRITY, "the target lies behind it");
    want_transaction(1046);
    expect_refusal(ERROR_INTEGRITY, "the target lies behind it");
    add_point(1, 47, "behind");
    want_name("behind");
    expect_refusal(ERROR_INTEGRITY, "the target lies behind it");
}
END_TEST

/* ---- times ---- */

START_TEST(a_time_takes_the_newest_backup_that_had_ended)
{
    want_time(100);
    expect(0, 1);
    want_time(199);
    expect(0, 1);
    want_time(200);
    expect(1, 1);
    expect_stop(22.5);
    want_time(474);
    expect(2, 1);
    expect_stop(49.5);
    ck_assert_uint_eq(plan.warning_count, 0);
}
END_TEST

START_TEST(a_time_behind_the_last_commit_ends_with_the_last_record)
{
    static const int64_t times[] = {475, 480, 500};

    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        want_time(times[i]);
        expect(2, 1);
        ck_assert(plan.is_to_end && !plan.has_stop);
        ck_assert_uint_eq(plan.last_record.value, at(49.5).value);
        expect_warning("no transaction ended after T (the last one: 1970-01-01T00:07:55Z), so everything");
    }
}
END_TEST

START_TEST(an_exclusive_time_stops_at_its_own_commit)
{
    want_time(475);
    wish.is_exclusive = true;
    expect(2, 1);
    expect_stop(49.5);
}
END_TEST

START_TEST(a_commit_behind_the_target_counts_more_than_the_clock_of_the_files)
{
    commit(1, 49.9, 1050, 900);
    want_time(700);
    expect(2, 1);
    expect_stop(49.9);
}
END_TEST

/* The clock of this machine was wrong when the backup ended. */
START_TEST(a_backup_with_later_commits_within_is_passed_over)
{
    entries[2].meta->stopped_at = second(240);
    want_time(250);
    expect(1, 1);
    expect_stop(27.5);
    wish.backup = &entries[2];
    expect_refusal(ERROR_USAGE, "a transaction that ended later lies before its end");
}
END_TEST

START_TEST(damage_on_the_way_to_a_time_is_told)
{
    found_before.has_damage = true;
    error_set(&found_before.damage, ERROR_INTEGRITY, "its checksum is wrong");
    want_time(500);
    expect_refusal(ERROR_INTEGRITY, "its checksum is wrong");
    want_time(474); /* found before it */
    expect(2, 1);
}
END_TEST

START_TEST(the_servers_clock_counts_where_it_is_known)
{
    event_count = 0;
    entries[2].meta->server_stopped_at = second(250);
    want_time(260);
    expect(2, 1);
}
END_TEST

START_TEST(a_time_before_the_first_backup_cannot_be_reached)
{
    want_time(99);
    expect_refusal(ERROR_USAGE, "no complete backup of \"primary\" ended at or before the target");
    ck_assert_ptr_nonnull(strstr(err.hint, "20261122T000001Z"));
}
END_TEST

START_TEST(a_time_behind_the_last_wal_cannot_be_reached)
{
    want_time(501);
    expect_refusal(ERROR_USAGE, "is known to be complete until 1970-01-01T00:08:20Z");
    ck_assert_ptr_nonnull(strstr(err.hint, "--target-time \"1970-01-01T00:08:20Z\" is the latest"));
    ck_assert_ptr_nonnull(strstr(err.detail, "ended at 1970-01-01T00:07:55Z"));
}
END_TEST

/* From an outage on old WAL comes late; when it came tells nothing. */
START_TEST(without_a_note_only_the_commits_tell_how_far_the_wal_goes)
{
    know_complete(1, 0, 0);
    want_time(476);
    expect_refusal(ERROR_USAGE, "is known to be complete until 1970-01-01T00:07:55Z");
    want_time(475);
    expect(2, 1);
    ck_assert(plan.is_to_end);
    event_count = 0; /* the backup itself ended */
    want_time(301);
    expect_refusal(ERROR_USAGE, "is known to be complete until 1970-01-01T00:05:00Z");
}
END_TEST

START_TEST(a_note_about_wal_that_is_not_held_tells_nothing)
{
    know_complete(1, 50.1, 500);
    want_time(476);
    expect_refusal(ERROR_USAGE, "is known to be complete until 1970-01-01T00:07:55Z");
}
END_TEST

/* The old primary went on alone and was idle, while the new one was written to. */
START_TEST(a_note_of_the_old_timeline_tells_nothing_about_the_new_one)
{
    fork_at_25();
    know_complete(1, 25, 9000);
    know_complete(2, 0, 0);
    want_time(576);
    expect_refusal(ERROR_USAGE, "is known to be complete until 1970-01-01T00:09:35Z");
    held.count = 1; /* nothing of it has come */
    ranges[0].end = at(25);
    want_time(226);
    expect_refusal(ERROR_USAGE, "is known to be complete until 1970-01-01T00:03:45Z");
}
END_TEST

START_TEST(a_named_backup_must_have_ended_before_the_time)
{
    want_time(250);
    wish.backup = &entries[2];
    expect_refusal(ERROR_USAGE, "cannot reach the target");
    wish.backup = &entries[0];
    expect(0, 1);
}
END_TEST

/* ---- positions ---- */

START_TEST(a_position_takes_the_newest_backup_that_ends_before_it)
{
    want_position(12);
    expect(0, 1);
    want_position(21.5);
    expect(0, 1);
    want_position(22);
    expect(1, 1);
    want_position(49.5);
    expect(2, 1);
}
END_TEST

START_TEST(a_position_before_the_first_backup_or_behind_the_last_wal_cannot_be_reached)
{
    want_position(11.9);
    expect_refusal(ERROR_USAGE, "ended at or before the target");
    want_position(49.6); /* held, but no record begins at it or behind it */
    expect_refusal(ERROR_USAGE, "the archive holds WAL until 0/3200000");
    ck_assert_ptr_nonnull(strstr(err.detail, "begins at 0/3180000"));
    want_position(50);
    expect_refusal(ERROR_USAGE, "the archive holds WAL until 0/3200000");
    want_position(70);
    expect_refusal(ERROR_USAGE, "the archive holds WAL until 0/3200000");
}
END_TEST

START_TEST(a_named_backup_must_end_before_the_position)
{
    want_position(31);
    wish.backup = &entries[2];
    expect_refusal(ERROR_USAGE, "ended at 0/2000000");
}
END_TEST

/* ---- xid, name, immediate ---- */

START_TEST(a_transaction_takes_the_newest_backup_that_ended_before_its_end)
{
    static const struct {
        uint32_t transaction;
        size_t backup;
    } rows[] = {{1012, 0}, {1019, 0}, {1020, 0}, {1021, 0}, {1022, 1}, {1031, 1}, {1032, 2}, {1049, 2}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        want_transaction(rows[i].transaction);
        expect(rows[i].backup, 1);
        expect_stop(rows[i].transaction - 1000 + 0.5);
        ck_assert_uint_eq(plan.warning_count, 0);
    }
    ck_assert_ptr_nonnull(strstr(plan.why, "that ended before the target (at 0/3180000)"));
}
END_TEST

START_TEST(a_transaction_that_is_not_there_is_refused_with_what_is)
{
    found_before.has_transactions = true;
    found_before.lowest_transaction = 1010;
    found_before.highest_transaction = 1049;
    want_transaction(1050);
    expect_refusal(ERROR_USAGE, "transaction X did not end in the WAL held on the way to timeline 1");
    ck_assert_ptr_nonnull(strstr(err.hint, "between 1010 and 1049"));
    want_transaction(1011); /* within the oldest backup */
    expect_refusal(ERROR_USAGE,
                   "cannot reach the transaction X: that lies at 0/B80000, and the backup ended at 0/C00000");
    ck_assert_ptr_nonnull(strstr(err.hint, "the oldest one"));
    want_transaction(1025);
    wish.backup = &entries[2];
    expect_refusal(ERROR_USAGE, "did not end");
    want_transaction(1031);
    expect_refusal(ERROR_USAGE, "cannot reach the transaction");
    ck_assert_ptr_nonnull(strstr(err.hint, "Leave out the backup"));
}
END_TEST

START_TEST(what_cannot_all_be_read_is_left_to_the_replay)
{
    found_before.is_unsure = true;
    want_transaction(2000);
    expect(2, 1);
    expect_warning("only known while replaying");
    ck_assert(!plan.has_stop && !plan.is_to_end);
    found_before.has_damage = true;
    error_set(&found_before.damage, ERROR_INTEGRITY, "its checksum is wrong");
    expect_refusal(ERROR_INTEGRITY, "its checksum is wrong");
    want_transaction(1040);
    expect(2, 1);
    expect_stop(40.5);
}
END_TEST

START_TEST(a_restore_point_takes_the_newest_backup_before_it)
{
    add_point(1, 15, "first");
    add_point(1, 31, "within");
    add_point(1, 45, "last");
    want_name("first");
    expect(0, 1);
    expect_stop(15);
    want_name("within"); /* the newest backup meets it before it is consistent */
    expect(1, 1);
    expect_stop(31);
    want_name("last");
    expect(2, 1);
    expect_stop(45);
    ck_assert_uint_eq(plan.warning_count, 0);
}
END_TEST

START_TEST(of_restore_points_with_one_name_the_first_behind_the_backup_counts)
{
    add_point(1, 15, "nightly");
    add_point(1, 33, "nightly");
    add_point(1, 45, "nightly");
    want_name("nightly");
    expect(2, 1);
    expect_stop(33);
    expect_warning("there are 3 of restore point nightly: recovery stops at the one at 0/2100000");
    wish.backup = &entries[0];
    expect(0, 1);
    expect_stop(15);
}
END_TEST

START_TEST(a_name_that_is_not_there_is_refused_with_those_that_are)
{
    want_name("befor");
    expect_refusal(ERROR_USAGE, "there is no restore point \"befor\" on the way to timeline 1");
    ck_assert_ptr_nonnull(strstr(err.hint, "none at all"));
    add_point(1, 15, "before");
    for (int number = 16; number < 28; number++) {
        char name[16];
        snprintf(name, sizeof name, "day %d", number);
        add_point(1, number, name);
    }
    add_point(1, 40, "evil\033[2J");
    expect_refusal(ERROR_USAGE, "there is no restore point");
    ck_assert_str_eq(err.hint, "There are: before, evil?[2J, day 27, day 26, day 25, day 24, day 23, day 22, day 21, "
                               "day 20, ....");
}
END_TEST

START_TEST(what_lies_on_a_dead_branch_is_said_to_be_there)
{
    fork_at_25();
    add_point(1, 30, "old branch");
    want_name("old branch");
    expect_refusal(ERROR_USAGE, "on the way to timeline 2");
    ck_assert_ptr_nonnull(strstr(err.hint, "--target-timeline 1"));
    want_timeline(1);
    expect(1, 1);
    expect_stop(30);
}
END_TEST

START_TEST(records_are_looked_for_on_the_way_only)
{
    fork_at_25();
    want_transaction(1030); /* on both branches */
    expect(1, 2);
    expect_stop(30.5);
    ck_assert_uint_eq(plan.stop.timeline.value, 2);
    want_transaction(1015);
    expect(0, 2);
    ck_assert_uint_eq(plan.stop.timeline.value, 1);
    want_time(570);
    expect(1, 2);
    expect_stop(59.5);
    ck_assert_uint_eq(plan.stop.timeline.value, 2);
}
END_TEST

/* ---- timelines ---- */

START_TEST(the_newest_timeline_is_followed_and_the_dead_branch_left)
{
    fork_at_25();
    expect(1, 2);
    ck_assert_uint_eq(plan.reach.end.value, at(60).value);
    ck_assert_uint_eq(plan.reach.timeline.value, 2);
    ck_assert_int_eq(plan.complete_at.microseconds, 600 * SECOND);
}
END_TEST

START_TEST(a_named_backup_of_the_dead_branch_stays_there)
{
    fork_at_25();
    wish.backup = &entries[2];
    expect(2, 1);
    ck_assert_uint_eq(plan.reach.end.value, at(50).value);
}
END_TEST

START_TEST(an_old_timeline_can_be_asked_for_by_its_number)
{
    fork_at_25();
    want_timeline(1);
    expect(2, 1);
    want_timeline(2);
    expect(1, 2);
    wish.backup = &entries[2];
    expect_refusal(ERROR_USAGE, "does not lie on the way to timeline 2");
}
END_TEST

START_TEST(an_unknown_timeline_is_an_operators_error)
{
    want_timeline(7);
    expect_refusal(ERROR_USAGE, "timeline 7 of \"primary\" is not known");
}
END_TEST

START_TEST(current_is_the_backups_own_timeline)
{
    fork_at_25();
    wish.timeline_choice = PLAN_TIMELINE_CURRENT;
    expect(2, 1);
    wish.backup = &entries[0];
    expect(0, 1);
}
END_TEST

START_TEST(a_timeline_without_any_backup_on_its_way_falls_back)
{
    add_timeline(2, "1\t0/500000\tforked off before every backup\n");
    hold(2, 5, 60, 600);
    expect(2, 1);
    want_timeline(2);
    expect_refusal(ERROR_USAGE, "no complete backup of \"primary\" lies on timeline 2");
}
END_TEST

START_TEST(a_fork_in_the_middle_of_a_backup_does_not_carry_it)
{
    add_timeline(2, "1\t0/1F00000\tat 31 MB\n");
    hold(2, 31, 60, 600);
    expect(1, 2);
}
END_TEST

START_TEST(a_fork_at_the_very_end_of_a_backup_does)
{
    add_timeline(2, "1\t0/2000000\tat 32 MB\n");
    hold(2, 32, 60, 600);
    expect(2, 2);
}
END_TEST

START_TEST(grandchildren_are_followed_through_their_parents)
{
    fork_at_25();
    add_timeline(3, "1\t0/1900000\tno reason\n2\t0/3200000\tat 50 MB\n");
    hold(3, 50, 70, 700);
    expect(1, 3);
    ck_assert_uint_eq(plan.reach.end.value, at(70).value);
    ck_assert(!plan.reach.has_gap);
}
END_TEST

START_TEST(a_new_timeline_whose_wal_has_not_come_yet_ends_at_the_fork)
{
    add_timeline(2, "1\t0/3200000\tat 50 MB\n");
    expect(2, 2);
    ck_assert_uint_eq(plan.reach.end.value, at(50).value);
    ck_assert_uint_eq(plan.reach.timeline.value, 1);
    ck_assert_uint_eq(plan.warning_count, 0);
}
END_TEST

START_TEST(wal_missing_right_after_a_fork_is_a_gap)
{
    add_timeline(2, "1\t0/1900000\tno reason\n");
    hold(2, 27, 60, 600);
    expect_refusal(ERROR_INTEGRITY, "lies behind it");
    ck_assert_uint_eq(plan.reach.end.value, at(25).value);
    ck_assert(plan.reach.has_gap);
    struct wal_gap gap = {.timeline = {2}, .start = at(25), .end = at(27), .reason = WAL_GAP_SLOT_LOST};
    struct wal_gaps gaps = {&gap, 1};
    stock.gaps = &gaps;
    expect_refusal(ERROR_INTEGRITY, "WAL 0/1900000 on timeline 2");
    ck_assert_ptr_nonnull(strstr(err.detail, "invalidated the replication slot"));
}
END_TEST

START_TEST(the_old_branch_held_beyond_a_fork_is_no_gap)
{
    fork_at_25();
    held.count = 0;
    hold(1, 10, 26, 260);
    hold(1, 28, 30, 300);
    hold(2, 25, 60, 600);
    expect(1, 2);
    ck_assert(!plan.reach.has_gap);
}
END_TEST

START_TEST(a_damaged_history_is_told_unless_another_timeline_is_named)
{
    fork_at_25();
    timelines[1].is_damaged = true;
    error_set(&timelines[1].damage, ERROR_INTEGRITY, "history of timeline 2, line 1: nonsense");
    expect_refusal(ERROR_INTEGRITY, "nonsense");
    ck_assert_ptr_nonnull(strstr(err.hint, "--target-timeline"));
    want_timeline(1);
    expect(2, 1);
    want_timeline(2);
    expect_refusal(ERROR_INTEGRITY, "nonsense");
}
END_TEST

START_TEST(times_and_positions_hold_along_a_switch)
{
    fork_at_25();
    want_position(55);
    expect(1, 2);
    want_position(24);
    expect(1, 2);
    want_time(599);
    expect(1, 2);
    want_time(601);
    expect_refusal(ERROR_USAGE, "cannot be reached");
}
END_TEST

/* ---- the list of WAL files ---- */

static char named[64][32];
static size_t named_count;

static bool note(void *context, const char *name, struct error *failure)
{
    (void)context;
    (void)failure;
    snprintf(named[named_count++], sizeof named[0], "%s", name);
    return true;
}

static void list_files(void)
{
    named_count = 0;
    ck_assert(plan_each_wal_file(&stock, &plan, note, NULL, plan.reach.timeline, plan.reach.end, &err));
}

START_TEST(wal_files_go_from_the_start_to_the_reach)
{
    held.count = 0;
    hold(1, 10, 33.5, 500);
    expect(2, 1);
    list_files();
    ck_assert_uint_eq(named_count, 4);
    ck_assert_str_eq(named[0], "00000001000000000000001E");
    ck_assert_str_eq(named[3], "000000010000000000000021");
}
END_TEST

START_TEST(an_end_on_a_boundary_names_no_segment_behind_it)
{
    held.count = 0;
    hold(1, 10, 33, 500);
    expect(2, 1);
    list_files();
    ck_assert_uint_eq(named_count, 3);
    ck_assert_str_eq(named[2], "000000010000000000000020");
}
END_TEST

START_TEST(across_a_fork_both_timelines_and_the_history_are_named)
{
    add_timeline(2, "1\t0/1980000\tat 25.5 MB\n");
    hold(2, 25, 27, 600);
    expect(1, 2);
    list_files();
    ck_assert_str_eq(named[0], "00000002.history");
    ck_assert_str_eq(named[1], "000000010000000000000014");
    ck_assert_str_eq(named[6], "000000010000000000000019"); /* the fork's segment, of the old timeline */
    ck_assert_str_eq(named[7], "000000020000000000000019"); /* and of the new one */
    ck_assert_str_eq(named[8], "00000002000000000000001A");
    ck_assert_uint_eq(named_count, 9);
}
END_TEST

static TCase *cases(void)
{
    TCase *tests = tcase_create("restore_plan");

    tcase_add_checked_fixture(tests, make, drop);
    tcase_add_test(tests, without_a_wish_the_newest_backup_and_all_wal_is_taken);
    tcase_add_test(tests, a_named_backup_overrides);
    tcase_add_test(tests, an_empty_catalogue_is_an_operators_error);
    tcase_add_test(tests, damaged_and_waiting_backups_are_never_chosen);
    tcase_add_test(tests, a_damaged_backup_is_taken_by_name_with_a_warning);
    tcase_add_test(tests, a_waiting_backup_is_refused_by_name);
    tcase_add_test(tests, an_unreadable_backup_is_passed_over_aloud);
    tcase_add_test(tests, when_all_are_unreadable_that_is_damage);
    tcase_add_test(tests, when_all_were_found_damaged_that_is_told_and_what_a_former_cluster_had_is_not);
    tcase_add_test(tests, an_unreadable_backup_is_refused_by_name);
    tcase_add_test(tests, backups_of_a_former_system_are_taken_by_name_only);
    tcase_add_test(tests, a_backup_without_its_own_wal_is_refused);
    tcase_add_test(tests, a_gap_behind_the_backup_is_refused_and_limits_the_reach);
    tcase_add_test(tests, a_gap_is_named_with_its_reason_and_the_backup_behind_it);
    tcase_add_test(tests, a_loss_behind_which_nothing_has_come_yet_is_a_gap);
    tcase_add_test(tests, a_gap_does_not_matter_when_recovery_stops_before_it);
    tcase_add_test(tests, a_target_behind_a_gap_is_damage_not_a_wrong_question);
    tcase_add_test(tests, a_time_takes_the_newest_backup_that_had_ended);
    tcase_add_test(tests, a_time_behind_the_last_commit_ends_with_the_last_record);
    tcase_add_test(tests, an_exclusive_time_stops_at_its_own_commit);
    tcase_add_test(tests, a_commit_behind_the_target_counts_more_than_the_clock_of_the_files);
    tcase_add_test(tests, a_backup_with_later_commits_within_is_passed_over);
    tcase_add_test(tests, damage_on_the_way_to_a_time_is_told);
    tcase_add_test(tests, the_servers_clock_counts_where_it_is_known);
    tcase_add_test(tests, a_time_before_the_first_backup_cannot_be_reached);
    tcase_add_test(tests, a_time_behind_the_last_wal_cannot_be_reached);
    tcase_add_test(tests, without_a_note_only_the_commits_tell_how_far_the_wal_goes);
    tcase_add_test(tests, a_note_about_wal_that_is_not_held_tells_nothing);
    tcase_add_test(tests, a_note_of_the_old_timeline_tells_nothing_about_the_new_one);
    tcase_add_test(tests, a_named_backup_must_have_ended_before_the_time);
    return tests;
}

static void add_more(TCase *tests)
{
    tcase_add_test(tests, a_position_takes_the_newest_backup_that_ends_before_it);
    tcase_add_test(tests, a_position_before_the_first_backup_or_behind_the_last_wal_cannot_be_reached);
    tcase_add_test(tests, a_named_backup_must_end_before_the_position);
    tcase_add_test(tests, a_transaction_takes_the_newest_backup_that_ended_before_its_end);
    tcase_add_test(tests, a_transaction_that_is_not_there_is_refused_with_what_is);
    tcase_add_test(tests, what_cannot_all_be_read_is_left_to_the_replay);
    tcase_add_test(tests, a_restore_point_takes_the_newest_backup_before_it);
    tcase_add_test(tests, of_restore_points_with_one_name_the_first_behind_the_backup_counts);
    tcase_add_test(tests, a_name_that_is_not_there_is_refused_with_those_that_are);
    tcase_add_test(tests, what_lies_on_a_dead_branch_is_said_to_be_there);
    tcase_add_test(tests, records_are_looked_for_on_the_way_only);
    tcase_add_test(tests, the_newest_timeline_is_followed_and_the_dead_branch_left);
    tcase_add_test(tests, a_named_backup_of_the_dead_branch_stays_there);
    tcase_add_test(tests, an_old_timeline_can_be_asked_for_by_its_number);
    tcase_add_test(tests, an_unknown_timeline_is_an_operators_error);
    tcase_add_test(tests, current_is_the_backups_own_timeline);
    tcase_add_test(tests, a_timeline_without_any_backup_on_its_way_falls_back);
    tcase_add_test(tests, a_fork_in_the_middle_of_a_backup_does_not_carry_it);
    tcase_add_test(tests, a_fork_at_the_very_end_of_a_backup_does);
    tcase_add_test(tests, grandchildren_are_followed_through_their_parents);
    tcase_add_test(tests, a_new_timeline_whose_wal_has_not_come_yet_ends_at_the_fork);
    tcase_add_test(tests, wal_missing_right_after_a_fork_is_a_gap);
    tcase_add_test(tests, the_old_branch_held_beyond_a_fork_is_no_gap);
    tcase_add_test(tests, a_damaged_history_is_told_unless_another_timeline_is_named);
    tcase_add_test(tests, times_and_positions_hold_along_a_switch);
    tcase_add_test(tests, wal_files_go_from_the_start_to_the_reach);
    tcase_add_test(tests, an_end_on_a_boundary_names_no_segment_behind_it);
    tcase_add_test(tests, across_a_fork_both_timelines_and_the_history_are_named);
}

int main(void)
{
    TCase *tests = cases();

    add_more(tests);
    return suite_run("restore_plan", tests);
}
