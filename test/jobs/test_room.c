#include "support/scratch.h"
#include "support/suite.h"

#include <errno.h>
#include <string.h>

#include "jobs/room_forecast_internal.h"

#define MB     ((uint64_t)1 << 20)
#define MINUTE INT64_C(60000000)
#define HOUR   (60 * MINUTE)

static const struct wal_segment_size sixteen = {16 << 20};
/* 2026-11-22T12:00:00Z, which begins ten minutes. */
static const struct timestamp noon = {INT64_C(1795348800) * 1000000};

static struct room room_of(uint64_t free_bytes)
{
    return (struct room){.free_bytes = free_bytes, .free_files = UINT64_MAX};
}

static struct timestamp before_noon(int64_t microseconds)
{
    return (struct timestamp){noon.microseconds - microseconds};
}

/* ---- decisions ---- */

START_TEST(a_segment_is_begun_only_when_it_can_be_compressed_and_finished_too)
{
    const struct {
        uint64_t free_bytes, unfinished;
        bool expected;
    } cases[] = {
        {0, 0, false},
        {16 * MB, 0, false},
        {room_for_segment(sixteen) - 1, 0, false},
        {room_for_segment(sixteen), 0, true},
        {room_for_segment(sixteen) - 5 * MB, 5 * MB, true}, /* written already by the compression under way */
        {room_for_segment(sixteen) - 5 * MB, 5 * MB - 1, false},
        {16 * MB, 400 * MB, false}, /* it never takes more than its own part */
        {room_for_segment(sixteen) - room_for_compression(sixteen), 400 * MB, true},
    };

    ck_assert_uint_ge(room_for_segment(sixteen), 33 * MB);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct room room = room_of(cases[i].free_bytes);
        ck_assert_msg(room_has_segment(&room, sixteen, cases[i].unfinished) == cases[i].expected, "case %zu", i);
    }
}
END_TEST

START_TEST(without_inodes_nothing_is_begun)
{
    struct room room = {.free_bytes = 1000 * MB, .free_files = ROOM_MARGIN_FILES - 1};

    ck_assert(!room_has_segment(&room, sixteen, 0));
    room.free_files = ROOM_MARGIN_FILES;
    ck_assert(room_has_segment(&room, sixteen, 0));
    ck_assert_uint_gt(room_budget(&room, sixteen), 0);
    room.free_files = 0;
    ck_assert_uint_eq(room_budget(&room, sixteen), 0);
}
END_TEST

START_TEST(compression_may_take_all_but_the_margin)
{
    const struct {
        uint64_t free_bytes, expected;
    } cases[] = {
        {0, 0},
        {ROOM_MARGIN_BYTES, 0},
        {ROOM_MARGIN_BYTES + 1, 0}, /* not worth a try */
        {ROOM_MARGIN_BYTES + MB / 4, MB / 4},
        {ROOM_MARGIN_BYTES + 5 * MB, 5 * MB},
        {room_for_segment(sixteen), 16 * MB + room_for_compression(sixteen)},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct room room = room_of(cases[i].free_bytes);
        ck_assert_uint_eq(room_budget(&room, sixteen), cases[i].expected);
    }
}
END_TEST

/* Whatever WAL comes: where a segment was begun, it is compressed, however badly, and so is the one before. */
START_TEST(what_was_begun_can_always_be_compressed)
{
    const struct wal_segment_size sizes[] = {{1 << 20}, {16 << 20}, {1 << 30}};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct room room = room_of(room_for_segment(sizes[i]));
        ck_assert(room_has_segment(&room, sizes[i], 0));
        room.free_bytes -= sizes[i].bytes;
        ck_assert_uint_ge(room_budget(&room, sizes[i]), room_for_compression(sizes[i]));
        ck_assert_uint_gt(room_for_compression(sizes[i]), sizes[i].bytes);
    }
}
END_TEST

START_TEST(a_backup_leaves_the_reserve_to_the_last_byte)
{
    struct room room = room_of(100);

    ck_assert(room_spares(&room, 100, 0));
    ck_assert(!room_spares(&room, 101, 0));
    ck_assert(room_spares(&room, 90, 10));
    ck_assert(!room_spares(&room, 90, 11));
    ck_assert(!room_spares(&room, 90, UINT64_MAX));
    ck_assert_msg(room_spares(&room, 0, 1000), "0 switches it off");
}
END_TEST

START_TEST(the_disk_is_named_by_its_mount_point)
{
    struct room_disk disk;
    struct room room;
    struct error err;

    room_find_disk("/proc/self/status", &disk);
    ck_assert_str_eq(disk.place, "/proc");
    ck_assert_ptr_nonnull(strstr(disk.name, "\"/proc\" (proc"));
    scratch_make();
    room_find_disk(scratch_directory, &disk);
    ck_assert_msg(strncmp(scratch_directory, disk.place, strlen(disk.place)) == 0, "%s", disk.place);
    ck_assert_msg(room_read(scratch_directory, &room, &err), "%s", err.message);
    ck_assert_uint_gt(room.free_bytes, 0);
    scratch_remove();
    room_find_disk("/no/such/place", &disk);
    ck_assert_str_eq(disk.place, "/no/such/place");
    ck_assert(!room_read("/no/such/place", &room, &err));
    ck_assert_int_eq(err.errnum, ENOENT);
    ck_assert(!room_is_short(&err));
}
END_TEST

/* ---- the rate ---- */

static struct room_rate rate;

/* `count` segments of so many bytes, the last one `ago` before noon, with so much time in between. */
static void add(size_t count, uint64_t bytes, int64_t between, int64_t ago)
{
    for (size_t i = 0; i < count; i++)
        room_rate_add(&rate, before_noon(ago + (int64_t)(count - 1 - i) * between), bytes);
}

static uint64_t hourly(void)
{
    struct room room = room_of(1000000 * MB);
    struct room_forecast forecast;

    room_forecast(&rate, &room, 0, noon, &forecast);
    return forecast.bytes_per_hour;
}

static void assert_near(uint64_t found, uint64_t expected)
{
    ck_assert_msg(found >= expected - expected / 50 && found <= expected + expected / 50, "%llu instead of %llu",
                  (unsigned long long)found, (unsigned long long)expected);
}

START_TEST(nothing_is_foretold_from_nothing)
{
    memset(&rate, 0, sizeof rate);
    ck_assert_uint_eq(hourly(), 0);
    add(1, 100 * MB, 0, HOUR);
    ck_assert_msg(hourly() == 0, "one segment: its bytes came before it");
    add(3, 100 * MB, 10 * MINUTE, 0);
    ck_assert_msg(hourly() == 0, "three more are too few");
    memset(&rate, 0, sizeof rate);
    add(50, 100 * MB, MINUTE / 10, 0);
    ck_assert_msg(hourly() == 0, "five minutes are too short");
}
END_TEST

START_TEST(the_rate_is_that_of_the_time_seen)
{
    memset(&rate, 0, sizeof rate);
    add(13, 5 * MB, 10 * MINUTE, 0);
    assert_near(hourly(), 30 * MB);
    memset(&rate, 0, sizeof rate);
    add(13, 5 * MB, 10 * MINUTE, 4 * HOUR);
    assert_near(hourly(), 10 * MB); /* nothing came in the last four of six hours */
}
END_TEST

START_TEST(what_is_older_than_a_day_does_not_count)
{
    memset(&rate, 0, sizeof rate);
    add(100, 500 * MB, MINUTE, 30 * HOUR);
    add(48, 4 * MB, 30 * MINUTE, 0);
    assert_near(hourly(), 8 * MB);
    memset(&rate, 0, sizeof rate);
    add(100, 500 * MB, MINUTE, 30 * HOUR);
    ck_assert_uint_eq(hourly(), 0);
}
END_TEST

START_TEST(the_order_of_the_segments_does_not_matter)
{
    memset(&rate, 0, sizeof rate);
    for (int64_t i = 0; i <= 12; i++) /* the newest first */
        room_rate_add(&rate, before_noon(i * 10 * MINUTE), 5 * MB);
    assert_near(hourly(), 30 * MB);
}
END_TEST

START_TEST(a_clock_that_was_wrong_does_no_harm)
{
    memset(&rate, 0, sizeof rate);
    room_rate_add(&rate, (struct timestamp){0}, 900 * MB);
    room_rate_add(&rate, (struct timestamp){-5}, 900 * MB);
    add(13, 5 * MB, 10 * MINUTE, 0);
    room_rate_add(&rate, before_noon(-5 * HOUR), 900 * MB);
    assert_near(hourly(), 30 * MB);
}
END_TEST

/* ---- the forecast ---- */

static void assert_hours(struct timestamp found, double hours)
{
    double difference = (double)(found.microseconds - noon.microseconds) / (double)HOUR - hours;

    ck_assert_msg(difference > -0.2 && difference < 0.2, "%f hours off", difference);
}

START_TEST(reserve_and_end_are_told_with_their_times)
{
    struct room room = room_of(601 * MB);
    struct room_forecast forecast;

    memset(&rate, 0, sizeof rate);
    add(13, 5 * MB, 10 * MINUTE, 0); /* 30 MB an hour */
    room_forecast(&rate, &room, 300 * MB, noon, &forecast);
    assert_hours(forecast.reserve_at, 10);
    assert_hours(forecast.full_at, 20);
    ck_assert(forecast.is_near);
    room = room_of(2000 * MB);
    room_forecast(&rate, &room, 300 * MB, noon, &forecast);
    assert_hours(forecast.reserve_at, 56.7);
    assert_hours(forecast.full_at, 66.6);
    ck_assert(!forecast.is_near);
    room_forecast(&rate, &room, 1300 * MB, noon, &forecast);
    ck_assert_msg(forecast.is_near, "the reserve is near, although the end is not");
    room_forecast(&rate, &room, 0, noon, &forecast);
    ck_assert_int_eq(forecast.reserve_at.microseconds, 0);
    room = room_of(UINT64_C(1) << 50);
    room_forecast(&rate, &room, 300 * MB, noon, &forecast);
    ck_assert_msg(forecast.full_at.microseconds == 0, "a date in millennia");
    ck_assert(!forecast.is_near);
}
END_TEST

START_TEST(a_load_that_has_just_begun_is_warned_of_by_the_last_hour)
{
    struct room room = room_of(4000 * MB);
    struct room_forecast forecast;

    memset(&rate, 0, sizeof rate);
    add(23, MB, HOUR, HOUR);
    add(60, 30 * MB, MINUTE, 0); /* 1800 MB in the last hour: full in two, and by the day's mean in two days */
    room_forecast(&rate, &room, 0, noon, &forecast);
    ck_assert(forecast.is_near);
    assert_near(forecast.bytes_per_hour, 1836 * MB);
    room = room_of(40000 * MB);
    room_forecast(&rate, &room, 0, noon, &forecast);
    ck_assert(!forecast.is_near);
    assert_near(forecast.bytes_per_hour, 1822 * MB / 23);
}
END_TEST

static bool warn(uint64_t free_bytes, uint64_t reserve, struct error *ret_warning)
{
    const struct room_disk disk = {.place = "/srv", .name = "\"/srv\" (/dev/sdb1, ext4)"};
    struct room room = room_of(free_bytes);
    struct room_forecast forecast;

    room_forecast(&rate, &room, reserve, noon, &forecast);
    return room_warning(&disk, &room, reserve, &forecast, "primary", ret_warning);
}

START_TEST(a_warning_names_disk_rate_and_moment)
{
    struct error warning;

    memset(&rate, 0, sizeof rate);
    ck_assert(!warn(1000 * MB, 256 * MB, &warning));
    ck_assert(warn(100 * MB, 256 * MB, &warning));
    ck_assert_str_eq(warning.message,
                     "the disk of the repository, \"/srv\" (/dev/sdb1, ext4), has 100 MB free, less than "
                     "wal_reserve (256 MB): no base backup is taken");
    ck_assert_str_eq(warning.detail, "");
    add(13, 5 * MB, 10 * MINUTE, 0);
    ck_assert(!warn(5000 * MB, 256 * MB, &warning));
    ck_assert(warn(556 * MB, 256 * MB, &warning));
    ck_assert_ptr_nonnull(strstr(warning.message, "(256 MB) free at 2026-11-22T22:"));
    ck_assert_ptr_nonnull(strstr(warning.detail, "556 MB are free, and WAL takes 3"));
    ck_assert_ptr_nonnull(strstr(warning.detail, " an hour: full at 2026-11-23T0"));
    ck_assert_ptr_nonnull(strstr(warning.hint, "df -h /srv"));
    ck_assert_ptr_nonnull(strstr(warning.hint, "pgcoffer delete primary BACKUP"));
    ck_assert(warn(301 * MB, 0, &warning));
    ck_assert_ptr_nonnull(strstr(warning.message, "will be full at 2026-11-22T2"));
    ck_assert_int_eq(warning.kind, ERROR_STORAGE);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("room");

    tcase_add_test(tests, a_segment_is_begun_only_when_it_can_be_compressed_and_finished_too);
    tcase_add_test(tests, without_inodes_nothing_is_begun);
    tcase_add_test(tests, compression_may_take_all_but_the_margin);
    tcase_add_test(tests, what_was_begun_can_always_be_compressed);
    tcase_add_test(tests, a_backup_leaves_the_reserve_to_the_last_byte);
    tcase_add_test(tests, the_disk_is_named_by_its_mount_point);
    tcase_add_test(tests, nothing_is_foretold_from_nothing);
    tcase_add_test(tests, the_rate_is_that_of_the_time_seen);
    tcase_add_test(tests, what_is_older_than_a_day_does_not_count);
    tcase_add_test(tests, the_order_of_the_segments_does_not_matter);
    tcase_add_test(tests, a_clock_that_was_wrong_does_no_harm);
    tcase_add_test(tests, reserve_and_end_are_told_with_their_times);
    tcase_add_test(tests, a_load_that_has_just_begun_is_warned_of_by_the_last_hour);
    tcase_add_test(tests, a_warning_names_disk_rate_and_moment);
    return suite_run("room", tests);
}
