#include <sys/syscall.h>

#include "repo/repository.h"

/* The test's own system calls stand before the C library's: a disk that fails on demand. */
static int failing_fdatasync_errno, failing_fallocate_errno;
static int fsyncs_before_failure = -1; /* then one fails */

int fsync(int fd)
{
    if (fsyncs_before_failure >= 0 && fsyncs_before_failure-- == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    if (failing_fdatasync_errno != 0) {
        errno = failing_fdatasync_errno;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    if (failing_fallocate_errno != 0) {
        errno = failing_fallocate_errno;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

#define SEGMENT_3 "wal/00000001/00000000/000000010000000000000003"

static struct wal_partial *open_partial(void)
{
    struct error err;
    struct wal_partial *partial = NULL;

    MUST(wal_partial_open(&archive, segment_of(1, 3), &partial, &err));
    return partial;
}

static void put_held(const uint8_t *bytes, size_t size)
{
    repository_put(SEGMENT_3 ".partial", bytes, size);
}

START_TEST(a_segment_arrives_in_awkward_pieces)
{
    static const size_t pieces[] = {1, 7, 4096, 131072, ONE_MB};
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);

    for (size_t i = 2; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct wal_partial *partial = open_partial();
        ck_assert_uint_eq(wal_partial_held(partial), 0);
        uint32_t at = 0;
        for (; at < pieces[0] + pieces[1]; at++) /* the first bytes one by one */
            MUST(wal_partial_write(partial, at, bytes + at, 1, &err));
        while (at < ONE_MB) {
            size_t size = ONE_MB - at < pieces[i] ? ONE_MB - at : pieces[i];
            MUST(wal_partial_write(partial, at, bytes + at, size, &err));
            at += (uint32_t)size;
            ck_assert_uint_eq(wal_partial_held(partial), at);
        }
        ck_assert_uint_eq(wal_partial_durable(partial), 0);
        MUST(wal_partial_sync(partial, &err));
        ck_assert_uint_eq(wal_partial_durable(partial), ONE_MB);
        MUST(wal_partial_finish(partial, &err));
        wal_partial_free(partial);
        assert_holds(1, 3, WAL_FILE_RAW);
        ck_assert(!repository_has(SEGMENT_3 ".partial"));
        ck_assert_int_eq(unlink(repository_path(SEGMENT_3)), 0);
    }
    ck_assert(repository_has("wal/segment_size.json"));
}
END_TEST

START_TEST(a_new_partial_reserves_its_room_and_is_empty)
{
    struct stat status;
    struct wal_partial *partial = open_partial();

    ck_assert_int_eq(stat(repository_path(SEGMENT_3 ".partial"), &status), 0);
    ck_assert_int_eq(status.st_size, 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    wal_partial_free(partial);
}
END_TEST

START_TEST(what_is_held_is_compared_and_the_rest_appended)
{
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);

    put_held(bytes, 5000);
    struct wal_partial *partial = open_partial();
    ck_assert_uint_eq(wal_partial_held(partial), 5000);
    ck_assert_uint_eq(wal_partial_durable(partial), 5000);
    MUST(wal_partial_write(partial, 0, bytes, 1, &err));
    MUST(wal_partial_write(partial, 1, bytes + 1, 4096, &err));
    MUST(wal_partial_write(partial, 4097, bytes + 4097, 903, &err));
    ck_assert_uint_eq(wal_partial_held(partial), 5000);
    MUST(wal_partial_write(partial, 4999, bytes + 4999, 70000, &err));
    ck_assert_uint_eq(wal_partial_held(partial), 74999);
    MUST(wal_partial_write(partial, 74999, bytes, 0, &err));
    wal_partial_free(partial);
    assert_holds(1, 3, WAL_FILE_PARTIAL);
}
END_TEST

START_TEST(a_difference_is_told_with_its_place_and_changes_nothing)
{
    static const uint32_t places[] = {0, 7, 4095, 4096, 16384, 49999};
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);

    put_held(bytes, 50000);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char offset[32];
        struct wal_partial *partial = open_partial();
        bytes[places[i]] ^= 1;
        ck_assert(!wal_partial_write(partial, 0, bytes, 60000, &err));
        bytes[places[i]] ^= 1;
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert_int_eq(err.errnum, EILSEQ);
        snprintf(offset, sizeof offset, "at offset %u (0/30", (unsigned)places[i]);
        ck_assert_ptr_nonnull(strstr(err.message, "000000010000000000000003"));
        ck_assert_ptr_nonnull(strstr(err.message, offset));
        ck_assert_uint_eq(wal_partial_held(partial), 50000);
        wal_partial_free(partial);
        assert_holds(1, 3, WAL_FILE_PARTIAL);
    }
}
END_TEST

START_TEST(zeros_that_a_power_cut_left_are_overwritten)
{
    static const size_t pieces[] = {1000, 4096, 131072, ONE_MB};
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);
    uint8_t *held SCOPED(scoped_free) = memory_new(300000);

    memcpy(held, bytes, 70001);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        put_held(held, 300000);
        struct wal_partial *partial = open_partial();
        ck_assert_uint_eq(wal_partial_held(partial), 300000);
        for (uint32_t at = 0; at < ONE_MB;) {
            size_t size = ONE_MB - at < pieces[i] ? ONE_MB - at : pieces[i];
            MUST(wal_partial_write(partial, at, bytes + at, size, &err));
            at += (uint32_t)size;
            if (at > 70001)
                ck_assert_uint_eq(wal_partial_durable(partial), 70001);
        }
        MUST(wal_partial_sync(partial, &err));
        ck_assert_uint_eq(wal_partial_durable(partial), ONE_MB);
        wal_partial_free(partial);
        assert_holds(1, 3, WAL_FILE_PARTIAL);
    }
}
END_TEST

START_TEST(pages_that_a_power_cut_left_as_zeros_between_written_ones_are_overwritten)
{
    static const size_t pieces[] = {1000, 4096, 131072, ONE_MB};
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);
    uint8_t *held SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);

    memset(held + 70001, 0, 20 * 4096 - 70001); /* a page written in part, and whole ones */
    memset(held + 40 * 4096, 0, 4096);
    memset(held + 290000, 0, 10000);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        put_held(held, 300000);
        struct wal_partial *partial = open_partial();
        for (uint32_t at = 0; at < ONE_MB;) {
            size_t size = ONE_MB - at < pieces[i] ? ONE_MB - at : pieces[i];
            MUST(wal_partial_write(partial, at, bytes + at, size, &err));
            at += (uint32_t)size;
            if (at > 70001)
                ck_assert_uint_eq(wal_partial_durable(partial), 70001);
        }
        MUST(wal_partial_sync(partial, &err));
        wal_partial_free(partial);
        assert_holds(1, 3, WAL_FILE_PARTIAL);
    }
}
END_TEST

START_TEST(zeros_before_held_bytes_of_the_same_page_are_a_difference)
{
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);
    uint8_t *held SCOPED(scoped_free) = memory_new(300000);
    const uint32_t page_end = (70001 / 4096 + 1) * 4096;

    memcpy(held, bytes, 70001);
    held[page_end - 1] = 1;
    put_held(held, 300000);
    struct wal_partial *partial = open_partial();
    MUST(wal_partial_write(partial, 0, bytes, 70001, &err));
    ck_assert(!wal_partial_write(partial, 70001, bytes + 70001, 10, &err));
    ck_assert_int_eq(err.errnum, EILSEQ);
    ck_assert_uint_eq(wal_partial_durable(partial), 300000);
    wal_partial_free(partial);
}
END_TEST

START_TEST(what_was_written_over_zeros_is_held_from_then_on)
{
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);
    uint8_t *held SCOPED(scoped_free) = memory_new(1000);

    put_held(held, 1000);
    struct wal_partial *partial = open_partial();
    MUST(wal_partial_write(partial, 0, bytes, 500, &err));
    bytes[499] ^= 1;
    ck_assert(!wal_partial_write(partial, 0, bytes, 500, &err));
    ck_assert_int_eq(err.errnum, EILSEQ);
    bytes[499] ^= 1;
    MUST(wal_partial_write(partial, 0, bytes, 2000, &err));
    bytes[1999] = (uint8_t)~bytes[1999];
    ck_assert(!wal_partial_write(partial, 1999, bytes + 1999, 1, &err));
    wal_partial_free(partial);
}
END_TEST

START_TEST(what_a_killed_process_left_of_another_timeline_is_synced_at_the_start)
{
    struct error err;
    struct wal_segment *raw SCOPED(scoped_free) = NULL;
    size_t raw_count = 0;

    hold_partial(1, 3, 5000);
    hold_partial(2, 3, 6000);
    failing_fdatasync_errno = EIO;
    bool done = wal_archive_recover(&archive, &raw, &raw_count, &err);
    failing_fdatasync_errno = 0;
    ck_assert(!done);
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    ck_assert(!repository_has(SEGMENT_3 ".partial"));
    ck_assert(repository_has(SEGMENT_3 ".partial.suspect-1"));
    MUST(wal_archive_recover(&archive, &raw, &raw_count, &err));
    assert_holds(2, 3, WAL_FILE_PARTIAL);
}
END_TEST

START_TEST(a_folder_whose_fsync_failed_is_not_taken_for_durable)
{
    struct error err;
    struct wal_partial *partial = NULL;

    hold_partial(1, 3, 1000);
    for (int number = 0; number < 6; number++) { /* four above it, the folder itself, and its entry */
        fsyncs_before_failure = number;
        ck_assert(!wal_partial_open(&archive, segment_of(1, 4096 + 3), &partial, &err));
        ck_assert_int_eq(err.kind, ERROR_STORAGE);
        ck_assert_int_eq(fsyncs_before_failure, -1);
        ck_assert(!repository_has("wal/00000001/00000001"));
    }
    hold_partial(1, 4096 + 3, 1000);
}
END_TEST

START_TEST(bytes_that_leave_a_gap_or_pass_the_end_are_refused)
{
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);
    struct wal_partial *partial = open_partial();

    ck_assert(!wal_partial_write(partial, 1, bytes, 1, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "got bytes for offset 1, expected 0"));
    MUST(wal_partial_write(partial, 0, bytes, ONE_MB - 1, &err));
    ck_assert(!wal_partial_write(partial, ONE_MB - 1, bytes, 2, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "beyond its end"));
    ck_assert(!wal_partial_finish(partial, &err));
    MUST(wal_partial_write(partial, ONE_MB - 1, bytes, 1, &err));
    ck_assert(!wal_partial_finish(partial, &err)); /* whole, but not synced */
    ck_assert(!repository_has(SEGMENT_3));
    MUST(wal_partial_sync(partial, &err));
    MUST(wal_partial_finish(partial, &err));
    wal_partial_free(partial);
}
END_TEST

START_TEST(a_finished_segment_is_never_received_again)
{
    struct error err;
    struct wal_partial *partial = NULL;

    hold_segment(1, 3);
    ck_assert(!wal_partial_open(&archive, segment_of(1, 3), &partial, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 1, &err));
    ck_assert(!wal_partial_open(&archive, segment_of(1, 3), &partial, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    ck_assert_ptr_nonnull(strstr(err.message, "never overwritten"));
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
}
END_TEST

START_TEST(after_a_failed_fsync_the_file_is_kept_aside_and_a_fresh_one_begun)
{
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);

    for (int round = 1; round <= 4; round++) {
        char name[128];
        struct wal_partial *partial = open_partial();
        MUST(wal_partial_write(partial, 0, bytes, 1000 + (size_t)round, &err));
        failing_fdatasync_errno = EIO;
        ck_assert(!wal_partial_sync(partial, &err));
        failing_fdatasync_errno = 0;
        ck_assert_int_eq(err.kind, ERROR_STORAGE);
        ck_assert_int_eq(err.errnum, EIO);
        ck_assert_ptr_nonnull(strstr(err.detail, "kept aside"));
        ck_assert_uint_eq(wal_partial_durable(partial), 0);
        ck_assert(!wal_partial_write(partial, 1000, bytes + 1000, 1, &err));
        ck_assert(!wal_partial_sync(partial, &err));
        ck_assert(!wal_partial_finish(partial, &err));
        wal_partial_free(partial);
        snprintf(name, sizeof name, SEGMENT_3 ".partial.suspect-%d", round < 2 ? 1 : 2);
        struct buffer kept = repository_get(name);
        ck_assert_uint_eq(kept.used, 1000 + (size_t)round);
        buffer_done(&kept);
        ck_assert(!repository_has(SEGMENT_3 ".partial"));
    }
    ck_assert(!repository_has(SEGMENT_3 ".partial.suspect-3"));
    struct wal_partial *partial = open_partial();
    ck_assert_uint_eq(wal_partial_held(partial), 0);
    wal_partial_free(partial);
}
END_TEST

START_TEST(what_a_full_disk_did_not_take_is_not_kept)
{
    static const int full[] = {ENOSPC, EDQUOT};
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);

    for (size_t i = 0; i < 2; i++) {
        struct wal_partial *partial = open_partial();
        MUST(wal_partial_write(partial, 0, bytes, 1000, &err));
        failing_fdatasync_errno = full[i];
        ck_assert(!wal_partial_sync(partial, &err));
        failing_fdatasync_errno = 0;
        ck_assert_int_eq(err.errnum, full[i]);
        wal_partial_free(partial);
        ck_assert(!repository_has(SEGMENT_3 ".partial"));
        ck_assert(!repository_has(SEGMENT_3 ".partial.suspect-1"));
    }
}
END_TEST

START_TEST(a_failed_fsync_of_what_an_earlier_run_left_sets_it_aside_too)
{
    struct error err;
    struct wal_partial *partial = NULL;

    hold_partial(1, 3, 1000);
    failing_fdatasync_errno = EIO;
    ck_assert(!wal_partial_open(&archive, segment_of(1, 3), &partial, &err));
    failing_fdatasync_errno = 0;
    ck_assert(repository_has(SEGMENT_3 ".partial.suspect-1"));
    partial = open_partial();
    ck_assert_uint_eq(wal_partial_held(partial), 0);
    wal_partial_free(partial);
}
END_TEST

START_TEST(a_full_disk_at_the_start_leaves_nothing_in_the_way)
{
    static const int full[] = {ENOSPC, EDQUOT};
    struct error err;
    struct wal_partial *partial = NULL;

    for (size_t i = 0; i < 2; i++) {
        failing_fallocate_errno = full[i];
        ck_assert(!wal_partial_open(&archive, segment_of(1, 3), &partial, &err));
        ck_assert_int_eq(err.kind, ERROR_STORAGE);
        ck_assert_int_eq(err.errnum, full[i]);
        ck_assert_ptr_nonnull(strstr(err.hint, "Make room"));
        ck_assert(!repository_has(SEGMENT_3 ".partial"));

        repository_put(SEGMENT_3 ".partial", "", 0); /* of a process killed in between */
        ck_assert(!wal_partial_open(&archive, segment_of(1, 3), &partial, &err));
        ck_assert(repository_has(SEGMENT_3 ".partial")); /* it may be the first of a timeline that is published */
        failing_fallocate_errno = 0;
        hold_partial(1, 3, 10);
        failing_fallocate_errno = full[i];
        ck_assert(!wal_partial_open(&archive, segment_of(1, 3), &partial, &err));
        failing_fallocate_errno = 0;
        assert_holds(1, 3, WAL_FILE_PARTIAL); /* what is held stays */
        partial = open_partial();
        ck_assert_uint_eq(wal_partial_held(partial), 10);
        wal_partial_free(partial);
        ck_assert_int_eq(unlink(repository_path(SEGMENT_3 ".partial")), 0);
    }
}
END_TEST

START_TEST(a_file_system_that_cannot_reserve_is_good_enough)
{
    failing_fallocate_errno = EOPNOTSUPP;
    hold_segment(1, 3);
    failing_fallocate_errno = 0;
    assert_holds(1, 3, WAL_FILE_RAW);
}
END_TEST

START_TEST(a_partial_larger_than_a_segment_is_refused)
{
    struct error err;
    struct wal_partial *partial = NULL;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB + 1, 1);

    put_held(bytes, ONE_MB + 1);
    ck_assert(!wal_partial_open(&archive, segment_of(1, 3), &partial, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
}
END_TEST

START_TEST(a_damaged_segment_is_replaced_only_by_a_whole_one_and_kept)
{
    struct wal_partial *partial = NULL;
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);
    static const char damaged[] = "wal/00000001/00000000/000000010000000000000003.zst";

    hold_segment(1, 3);
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
    repository_put(damaged, "damage", 6);
    ck_assert(!wal_partial_open(&archive, segment_of(1, 3), &partial, &err));
    MUST(wal_partial_open_beside(&archive, segment_of(1, 3), &partial, &err));
    MUST(wal_partial_write(partial, 0, bytes, ONE_MB - 1, &err));
    MUST(wal_partial_sync(partial, &err));
    ck_assert(!wal_partial_replace(partial, &err));
    ck_assert(repository_has(damaged));
    MUST(wal_partial_write(partial, ONE_MB - 1, bytes + ONE_MB - 1, 1, &err));
    MUST(wal_partial_sync(partial, &err));
    MUST(wal_partial_replace(partial, &err));
    wal_partial_free(partial);
    assert_holds(1, 3, WAL_FILE_RAW);
    ck_assert(repository_has("wal/00000001/00000000/000000010000000000000003.zst.suspect-1"));
    MUST(wal_archive_set_segment_aside(&archive, segment_of(1, 3), &err));
    ck_assert(repository_has("wal/00000001/00000000/000000010000000000000003.suspect-1"));
    ck_assert(!repository_has("wal/00000001/00000000/000000010000000000000003"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wal_partial");

    tcase_add_checked_fixture(tests, repository_make, repository_remove);
    tcase_add_test(tests, a_segment_arrives_in_awkward_pieces);
    tcase_add_test(tests, a_new_partial_reserves_its_room_and_is_empty);
    tcase_add_test(tests, what_is_held_is_compared_and_the_rest_appended);
    tcase_add_test(tests, a_difference_is_told_with_its_place_and_changes_nothing);
    tcase_add_test(tests, zeros_that_a_power_cut_left_are_overwritten);
    tcase_add_test(tests, pages_that_a_power_cut_left_as_zeros_between_written_ones_are_overwritten);
    tcase_add_test(tests, zeros_before_held_bytes_of_the_same_page_are_a_difference);
    tcase_add_test(tests, a_folder_whose_fsync_failed_is_not_taken_for_durable);
    tcase_add_test(tests, what_a_killed_process_left_of_another_timeline_is_synced_at_the_start);
    tcase_add_test(tests, what_was_written_over_zeros_is_held_from_then_on);
    tcase_add_test(tests, bytes_that_leave_a_gap_or_pass_the_end_are_refused);
    tcase_add_test(tests, a_finished_segment_is_never_received_again);
    tcase_add_test(tests, after_a_failed_fsync_the_file_is_kept_aside_and_a_fresh_one_begun);
    tcase_add_test(tests, what_a_full_disk_did_not_take_is_not_kept);
    tcase_add_test(tests, a_failed_fsync_of_what_an_earlier_run_left_sets_it_aside_too);
    tcase_add_test(tests, a_full_disk_at_the_start_leaves_nothing_in_the_way);
    tcase_add_test(tests, a_file_system_that_cannot_reserve_is_good_enough);
    tcase_add_test(tests, a_partial_larger_than_a_segment_is_refused);
    tcase_add_test(tests, a_damaged_segment_is_replaced_only_by_a_whole_one_and_kept);
    return suite_run("wal_partial", tests);
}
