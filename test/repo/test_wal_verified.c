#include "repo/repository.h"

#include "repo/wal_verified_internal.h"

static struct wal_verified verified;
static struct error err;

static void make(void)
{
    repository_make();
    verified.count = 0;
}

static void set(uint32_t timeline, uint64_t first, uint64_t end, int64_t at)
{
    wal_verified_set(&verified, &(struct wal_verified_range){{timeline}, first, end, {at}});
}

static int64_t at(uint32_t timeline, uint64_t number)
{
    return wal_verified_at(&verified, segment_of(timeline, number)).microseconds;
}

START_TEST(stretches_of_one_time_are_joined_and_others_are_not)
{
    set(1, 3, 5, 100);
    set(1, 7, 9, 100);
    set(1, 5, 7, 100);
    ck_assert_uint_eq(verified.count, 1);
    set(1, 9, 10, 101);
    set(2, 10, 12, 101);
    ck_assert_uint_eq(verified.count, 3);
    ck_assert_int_eq(at(1, 2), 0);
    ck_assert_int_eq(at(1, 8), 100);
    ck_assert_int_eq(at(1, 9), 101);
    ck_assert_int_eq(at(1, 10), 0);
    ck_assert_int_eq(at(2, 11), 101);
}
END_TEST

START_TEST(what_is_verified_again_is_cut_out_of_what_was)
{
    set(1, 0, 10, 100);
    set(1, 4, 6, 200);
    ck_assert_uint_eq(verified.count, 3);
    ck_assert_int_eq(at(1, 3), 100);
    ck_assert_int_eq(at(1, 4), 200);
    ck_assert_int_eq(at(1, 6), 100);
    set(1, 3, 5, 0);
    ck_assert_int_eq(at(1, 3), 0);
    ck_assert_int_eq(at(1, 4), 0);
    ck_assert_int_eq(at(1, 5), 200);
    set(1, 0, 20, 300);
    ck_assert_uint_eq(verified.count, 1);
}
END_TEST

/* The same as an array of times, one for each segment; with more stretches than fit a time may only be too old. */
START_TEST(it_never_tells_more_than_was_verified)
{
    enum { SEGMENTS = 3000 };
    static int64_t truth[SEGMENTS];
    uint32_t seed = 1;

    for (int round = 0; round < 4000; round++) {
        seed = seed * 1664525 + 1013904223;
        uint64_t first = (seed >> 8) % SEGMENTS, end = first + 1 + (seed >> 4) % 4;
        int64_t time = round % 5 == 0 ? 0 : 1 + round;
        if (end > SEGMENTS)
            end = SEGMENTS;
        set(1, first, end, time);
        for (uint64_t i = first; i < end; i++)
            truth[i] = time;
        ck_assert_uint_le(verified.count, WAL_VERIFIED_MOST);
    }
    for (uint64_t i = 0; i < SEGMENTS; i++)
        ck_assert_int_le(at(1, i), truth[i]);
    ck_assert_uint_gt(verified.count, WAL_VERIFIED_MOST / 2);
}
END_TEST

START_TEST(it_is_written_and_read_and_a_full_one_fits)
{
    struct wal_verified_range range = {{1}, 7, 9, {INT64_C(1795311000123456)}};
    struct wal_verified *read SCOPED(scoped_free) = memory_new(sizeof *read);

    MUST(wal_verified_read(&archive, read, &err));
    ck_assert_uint_eq(read->count, 0);
    for (int i = 0; i < WAL_VERIFIED_MOST; i++) {
        range.timeline.value = UINT32_MAX - (uint32_t)i;
        range.first = UINT64_C(0xFFFFFFFF000) - 2;
        range.end = range.first + 2;
        wal_verified_set(&verified, &range);
    }
    ck_assert_uint_eq(verified.count, WAL_VERIFIED_MOST);
    json_t *document SCOPED(scoped_json) = wal_verified_to_json(&verified, archive.segment_size);
    ck_assert_uint_lt(json_dumpb(document, NULL, 0, JSON_COMPACT), WAL_VERIFIED_MOST_BYTES);
    range = (struct wal_verified_range){{1}, 7, 9, {INT64_C(1795311000123456)}};
    MUST(wal_verified_record(&archive, &range, &err));
    range.first = 9;
    range.end = 10;
    MUST(wal_verified_record(&archive, &range, &err));
    MUST(wal_verified_read(&archive, read, &err));
    ck_assert_uint_eq(read->count, 1);
    ck_assert_uint_eq(read->ranges[0].end, 10);
}
END_TEST

START_TEST(a_broken_one_tells_nothing_and_is_begun_anew)
{
    struct wal_verified_range range = {{1}, 7, 9, {INT64_C(1795311000123456)}};
    struct wal_verified *read SCOPED(scoped_free) = memory_new(sizeof *read);

    MUST(wal_verified_record(&archive, &range, &err));
    struct buffer bytes = repository_get("wal/verified.json");
    for (size_t i = 0; i < bytes.used; i++) {
        bytes.bytes[i] ^= 1;
        repository_put("wal/verified.json", bytes.bytes, bytes.used);
        ck_assert(!wal_verified_read(&archive, read, &err));
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert_uint_eq(read->count, 0);
        bytes.bytes[i] ^= 1;
    }
    buffer_done(&bytes);
    MUST(wal_verified_record(&archive, &range, &err));
    MUST(wal_verified_read(&archive, read, &err));
    ck_assert_uint_eq(read->count, 1);
}
END_TEST

START_TEST(a_file_written_since_or_a_time_to_come_counts_as_never)
{
    struct wal_file file = {segment_of(1, 7), WAL_FILE_COMPRESSED, 10, ONE_MB, {90}};

    set(1, 7, 8, 100);
    ck_assert_int_eq(wal_verified_file_at(&verified, &file, (struct timestamp){100}).microseconds, 100);
    ck_assert_int_eq(wal_verified_file_at(&verified, &file, (struct timestamp){99}).microseconds, 0);
    file.written_at.microseconds = 101;
    ck_assert_int_eq(wal_verified_file_at(&verified, &file, (struct timestamp){200}).microseconds, 0);
    file.written_at.microseconds = 90;
    file.state = WAL_FILE_RAW;
    ck_assert_int_eq(wal_verified_file_at(&verified, &file, (struct timestamp){200}).microseconds, 0);
}
END_TEST

int main(void)
{
    TCase *group = tcase_create("verified");

    tcase_add_checked_fixture(group, make, repository_remove);
    tcase_add_test(group, stretches_of_one_time_are_joined_and_others_are_not);
    tcase_add_test(group, what_is_verified_again_is_cut_out_of_what_was);
    tcase_add_test(group, it_never_tells_more_than_was_verified);
    tcase_add_test(group, it_is_written_and_read_and_a_full_one_fits);
    tcase_add_test(group, a_broken_one_tells_nothing_and_is_begun_anew);
    tcase_add_test(group, a_file_written_since_or_a_time_to_come_counts_as_never);
    return suite_run("wal verified", group);
}
