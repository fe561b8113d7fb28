#include <dlfcn.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <zstd.h>

#include "repo/repository.h"

#include "jobs/receive/compressor_internal.h"

#define MORE_THAN_WAIT 65537

static bool is_disk_full;
static time_t seconds_passed; /* faster than they pass */

int rename(const char *from, const char *to)
{
    if (is_disk_full) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_rename, from, to);
}

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    int result = (int)syscall(SYS_clock_gettime, clock, ret_time);

    ret_time->tv_sec += seconds_passed;
    return result;
}

static int levels[64];
static size_t level_count;

size_t ZSTD_CCtx_setParameter(ZSTD_CCtx *context, ZSTD_cParameter parameter, int value)
{
    static size_t (*real)(ZSTD_CCtx *, ZSTD_cParameter, int);

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "ZSTD_CCtx_setParameter");
    if (parameter == ZSTD_c_compressionLevel && level_count < 64)
        levels[level_count++] = value;
    return real(context, parameter, value);
}

static struct receive_compressor *compressor;

static void compressor_make(void)
{
    struct error err;

    is_disk_full = false;
    seconds_passed = 0;
    level_count = 0;
    repository_make();
    MUST(receive_compressor_new(&archive, 3, &compressor, &err));
}

static void compressor_remove(void)
{
    receive_compressor_free(compressor);
    repository_remove();
}

/* Until nothing is under way; how many turns told of a failure, the last of them in *err. */
static int work_off(struct error *err)
{
    int failures = receive_compressor_turn(compressor, err) ? 0 : 1;

    while (receive_compressor_is_working(compressor)) {
        struct pollfd done = {.fd = receive_compressor_descriptor(compressor), .events = POLLIN};
        ck_assert_int_eq(poll(&done, 1, 10000), 1);
        if (!receive_compressor_turn(compressor, err))
            failures++;
    }
    return failures;
}

START_TEST(finished_segments_are_compressed_one_after_the_other)
{
    struct error err;

    for (uint64_t number = 3; number < 9; number++) {
        hold_segment(1, number);
        receive_compressor_add(compressor, segment_of(1, number));
    }
    ck_assert_int_eq(work_off(&err), 0);
    for (uint64_t number = 3; number < 9; number++)
        assert_holds(1, number, WAL_FILE_COMPRESSED);
    ck_assert_int_eq(receive_compressor_due(compressor), INT64_MAX);
}
END_TEST

START_TEST(a_receiver_that_catches_up_compresses_in_haste_until_it_has_caught_up)
{
    struct error err;

    for (uint64_t number = 3; number < 10; number++) {
        hold_segment(1, number);
        receive_compressor_add(compressor, segment_of(1, number));
    }
    ck_assert_int_eq(work_off(&err), 0);
    ck_assert_uint_eq(level_count, 7);
    for (size_t i = 0; i < level_count; i++)
        ck_assert_int_eq(levels[i], 1);
    hold_segment(1, 10);
    receive_compressor_add(compressor, segment_of(1, 10));
    ck_assert_int_eq(work_off(&err), 0);
    ck_assert_int_eq(levels[7], 3);
}
END_TEST

/* In two threads, each with runs of segments; twice in the list, or damaged, changes nothing for the others. */
START_TEST(of_many_segments_each_is_compressed_and_noted_once)
{
    struct error err;

    for (uint64_t number = 3; number < 43; number++) {
        hold_segment(1, number);
        receive_compressor_add(compressor, segment_of(1, number));
        receive_compressor_add(compressor, segment_of(1, number));
    }
    ck_assert_int_eq(truncate(repository_path("wal/00000001/00000000/000000010000000000000007"), 4096), 0);
    ck_assert_int_eq(work_off(&err), 2);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert(!repository_has("wal/00000001/00000000/000000010000000000000007.zst"));
    ck_assert_uint_eq(level_count, 39);
    ck_assert_int_eq(levels[0], -1);
    for (uint64_t number = 3; number < 43; number++)
        if (number != 7)
            assert_holds(1, number, WAL_FILE_COMPRESSED);
}
END_TEST

START_TEST(a_segment_added_twice_is_no_failure)
{
    struct error err;

    hold_segment(1, 3);
    receive_compressor_add(compressor, segment_of(1, 3));
    receive_compressor_add(compressor, segment_of(1, 3));
    ck_assert_int_eq(work_off(&err), 0);
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
}
END_TEST

START_TEST(many_segments_may_wait)
{
    struct error err;

    for (uint64_t number = 0; number < 200; number++)
        receive_compressor_add(compressor, segment_of(1, 3));
    hold_segment(1, 3);
    ck_assert_int_eq(work_off(&err), 0);
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
}
END_TEST

START_TEST(a_full_disk_leaves_the_segment_raw_and_is_tried_again_later)
{
    struct error err;

    hold_segment(1, 3);
    receive_compressor_add(compressor, segment_of(1, 3));
    is_disk_full = true;
    ck_assert_int_eq(work_off(&err), 1);
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    assert_holds(1, 3, WAL_FILE_RAW);
    ck_assert_int_ne(receive_compressor_due(compressor), INT64_MAX);
    ck_assert(receive_compressor_turn(compressor, &err));
    ck_assert_msg(!receive_compressor_is_working(compressor), "tried again at once");
}
END_TEST

START_TEST(a_damaged_segment_is_told_once_and_stays_as_it_is)
{
    struct error err;

    hold_segment(1, 3);
    ck_assert_int_eq(truncate(repository_path("wal/00000001/00000000/000000010000000000000003"), 4096), 0);
    receive_compressor_add(compressor, segment_of(1, 3));
    ck_assert_int_eq(work_off(&err), 1);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_int_eq(receive_compressor_due(compressor), INT64_MAX);
    ck_assert(repository_has("wal/00000001/00000000/000000010000000000000003"));
    ck_assert(!repository_has("wal/00000001/00000000/000000010000000000000003.zst"));
}
END_TEST

START_TEST(segments_left_out_are_found_although_the_first_listing_fails)
{
    struct error err;

    hold_segment(1, 3);
    hold_segment(1, 4);
    for (unsigned i = 1; i < MORE_THAN_WAIT; i++)
        receive_compressor_add(compressor, segment_of(1, 3));
    receive_compressor_add(compressor, segment_of(1, 4));
    repository_put("wal/00000002", "no folder", 9);
    ck_assert_int_eq(work_off(&err), 1);
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
    assert_holds(1, 4, WAL_FILE_RAW);
    ck_assert_int_ne(receive_compressor_due(compressor), INT64_MAX);
    seconds_passed += 60;
    ck_assert_msg(receive_compressor_turn(compressor, &err), "the same fault is told twice");
    ck_assert_int_eq(unlink(repository_path("wal/00000002")), 0);
    ck_assert_int_eq(work_off(&err), 0);
    assert_holds(1, 4, WAL_FILE_RAW); /* it is not time yet */
    seconds_passed += 60;
    ck_assert_int_eq(work_off(&err), 0);
    assert_holds(1, 4, WAL_FILE_COMPRESSED);
    ck_assert_int_eq(receive_compressor_due(compressor), INT64_MAX);
}
END_TEST

/* ---- room ---- */

static uint64_t budget;
static unsigned asked, stored;

static uint64_t tell_budget(void *context)
{
    (void)context;
    asked++;
    return budget;
}

static void count_stored(void *context, struct wal_segment segment)
{
    (void)context;
    ck_assert_uint_ge(segment.number, 3);
    stored++;
}

static void watch(uint64_t bytes)
{
    const struct receive_compressor_watch room = {.budget = tell_budget, .stored = count_stored};

    budget = bytes;
    asked = stored = 0;
    receive_compressor_watch(compressor, &room);
}

START_TEST(without_room_compression_is_put_off_and_not_told_as_a_fault)
{
    struct error err;

    hold_segment(1, 3);
    receive_compressor_add(compressor, segment_of(1, 3));
    watch(0);
    ck_assert_int_eq(work_off(&err), 0);
    assert_holds(1, 3, WAL_FILE_RAW);
    ck_assert_int_ne(receive_compressor_due(compressor), INT64_MAX);
    ck_assert(receive_compressor_turn(compressor, &err));
    ck_assert_uint_eq(asked, 1); /* not before it is due */
    seconds_passed += 60;
    budget = 2 * ONE_MB;
    ck_assert_int_eq(work_off(&err), 0);
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
    ck_assert_uint_eq(stored, 1);
}
END_TEST

START_TEST(a_temporary_file_that_grows_beyond_its_room_is_given_up)
{
    struct error err;

    hold_segment(1, 3);
    receive_compressor_add(compressor, segment_of(1, 3));
    watch(ONE_MB / 4);
    ck_assert_int_eq(work_off(&err), 1);
    ck_assert_int_eq(err.errnum, ENOSPC);
    ck_assert_ptr_nonnull(strstr(err.message, "needs more than the 262144 bytes there is room for"));
    assert_holds(1, 3, WAL_FILE_RAW);
    ck_assert(!repository_has("wal/00000001/00000000/000000010000000000000003.zst.tmp"));
    ck_assert_uint_eq(receive_compressor_unfinished_bytes(compressor), 0);
    ck_assert_uint_eq(stored, 0);
}
END_TEST

START_TEST(what_did_not_fit_waits_for_more_room_and_the_others_get_their_try)
{
    struct error err;
    uint8_t *zeros SCOPED(scoped_free) = memory_new(ONE_MB);

    hold_segment(1, 3);
    hold_segment(1, 4);
    repository_put("wal/00000001/00000000/000000010000000000000005", zeros, ONE_MB); /* this one fits */
    for (uint64_t number = 3; number <= 5; number++)
        receive_compressor_add(compressor, segment_of(1, number));
    watch(ONE_MB / 4);
    for (int i = 0; i < 3; i++) {
        (void)work_off(&err);
        seconds_passed += 60;
    }
    ck_assert(repository_has("wal/00000001/00000000/000000010000000000000005.zst"));
    for (int i = 0; i < 5; i++) {
        (void)work_off(&err);
        seconds_passed += 60;
    }
    assert_holds(1, 3, WAL_FILE_RAW);
    asked = 0;
    ck_assert_int_eq(work_off(&err), 0);
    ck_assert_uint_eq(asked, 1);
    seconds_passed += 60;
    budget = ONE_MB;
    ck_assert_int_eq(work_off(&err), 0);
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
    assert_holds(1, 4, WAL_FILE_COMPRESSED);
    ck_assert_uint_eq(stored, 3);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive compressor");

    tcase_add_checked_fixture(tests, compressor_make, compressor_remove);
    tcase_add_test(tests, finished_segments_are_compressed_one_after_the_other);
    tcase_add_test(tests, a_receiver_that_catches_up_compresses_in_haste_until_it_has_caught_up);
    tcase_add_test(tests, of_many_segments_each_is_compressed_and_noted_once);
    tcase_add_test(tests, a_segment_added_twice_is_no_failure);
    tcase_add_test(tests, many_segments_may_wait);
    tcase_add_test(tests, a_full_disk_leaves_the_segment_raw_and_is_tried_again_later);
    tcase_add_test(tests, a_damaged_segment_is_told_once_and_stays_as_it_is);
    tcase_add_test(tests, segments_left_out_are_found_although_the_first_listing_fails);
    tcase_add_test(tests, without_room_compression_is_put_off_and_not_told_as_a_fault);
    tcase_add_test(tests, a_temporary_file_that_grows_beyond_its_room_is_given_up);
    tcase_add_test(tests, what_did_not_fit_waits_for_more_room_and_the_others_get_their_try);
    return suite_run("receive_compressor", tests);
}
