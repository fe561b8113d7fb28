#include "repo/repository.h"

#include "pgcoffer/repo/wal_complete.h"

static const struct timeline one = {1}, two = {2};
static struct error err;

static void make(void)
{
    struct wal_partial *partial = NULL;

    repository_make();
    MUST(wal_partial_open(&archive, (struct wal_segment){one, 3}, &partial, &err));
    wal_partial_free(partial);
}

static void note(uint64_t position, int64_t seconds)
{
    MUST(wal_complete_write(&archive, one, &(struct wal_complete){{position}, {seconds * 1000000}}, &err));
}

START_TEST(what_was_noted_last_is_known)
{
    ck_assert_int_eq(wal_complete_read(&archive, one).at.microseconds, 0);
    note(0x300010, 1000);
    note(0x300020, 900); /* the server's clock was set back */
    struct wal_complete complete = wal_complete_read(&archive, one);
    ck_assert_uint_eq(complete.position.value, 0x300020);
    ck_assert_int_eq(complete.at.microseconds, INT64_C(900000000));
    ck_assert_int_eq(wal_complete_read(&archive, two).at.microseconds, 0);
}
END_TEST

/* A time that is too late would let a recovery end without what was committed by then. */
START_TEST(every_flipped_bit_makes_it_unknown)
{
    char bytes[256];

    note(0x300010, 1000);
    int fd = open(repository_path("wal/00000001/complete.json"), O_RDWR);
    ssize_t size = pread(fd, bytes, sizeof bytes, 0);
    ck_assert_int_gt(size, 60);
    for (ssize_t i = 0; i < size * 8; i++) {
        char flipped = (char)(bytes[i / 8] ^ (1 << (i % 8)));
        ck_assert_int_eq(pwrite(fd, &flipped, 1, i / 8), 1);
        ck_assert_msg(wal_complete_read(&archive, one).at.microseconds == 0, "bit %zd", i);
        ck_assert_int_eq(pwrite(fd, bytes + i / 8, 1, i / 8), 1);
    }
    close(fd);
    ck_assert_int_eq(wal_complete_read(&archive, one).at.microseconds, INT64_C(1000000000));
}
END_TEST

START_TEST(that_of_another_timeline_counts_for_nothing)
{
    note(0x300010, 1000);
    ck_assert_int_eq(mkdir(repository_path("wal/00000002"), 0700), 0);
    ck_assert_int_eq(
        rename(repository_path("wal/00000001/complete.json"), repository_path("wal/00000002/complete.json")), 0);
    ck_assert_int_eq(wal_complete_read(&archive, two).at.microseconds, 0);
}
END_TEST

START_TEST(it_is_no_segment_and_a_start_keeps_it)
{
    struct wal_segment *raw = NULL;
    struct wal_files files;
    size_t count = 0;

    note(0x300010, 1000);
    repository_put("wal/00000001/complete.json.tmp", "x", 1);
    MUST(wal_archive_recover(&archive, &raw, &count, &err));
    free(raw);
    MUST(wal_archive_list(&archive, &files, &err));
    ck_assert_uint_eq(files.count, 1);
    wal_files_done(&files);
    ck_assert(!repository_has("wal/00000001/complete.json.tmp"));
    ck_assert_int_eq(wal_complete_read(&archive, one).at.microseconds, INT64_C(1000000000));
}
END_TEST

int main(void)
{
    TCase *group = tcase_create("complete");

    tcase_add_checked_fixture(group, make, repository_remove);
    tcase_add_test(group, what_was_noted_last_is_known);
    tcase_add_test(group, every_flipped_bit_makes_it_unknown);
    tcase_add_test(group, that_of_another_timeline_counts_for_nothing);
    tcase_add_test(group, it_is_no_segment_and_a_start_keeps_it);
    return suite_run("wal complete", group);
}
