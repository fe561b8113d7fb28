#include "pgcoffer/repo/wal_expire.h"

#include "pgcoffer/repo/wal_gaps.h"
#include "pgcoffer/repo/wal_lease.h"
#include "repo/repository.h"

static const struct wal_ranges none = {NULL, 0};

#define ZST(number) "wal/00000001/00000000/00000001000000000000000" number ".zst"

static void hold(uint64_t first, uint64_t last)
{
    struct error err;

    for (; first <= last; first++) {
        hold_segment(1, first);
        MUST(wal_archive_compress(&archive, segment_of(1, first), 3, &err));
    }
}

static struct wal_range stretch(uint64_t first, uint64_t behind)
{
    return (struct wal_range){.timeline = {1}, .start = {first * ONE_MB}, .end = {behind * ONE_MB}};
}

static size_t count_gaps(void)
{
    struct error err;
    struct wal_ranges ranges;
    struct wal_gaps gaps;

    MUST(wal_gaps_settle(&archive, &ranges, &gaps, &err));
    size_t count = gaps.count;
    wal_ranges_done(&ranges);
    wal_gaps_done(&gaps);
    return count;
}

/* Removes segments first to last, as retention would. */
static void expire(uint64_t first, uint64_t last, uint64_t expected)
{
    struct error err;
    struct wal_range range = stretch(first, last + 1);
    const struct wal_ranges expired = {&range, 1};
    struct wal_files files;
    uint64_t segments = 0, bytes = 0;

    MUST(wal_archive_list(&archive, &files, &err));
    bool *is_removed SCOPED(scoped_free) = memory_new((files.count + 1) * sizeof *is_removed);
    for (size_t i = 0; i < files.count; i++)
        is_removed[i] = files.files[i].segment.number >= first && files.files[i].segment.number <= last;
    MUST(wal_expired_note(&archive, &expired, &none, &err));
    MUST(wal_archive_expire(&archive, &files, is_removed, &segments, &bytes, &err));
    ck_assert_uint_eq(segments, expected);
    ck_assert(bytes > 0 || expected == 0);
    wal_files_done(&files);
}

START_TEST(what_was_removed_is_gone_and_no_gap)
{
    hold(1, 6);
    repository_put("wal/00000001/00000000/000000010000000000000003.contents.json", "{}", 2);
    expire(3, 4, 2);
    ck_assert(!repository_has(ZST("3")) && !repository_has(ZST("4")) && repository_has(ZST("5")));
    ck_assert(!repository_has("wal/00000001/00000000/000000010000000000000003.contents.json"));
    ck_assert_uint_eq(count_gaps(), 0);
    expire(2, 4, 1); /* the same again, and a neighbour */
    ck_assert_uint_eq(count_gaps(), 0);
    struct wal_ranges expired;
    wal_expired_read(&archive, &expired);
    ck_assert_uint_eq(expired.count, 1);
    ck_assert(wal_expired_has(&expired, (struct timeline){1}, stretch(2, 5).start, stretch(2, 5).end));
    ck_assert(!wal_expired_has(&expired, (struct timeline){1}, stretch(2, 6).start, stretch(2, 6).end));
    ck_assert(!wal_expired_has(&expired, (struct timeline){2}, stretch(2, 5).start, stretch(2, 5).end));
    wal_ranges_done(&expired);
}
END_TEST

START_TEST(a_hole_beside_what_was_removed_is_still_a_gap)
{
    hold(1, 8);
    ck_assert_int_eq(unlink(repository_path(ZST("6"))), 0);
    expire(2, 3, 2);
    ck_assert_uint_eq(count_gaps(), 1);
}
END_TEST

START_TEST(without_its_document_the_holes_are_told_and_a_broken_one_counts_as_none)
{
    hold(1, 5);
    expire(2, 3, 2);
    struct buffer document = repository_get("wal/expired.json");
    document.bytes[document.used / 2] ^= 1;
    repository_put("wal/expired.json", document.bytes, document.used);
    buffer_done(&document);
    ck_assert_uint_eq(count_gaps(), 1);
    expire(2, 3, 0); /* noted again */
    ck_assert_uint_eq(count_gaps(), 0);
}
END_TEST

START_TEST(folders_that_become_empty_go_and_others_stay)
{
    hold(1, 2);
    repository_put("wal/00000001/complete.json", "{}", 2);
    repository_put("wal/00000002.history", "1\t0/500000\tx\n", 13);
    hold_segment(2, 5);
    expire(1, 1, 1);
    ck_assert(repository_has("wal/00000001/00000000") && repository_has("wal/00000001/complete.json"));
    expire(2, 2, 1);
    ck_assert(!repository_has("wal/00000001") && repository_has("wal/00000002.history"));
    hold(3, 3); /* the folders are made anew */
    ck_assert(repository_has(ZST("3")));
}
END_TEST

START_TEST(a_killed_run_is_ended_by_the_next)
{
    struct error err;
    struct wal_range range = stretch(2, 4);
    const struct wal_ranges expired = {&range, 1};

    hold(1, 5);
    MUST(wal_expired_note(&archive, &expired, &none, &err)); /* announced, and nothing removed */
    ck_assert_uint_eq(count_gaps(), 0);
    ck_assert(repository_has(ZST("2")));
    ck_assert_int_eq(unlink(repository_path(ZST("2"))), 0);
    ck_assert_uint_eq(count_gaps(), 0);
    expire(2, 3, 1);
    ck_assert_uint_eq(count_gaps(), 0);
}
END_TEST

static size_t count_leases(int64_t days_from_now)
{
    struct error err;
    struct retention_lease *leases SCOPED(scoped_free) = NULL;
    struct timestamp now = {clock_now().microseconds + days_from_now * INT64_C(86400000000)};
    size_t count = 0;

    MUST(wal_leases_read(&repo, "primary", &system_id, now, &leases, &count, &err));
    for (size_t i = 0; i < count; i++)
        ck_assert(leases[i].timeline.value == 3 && leases[i].start_timeline.value == 2 &&
                  leases[i].start.value == UINT64_C(0xABC00000028));
    return count;
}

START_TEST(a_lease_counts_for_a_week)
{
    struct error err;
    const struct retention_lease lease = {{3}, {2}, {UINT64_C(0xABC00000028)}};
    char name[WAL_LEASE_NAME_SIZE];

    ck_assert_uint_eq(count_leases(0), 0);
    MUST(wal_lease_write(&repo, "primary", &system_id, WAL_LEASE_RESTORE, &lease, name, &err));
    MUST(wal_lease_write(&repo, "primary", &system_id, WAL_LEASE_RESTORE, &lease, name, &err));
    ck_assert(repository_has("lease/00000002-00000ABC00000028-00000003"));
    repository_put("lease/notes", "x", 1);
    ck_assert_uint_eq(count_leases(0), 1);
    ck_assert_uint_eq(count_leases(-3), 1); /* the clock was set back */
    ck_assert_uint_eq(count_leases(6), 1);
    ck_assert_uint_eq(count_leases(8), 0);
    struct timestamp later = {clock_now().microseconds + INT64_C(8) * INT64_C(86400000000)};
    MUST(wal_leases_clean(&repo, "primary", &system_id, clock_now(), &err));
    ck_assert_uint_eq(count_leases(0), 1);
    MUST(wal_leases_clean(&repo, "primary", &system_id, later, &err));
    ck_assert_uint_eq(count_leases(0), 0);
    ck_assert(repository_has("lease/notes"));
}
END_TEST

START_TEST(a_drill_and_a_backup_leave_one_of_their_own_and_take_it_away)
{
    struct error err;
    const struct retention_lease lease = {{3}, {2}, {UINT64_C(0xABC00000028)}};
    char of_restore[WAL_LEASE_NAME_SIZE], of_drill[WAL_LEASE_NAME_SIZE], of_backup[WAL_LEASE_NAME_SIZE];

    MUST(wal_lease_write(&repo, "primary", &system_id, WAL_LEASE_RESTORE, &lease, of_restore, &err));
    MUST(wal_lease_write(&repo, "primary", &system_id, WAL_LEASE_DRILL, &lease, of_drill, &err));
    MUST(wal_lease_write(&repo, "primary", &system_id, WAL_LEASE_BACKUP, &lease, of_backup, &err));
    ck_assert_uint_eq(count_leases(0), 3);
    ck_assert_uint_eq(count_leases(2), 2); /* that of the drill was for a day */
    MUST(wal_leases_clean(&repo, "primary", &system_id,
                          (struct timestamp){clock_now().microseconds + INT64_C(2) * INT64_C(86400000000)}, &err));
    ck_assert_uint_eq(count_leases(0), 2);
    MUST(wal_lease_release(&repo, "primary", &system_id, WAL_LEASE_DRILL, of_drill, &err)); /* gone already */
    ck_assert(!wal_lease_release(&repo, "primary", &system_id, WAL_LEASE_DRILL, of_restore, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert(!wal_lease_release(&repo, "primary", &system_id, WAL_LEASE_DRILL, "../pin.json", &err));
    MUST(wal_leases_release(&repo, "primary", &system_id, WAL_LEASE_BACKUP, &err));
    ck_assert_uint_eq(count_leases(0), 1);
}
END_TEST

START_TEST(what_stays_after_all_is_a_gap_again_once_it_is_lost)
{
    struct error err;
    struct wal_range announced = stretch(2, 6), stays[] = {stretch(3, 5), stretch(5, 6)};
    const struct wal_ranges expired = {&announced, 1}, kept = {stays, 2};
    struct wal_ranges noted;

    hold(1, 7);
    MUST(wal_expired_note(&archive, &expired, &none, &err));
    MUST(wal_expired_note(&archive, &none, &kept, &err)); /* a lease has come, or another policy */
    wal_expired_read(&archive, &noted);
    ck_assert_uint_eq(noted.count, 1);
    ck_assert(wal_expired_has(&noted, (struct timeline){1}, stretch(2, 3).start, stretch(2, 3).end));
    ck_assert(!wal_expired_touches(&noted, (struct timeline){1}, stretch(3, 8).start, stretch(3, 8).end));
    ck_assert(wal_expired_touches(&noted, (struct timeline){1}, stretch(1, 4).start, stretch(1, 4).end));
    wal_ranges_done(&noted);
    ck_assert_int_eq(unlink(repository_path(ZST("2"))), 0);
    ck_assert_uint_eq(count_gaps(), 0);
    ck_assert_int_eq(unlink(repository_path(ZST("4"))), 0);
    ck_assert_uint_eq(count_gaps(), 1);
}
END_TEST

START_TEST(names_of_leases_are_strict)
{
    static const char *const wrong[] = {"",
                                        "00000002-00000ABC00000028-0000000",
                                        "00000002-00000ABC00000028-000000033",
                                        "00000002-00000abc00000028-00000003",
                                        "00000000-00000ABC00000028-00000003",
                                        "00000003-00000ABC00000028-00000002",
                                        "00000002_00000ABC00000028-00000003",
                                        "-0000002-00000ABC00000028-00000003",
                                        "00000002-00000ABC00000028-00000003.drill",
                                        "00000002-00000ABC00000028-00000003.drill-0000001",
                                        "00000002-00000ABC00000028-00000003.drill-0000000g",
                                        "00000002-00000ABC00000028-00000003.restore-00000001",
                                        "00000002-00000ABC00000028-00000003.backup-00000001.tmp"};
    struct retention_lease lease;
    enum wal_lease_kind kind;

    ck_assert(wal_lease_parse_name("00000002-00000ABC00000028-00000003", &kind, &lease));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_msg(!wal_lease_parse_name(wrong[i], &kind, &lease), "%s", wrong[i]);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wal_expire");

    tcase_add_checked_fixture(tests, repository_make, repository_remove);
    tcase_add_test(tests, what_was_removed_is_gone_and_no_gap);
    tcase_add_test(tests, a_hole_beside_what_was_removed_is_still_a_gap);
    tcase_add_test(tests, without_its_document_the_holes_are_told_and_a_broken_one_counts_as_none);
    tcase_add_test(tests, folders_that_become_empty_go_and_others_stay);
    tcase_add_test(tests, a_killed_run_is_ended_by_the_next);
    tcase_add_test(tests, a_lease_counts_for_a_week);
    tcase_add_test(tests, a_drill_and_a_backup_leave_one_of_their_own_and_take_it_away);
    tcase_add_test(tests, what_stays_after_all_is_a_gap_again_once_it_is_lost);
    tcase_add_test(tests, names_of_leases_are_strict);
    return suite_run("wal_expire", tests);
}
