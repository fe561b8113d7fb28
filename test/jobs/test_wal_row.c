#include "jobs/verify/wal_row_internal.h"

#include "repo/repository.h"
#include "wal/wal_builder.h"

/*
 * The archive holds what the builder wrote, from segment 3 on: raw, compressed or partial. Reading it tells how many
 * segments are damaged, and which one last.
 */
static struct wal_builder wal;
static struct history histories[2] = {{.timeline = {1}}, {.timeline = {2}}};
static struct history_entry fork_entry;
static char damaged[WAL_SEGMENT_NAME_SIZE];
static struct error err;
static unsigned segments_read;

static void begin(void)
{
    repository_make();
    builder_begin(&wal);
}

static void finish(void)
{
    builder_end(&wal);
    repository_remove();
}

static const char *name_of(uint32_t timeline, uint64_t number, const char *suffix)
{
    static char path[128];
    char name[WAL_SEGMENT_NAME_SIZE];

    wal_segment_format(segment_of(timeline, number), archive.segment_size, name);
    snprintf(path, sizeof path, "wal/%.8s/00000000/%s%s", name, name, suffix);
    return path;
}

static const uint8_t *bytes_of(uint64_t number)
{
    return wal.bytes + (number - wal.first_segment) * BUILDER_SEGMENT;
}

static void hold_raw(uint32_t timeline, uint64_t number)
{
    repository_put(name_of(timeline, number, ""), bytes_of(number), BUILDER_SEGMENT);
}

static void hold_compressed(uint32_t timeline, uint64_t number)
{
    hold_raw(timeline, number);
    MUST(wal_archive_compress(&archive, segment_of(timeline, number), 1, &err));
}

static void hold_last(uint32_t timeline)
{
    uint64_t number = wal.first_segment + wal.used / BUILDER_SEGMENT;

    repository_put(name_of(timeline, number, ".partial"), bytes_of(number), wal.used % BUILDER_SEGMENT);
}

static unsigned count_damaged(void)
{
    struct checked_wal checked = {.archive = archive, .histories = histories, .history_count = 2};
    struct wal_row row = {.wal = &checked};
    struct wal_files files;
    struct buffer bytes = BUFFER_WITH_LIMIT(BUILDER_SEGMENT);
    unsigned count = 0;

    segments_read = 0;
    MUST(wal_archive_list(&archive, &files, &err));
    for (size_t i = 0; i < files.count; i++) {
        struct wal_file file;
        MUST(wal_archive_read_segment(&archive, files.files[i].segment, &bytes, &file, &err));
        if (!wal_row_wants(&row, &file))
            continue;
        segments_read++;
        if (wal_row_read(&row, bytes.bytes, &file, &err))
            continue;
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        wal_segment_format(file.segment, archive.segment_size, damaged);
        count++;
    }
    wal_row_done(&row);
    wal_files_done(&files);
    buffer_done(&bytes);
    return count;
}

static void flip_raw(uint32_t timeline, uint64_t number, const char *suffix, size_t at)
{
    struct buffer bytes = repository_get(name_of(timeline, number, suffix));

    bytes.bytes[at] ^= 0x10;
    repository_put(name_of(timeline, number, suffix), bytes.bytes, bytes.used);
    buffer_done(&bytes);
}

static void assert_flip_is_found(uint32_t timeline, uint64_t number, const char *suffix, size_t at)
{
    flip_raw(timeline, number, suffix, at);
    ck_assert_msg(count_damaged() > 0, "byte %zu of segment %d", at, (int)number);
    ck_assert_msg(strstr(damaged, name_of(timeline, number, "") + 22) != NULL ||
                      strstr(err.message, name_of(timeline, number, "") + 22) != NULL,
                  "%s: %s", damaged, err.message);
    flip_raw(timeline, number, suffix, at);
    ck_assert_uint_eq(count_damaged(), 0);
}

/* Records cross every border of segments. */
static void build(unsigned segments)
{
    while (wal.used < segments * BUILDER_SEGMENT)
        builder_record(&wal, 70000);
    builder_record(&wal, 100);
}

START_TEST(a_raw_segment_between_compressed_ones_is_checked_to_its_last_byte)
{
    build(4);
    hold_compressed(1, 3);
    hold_compressed(1, 4);
    hold_raw(1, 5);
    hold_compressed(1, 6);
    ck_assert_uint_eq(count_damaged(), 0);
    ck_assert_uint_eq(segments_read, 2); /* it, and the one its last record ends in */
    assert_flip_is_found(1, 5, "", 100);
    assert_flip_is_found(1, 5, "", BUILDER_SEGMENT / 2);
    assert_flip_is_found(1, 5, "", BUILDER_SEGMENT - 1);
}
END_TEST

START_TEST(a_record_may_come_from_far_before)
{
    builder_record(&wal, 100);
    builder_record(&wal, 3 * BUILDER_SEGMENT);
    builder_record(&wal, 100);
    for (uint64_t number = 3; number < 6; number++)
        hold_compressed(1, number);
    hold_last(1);
    ck_assert_uint_eq(count_damaged(), 0);
    ck_assert_uint_eq(segments_read, 1);
    assert_flip_is_found(1, 6, ".partial", 1000);

    /* Without its beginning it cannot be checked, and that is told as a gap. */
    ck_assert_int_eq(unlink(repository_path(name_of(1, 4, ".zst"))), 0);
    flip_raw(1, 6, ".partial", 1000);
    ck_assert_uint_eq(count_damaged(), 0);
}
END_TEST

START_TEST(raw_segments_and_the_partial_one_are_one_row)
{
    build(3);
    hold_raw(1, 3);
    hold_raw(1, 4);
    hold_raw(1, 5);
    hold_last(1);
    ck_assert_uint_eq(count_damaged(), 0);
    assert_flip_is_found(1, 3, "", 5000);
    assert_flip_is_found(1, 4, "", BUILDER_SEGMENT - 8); /* within a record that ends in the next one */
    ck_assert_ptr_nonnull(
        strstr(err.message, "one of the segments 000000010000000000000004 to 000000010000000000000005 is damaged"));
    assert_flip_is_found(1, 6, ".partial", 60);
}
END_TEST

START_TEST(a_new_timeline_begins_in_a_record_of_the_old_one)
{
    build(1);
    uint64_t forked_at = builder_position(&wal);
    fork_entry = (struct history_entry){{1}, {forked_at}};
    histories[1].entries = &fork_entry;
    histories[1].entry_count = 1;
    wal.timeline = 2;
    builder_record(&wal, 100);
    hold_compressed(1, 3);
    hold_last(2);
    ck_assert_uint_eq(count_damaged(), 0);
    assert_flip_is_found(2, 4, ".partial", 60); /* in the record that began on timeline 1 */
    assert_flip_is_found(2, 4, ".partial", wal.used % BUILDER_SEGMENT - 20);
}
END_TEST

START_TEST(a_finished_segment_must_not_end_in_zeros)
{
    build(1);
    hold_raw(1, 3);
    hold_raw(1, 4);
    ck_assert_uint_eq(count_damaged(), 1);
    ck_assert_str_eq(damaged, "000000010000000000000004");
    ck_assert_str_eq(err.message, "the segment is finished, but its records end before it does");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wal_row");

    tcase_add_checked_fixture(tests, begin, finish);
    tcase_add_test(tests, a_raw_segment_between_compressed_ones_is_checked_to_its_last_byte);
    tcase_add_test(tests, a_record_may_come_from_far_before);
    tcase_add_test(tests, raw_segments_and_the_partial_one_are_one_row);
    tcase_add_test(tests, a_new_timeline_begins_in_a_record_of_the_old_one);
    tcase_add_test(tests, a_finished_segment_must_not_end_in_zeros);
    return suite_run("wal_row", tests);
}
