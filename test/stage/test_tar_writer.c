#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/tar_writer.h"
#include "support/scratch.h"
#include "support/suite.h"

static struct error err;

static struct tar_writer *open_writer(int fd, bool is_compressed)
{
    const struct tar_writer_options options = {
        .fd = fd, .name = "out.tar", .is_compressed = is_compressed, .level = 3, .mtime = {INT64_C(1795305997000000)}};
    struct tar_writer *writer = NULL;

    ck_assert_msg(tar_writer_new(&options, &writer, &err), "%s", err.message);
    return writer;
}

static int open_file(void)
{
    int fd = open(scratch_path("out.tar"), O_RDWR | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    return fd;
}

#define BIG_SIZE ((size_t)3 * 65536 + 7)

/* 99, 100 and more bytes: as many as fit, and one that does not. */
static const char *long_name(int number)
{
    static char names[2][400];

    memset(names[number], 'n', number == 0 ? 99 : 300);
    return names[number];
}

static void write_all(struct tar_writer *writer, size_t piece)
{
    char *big = memory_new(BIG_SIZE);

    memset(big, 'b', BIG_SIZE);
    ck_assert(tar_writer_folder(writer, "pg_wal", 0700, &err));
    ck_assert(tar_writer_file(writer, "pg_wal/empty", 0600, 0, &err));
    ck_assert(tar_writer_file(writer, "raw \xff name", 0640, BIG_SIZE, &err));
    for (size_t at = 0; at < BIG_SIZE; at += piece)
        ck_assert(tar_writer_data(writer, big + at, BIG_SIZE - at < piece ? BIG_SIZE - at : piece, &err));
    ck_assert(tar_writer_folder(writer, long_name(0), 0700, &err));
    ck_assert(tar_writer_file(writer, long_name(1), 0600, 1, &err) && tar_writer_data(writer, "x", 1, &err));
    ck_assert_msg(tar_writer_finish(writer, &err), "%s", err.message);
    free(big);
}

static void expect(struct archive *reader, const char *path, mode_t type, mode_t mode, la_int64_t size)
{
    struct archive_entry *entry;

    ck_assert_int_eq(archive_read_next_header(reader, &entry), ARCHIVE_OK);
    ck_assert_str_eq(archive_entry_pathname(entry), path);
    ck_assert_uint_eq(archive_entry_filetype(entry), type);
    ck_assert_uint_eq(archive_entry_perm(entry), mode);
    ck_assert_int_eq(archive_entry_size(entry), size);
    ck_assert_int_eq(archive_entry_mtime(entry), 1795305997);
    ck_assert_str_eq(archive_entry_uname(entry), "postgres");
}

START_TEST(what_is_written_is_read_by_others)
{
    static const size_t pieces[] = {1, 7, 4096, BIG_SIZE};
    int fd = open_file();
    struct tar_writer *writer = open_writer(fd, _i >= 4);
    struct archive *reader = archive_read_new();

    write_all(writer, pieces[_i % 4]);
    tar_writer_free(writer);
    close(fd);
    archive_read_support_format_tar(reader);
    archive_read_support_filter_zstd(reader);
    ck_assert_int_eq(archive_read_open_filename(reader, scratch_path("out.tar"), 65536), ARCHIVE_OK);
    expect(reader, "pg_wal/", AE_IFDIR, 0700, 0);
    expect(reader, "pg_wal/empty", AE_IFREG, 0600, 0);
    expect(reader, "raw \xff name", AE_IFREG, 0640, BIG_SIZE);
    char *folder SCOPED(scoped_free) = memory_text("%s/", long_name(0));
    expect(reader, folder, AE_IFDIR, 0700, 0);
    expect(reader, long_name(1), AE_IFREG, 0600, 1);
    struct archive_entry *entry;
    ck_assert_int_eq(archive_read_next_header(reader, &entry), ARCHIVE_EOF);
    archive_read_free(reader);
}
END_TEST

START_TEST(a_member_may_be_larger_than_octal_digits_tell)
{
    static const la_int64_t sizes[] = {(INT64_C(1) << 33) - 1, INT64_C(1) << 33, INT64_C(1) << 40};
    int fd = open_file();
    struct tar_writer *writer = open_writer(fd, false);
    struct archive *reader = archive_read_new();
    char *piece = memory_new(1 << 20);

    ck_assert(tar_writer_file(writer, "large", 0600, (uint64_t)sizes[_i], &err));
    ck_assert(tar_writer_data(writer, piece, 1 << 20, &err)); /* so that the header is written */
    tar_writer_free(writer);
    close(fd);
    free(piece);
    archive_read_support_format_tar(reader);
    ck_assert_int_eq(archive_read_open_filename(reader, scratch_path("out.tar"), 65536), ARCHIVE_OK);
    expect(reader, "large", AE_IFREG, 0600, sizes[_i]);
    archive_read_free(reader);
}
END_TEST

START_TEST(a_member_has_the_size_it_was_announced_with)
{
    int fd = open_file();
    struct tar_writer *writer = open_writer(fd, false);

    ck_assert(tar_writer_file(writer, "file", 0600, 3, &err));
    ck_assert(!tar_writer_data(writer, "four", 4, &err));
    ck_assert(tar_writer_data(writer, "tw", 2, &err));
    ck_assert(!tar_writer_finish(writer, &err) && !tar_writer_file(writer, "next", 0600, 0, &err));
    tar_writer_free(writer);
    close(fd);
}
END_TEST

START_TEST(a_full_disk_is_told_once_and_ends_it)
{
    int fd = open("/dev/full", O_WRONLY);
    struct tar_writer *writer = open_writer(fd, _i == 1);
    char bytes[4096] = {0};
    bool is_good = tar_writer_file(writer, "file", 0600, sizeof bytes * 64, &err);

    for (int i = 0; i < 64 && is_good; i++)
        is_good = tar_writer_data(writer, bytes, sizeof bytes, &err);
    is_good = is_good && tar_writer_finish(writer, &err); /* what is small stays in memory until then */
    ck_assert(!is_good);
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    ck_assert_ptr_nonnull(strstr(err.message, "out.tar"));
    tar_writer_free(writer);
    close(fd);
}
END_TEST

START_TEST(an_unfinished_one_has_no_end_mark)
{
    int fd = open_file();
    struct tar_writer *writer = open_writer(fd, false);
    char bytes[70000] = {0};

    ck_assert(tar_writer_file(writer, "file", 0600, sizeof bytes, &err));
    ck_assert(tar_writer_data(writer, bytes, sizeof bytes, &err));
    tar_writer_free(writer);
    ck_assert_int_lt(lseek(fd, 0, SEEK_END), (off_t)sizeof bytes);
    close(fd);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("tar_writer");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_loop_test(tests, what_is_written_is_read_by_others, 0, 8);
    tcase_add_loop_test(tests, a_member_may_be_larger_than_octal_digits_tell, 0, 3);
    tcase_add_test(tests, a_member_has_the_size_it_was_announced_with);
    tcase_add_loop_test(tests, a_full_disk_is_told_once_and_ends_it, 0, 2);
    tcase_add_test(tests, an_unfinished_one_has_no_end_mark);
    return suite_run("tar_writer", tests);
}
