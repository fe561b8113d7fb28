#include "pgcoffer/base/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "support/scratch.h"
#include "support/suite.h"

static struct buffer read_back(const char *name)
{
    struct buffer bytes = BUFFER_WITH_LIMIT(1 << 20);
    struct error err;

    ck_assert_msg(file_read_whole(scratch_path(name), &bytes, &err), "%s", err.message);
    return bytes;
}

START_TEST(a_committed_file_has_every_byte_and_its_mode)
{
    static const size_t sizes[] = {0, 1, 7, 4096, 100000};
    static char data[100000];
    struct error err;

    memset(data, 'q', sizeof data);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ck_assert(atomic_file_put(scratch_path("file"), 0640, data, sizes[i], &err));
        struct buffer bytes = read_back("file");
        ck_assert_uint_eq(bytes.used, sizes[i]);
        if (sizes[i] > 0)
            ck_assert_mem_eq(bytes.bytes, data, sizes[i]);
        buffer_done(&bytes);

        struct stat status;
        ck_assert_int_eq(stat(scratch_path("file"), &status), 0);
        ck_assert_uint_eq(status.st_mode & 07777, 0640);
        ck_assert_int_eq(scratch_count_entries(), 1);
    }
}
END_TEST

START_TEST(an_unfinished_file_leaves_nothing_behind)
{
    struct error err;
    struct atomic_file *file = atomic_file_open(scratch_path("file"), 0600, &err);

    ck_assert_ptr_nonnull(file);
    ck_assert(atomic_file_write(file, "half", 4, &err));
    ck_assert_int_ge(atomic_file_descriptor(file), 0);
    ck_assert_int_eq(scratch_count_entries(), 1);
    atomic_file_free(file);
    ck_assert_int_eq(scratch_count_entries(), 0);
    atomic_file_free(NULL);
}
END_TEST

START_TEST(the_old_file_stays_until_the_commit)
{
    struct error err;

    ck_assert(atomic_file_put(scratch_path("file"), 0600, "old", 3, &err));
    struct atomic_file *file = atomic_file_open(scratch_path("file"), 0600, &err);
    ck_assert(atomic_file_write(file, "newer", 5, &err));
    struct buffer bytes = read_back("file");
    ck_assert_mem_eq(bytes.bytes, "old", 3);
    buffer_done(&bytes);
    ck_assert(atomic_file_commit(file, &err));
    atomic_file_free(file);
    bytes = read_back("file");
    ck_assert_uint_eq(bytes.used, 5);
    buffer_done(&bytes);
}
END_TEST

START_TEST(a_leftover_of_a_killed_process_is_overwritten)
{
    struct error err;

    FILE *leftover = fopen(scratch_path("file.tmp"), "w");
    fputs("a long leftover", leftover);
    fclose(leftover);
    chmod(scratch_path("file.tmp"), 0666);
    ck_assert(atomic_file_put(scratch_path("file"), 0600, "x", 1, &err));
    struct buffer bytes = read_back("file");
    ck_assert_uint_eq(bytes.used, 1);
    buffer_done(&bytes);
    struct stat status;
    ck_assert_int_eq(stat(scratch_path("file"), &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
}
END_TEST

START_TEST(failures_name_the_file_and_the_cause)
{
    struct error err;

    ck_assert_ptr_null(atomic_file_open(scratch_path("missing/file"), 0600, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "/missing/file.tmp\": No such file or directory"));
    ck_assert_int_eq(err.kind, ERROR_STORAGE);

    ck_assert_int_eq(mkdir(scratch_path("folder"), 0700), 0);
    ck_assert(!atomic_file_put(scratch_path("folder"), 0600, "x", 1, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "could not rename"));
    ck_assert_int_eq(scratch_count_entries(), 1);
}
END_TEST

START_TEST(a_full_disk_is_told_with_a_hint)
{
    struct error err;

    int fd = open("/dev/full", O_WRONLY);
    if (fd < 0)
        return;
    ck_assert(!file_write_all(fd, "x", 1, "/dev/full", &err));
    ck_assert_int_eq(err.errnum, ENOSPC);
    ck_assert_str_eq(err.hint, "Make room on the file system that holds /dev/full.");
    close(fd);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("atomic_file");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, a_committed_file_has_every_byte_and_its_mode);
    tcase_add_test(tests, an_unfinished_file_leaves_nothing_behind);
    tcase_add_test(tests, the_old_file_stays_until_the_commit);
    tcase_add_test(tests, a_leftover_of_a_killed_process_is_overwritten);
    tcase_add_test(tests, failures_name_the_file_and_the_cause);
    tcase_add_test(tests, a_full_disk_is_told_with_a_hint);
    return suite_run("atomic_file", tests);
}
