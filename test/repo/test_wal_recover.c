#include "repo/repository.h"
#include "wal/wal_builder.h"

/* Whole partials that a killed process left, with the WAL of a server around them. */

#define SEGMENT_4 "wal/00000001/00000000/000000010000000000000004"

static struct wal_builder wal;
static struct error err;

static void make(void)
{
    repository_make();
    builder_begin(&wal);
    builder_record(&wal, 500);
    for (int i = 0; i < 4; i++) {
        builder_fill(&wal, BUILDER_SEGMENT, 64);
        builder_record(&wal, 20000);
    }
}

static void drop(void)
{
    builder_end(&wal);
    repository_remove();
}

static void hold(uint64_t number, uint32_t size, bool is_finished)
{
    struct wal_partial *partial = NULL;

    MUST(wal_partial_open(&archive, segment_of(1, number), &partial, &err));
    MUST(wal_partial_write(partial, 0, wal.bytes + (number - 3) * ONE_MB, size, &err));
    MUST(wal_partial_sync(partial, &err));
    if (is_finished)
        MUST(wal_partial_finish(partial, &err));
    wal_partial_free(partial);
}

static struct wal_file recover(void)
{
    struct wal_segment *raw SCOPED(scoped_free) = NULL;
    struct wal_file file;
    size_t count = 0;
    bool is_waiting = false;

    MUST(wal_archive_recover(&archive, &raw, &count, &err));
    MUST(wal_archive_stat(&archive, segment_of(1, 4), &file, &err));
    for (size_t i = 0; i < count; i++)
        is_waiting = is_waiting || raw[i].number == 4;
    ck_assert_int_eq(is_waiting, file.state == WAL_FILE_RAW);
    return file;
}

START_TEST(a_whole_partial_between_others_is_finished)
{
    hold(3, ONE_MB, true);
    hold(4, ONE_MB, false);
    hold(5, 100000, false);
    ck_assert_int_eq(recover().state, WAL_FILE_RAW);
    ck_assert(!repository_has(SEGMENT_4 ".partial"));
}
END_TEST

START_TEST(one_that_was_to_replace_a_damaged_segment_is_finished)
{
    hold(3, ONE_MB, true);
    hold(4, ONE_MB, false);
    hold(5, ONE_MB, true);
    repository_put(SEGMENT_4 ".zst.suspect-1", "damage", 6);
    ck_assert_int_eq(recover().state, WAL_FILE_RAW);
}
END_TEST

START_TEST(the_newest_of_a_timeline_is_received_again)
{
    hold(3, ONE_MB, true);
    hold(4, ONE_MB, false);
    ck_assert_uint_eq(recover().held_bytes, ONE_MB - 1);
}
END_TEST

static void flip(uint32_t at)
{
    struct buffer bytes = repository_get(SEGMENT_4 ".partial");

    bytes.bytes[at] ^= 1;
    repository_put(SEGMENT_4 ".partial", bytes.bytes, bytes.used);
    buffer_done(&bytes);
}

START_TEST(one_that_is_not_sound_loses_its_last_byte)
{
    static const uint32_t places[] = {300, 60000, ONE_MB - 10};

    hold(3, ONE_MB, true);
    hold(5, 100000, false);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        hold(4, ONE_MB, false);
        flip(places[i]);
        ck_assert_uint_eq(recover().held_bytes, ONE_MB - 1);
        ck_assert_int_eq(unlink(repository_path(SEGMENT_4 ".partial")), 0);
    }
}
END_TEST

START_TEST(without_the_end_of_its_last_record_nothing_tells_that_it_is_sound)
{
    hold(3, ONE_MB, true);
    hold(4, ONE_MB, false);
    hold(6, 100000, false);
    ck_assert_uint_eq(recover().held_bytes, ONE_MB - 1);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wal_recover");

    tcase_add_checked_fixture(tests, make, drop);
    tcase_add_test(tests, a_whole_partial_between_others_is_finished);
    tcase_add_test(tests, one_that_was_to_replace_a_damaged_segment_is_finished);
    tcase_add_test(tests, the_newest_of_a_timeline_is_received_again);
    tcase_add_test(tests, one_that_is_not_sound_loses_its_last_byte);
    tcase_add_test(tests, without_the_end_of_its_last_record_nothing_tells_that_it_is_sound);
    return suite_run("wal_recover", tests);
}
