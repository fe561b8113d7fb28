#include "pgcoffer/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "support/scratch.h"
#include "support/suite.h"

static void put(const char *name, const char *text)
{
    FILE *file = fopen(scratch_path(name), "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

START_TEST(bytes_land_at_their_offset_and_a_short_file_is_damage)
{
    struct error err;
    char got[8] = "";

    int fd = open(scratch_path("file"), O_RDWR | O_CREAT, 0600);
    ck_assert(file_write_all(fd, "abc", 3, "file", &err));
    ck_assert(file_write_all_at(fd, "Z", 1, 1, "file", &err));
    ck_assert(file_sync(fd, "file", &err));
    ck_assert(file_read_exactly_at(fd, got, 2, 1, "file", &err));
    ck_assert_mem_eq(got, "Zc", 2);
    ck_assert(!file_read_exactly_at(fd, got, 5, 1, "file", &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_str_eq(err.message, "\"file\" ends at byte 3, 3 bytes too early");
    close(fd);

    ck_assert(!file_read_exactly_at(fd, got, 1, 0, "file", &err));
    ck_assert(!file_write_all(fd, got, 1, "file", &err));
    ck_assert(!file_write_all_at(fd, got, 1, 0, "file", &err));
    ck_assert(!file_sync(fd, "file", &err));
    ck_assert_int_eq(err.errnum, EBADF);
}
END_TEST

START_TEST(a_whole_file_is_read_up_to_the_limit)
{
    struct error err;
    struct buffer bytes = BUFFER_WITH_LIMIT(3);

    put("three", "abc");
    put("four", "abcd");
    ck_assert(file_read_whole(scratch_path("three"), &bytes, &err));
    ck_assert_uint_eq(bytes.used, 3);
    buffer_done(&bytes);
    ck_assert(!file_read_whole(scratch_path("four"), &bytes, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "more than the allowed 3 bytes"));
    ck_assert(!file_read_whole(scratch_path("none"), &bytes, &err));
    ck_assert_int_eq(err.errnum, ENOENT);
    ck_assert(!file_read_whole(scratch_directory, &bytes, &err));
    ck_assert_int_eq(err.errnum, EISDIR);
    buffer_done(&bytes);
}
END_TEST

START_TEST(folders_are_made_with_their_parents_whatever_the_umask)
{
    struct error err;
    struct stat status;

    umask(0077);
    ck_assert(file_make_directories(scratch_path("a//b/c/"), 0750, &err));
    ck_assert(file_make_directories(scratch_path("a/b/c"), 0750, &err));
    ck_assert_int_eq(stat(scratch_path("a/b"), &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0750);

    put("file", "");
    ck_assert(!file_make_directories(scratch_path("file/sub"), 0700, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "/file\": Not a directory"));

    ck_assert_int_eq(chdir(scratch_directory), 0);
    ck_assert(file_make_directories("relative/one", 0700, &err));
    ck_assert_int_eq(stat(scratch_path("relative/one"), &status), 0);
}
END_TEST

START_TEST(a_tree_is_removed_and_what_links_point_at_stays)
{
    struct error err;

    put("outside", "stay");
    ck_assert(file_make_directories(scratch_path("tree/deep/er"), 0700, &err));
    put("tree/deep/file", "go");
    ck_assert_int_eq(mkdir(scratch_path("kept"), 0700), 0);
    put("kept/file", "stay");
    ck_assert_int_eq(symlink("../../kept", scratch_path("tree/deep/link")), 0);
    ck_assert_int_eq(symlink("../outside", scratch_path("tree/link")), 0);
    ck_assert(file_remove_tree(scratch_path("tree"), &err));
    ck_assert_int_eq(access(scratch_path("tree"), F_OK), -1);
    ck_assert_int_eq(access(scratch_path("outside"), F_OK), 0);
    ck_assert_int_eq(access(scratch_path("kept/file"), F_OK), 0);
    ck_assert(file_remove_tree(scratch_path("tree"), &err));
    ck_assert(file_remove_tree(scratch_path("outside"), &err));
    ck_assert_int_eq(access(scratch_path("outside"), F_OK), -1);
}
END_TEST

START_TEST(a_tree_of_endless_depth_is_refused)
{
    struct error err;

    ck_assert_int_eq(chdir(scratch_directory), 0);
    for (int i = 0; i < 70; i++) {
        ck_assert_int_eq(mkdir("d", 0700), 0);
        ck_assert_int_eq(chdir("d"), 0);
    }
    ck_assert(!file_remove_tree(scratch_path("d"), &err));
    ck_assert_ptr_nonnull(strstr(err.message, "nested too deeply"));
    ck_assert_int_eq(chdir(scratch_directory), 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(chdir("d"), 0);
    char rest[PATH_MAX];
    ck_assert_ptr_nonnull(getcwd(rest, sizeof rest));
    ck_assert(file_remove_tree(rest, &err));
}
END_TEST

START_TEST(a_rename_moves_between_folders)
{
    struct error err;

    put("file", "x");
    ck_assert(file_make_directories(scratch_path("folder"), 0700, &err));
    ck_assert(file_rename_durably(scratch_path("file"), scratch_path("folder/file"), &err));
    ck_assert(file_rename_durably(scratch_path("folder/file"), scratch_path("folder/other"), &err));
    ck_assert_int_eq(access(scratch_path("folder/other"), F_OK), 0);
    ck_assert(!file_rename_durably(scratch_path("file"), scratch_path("folder/file"), &err));
    ck_assert_int_eq(err.errnum, ENOENT);
    ck_assert(!file_sync_directory(scratch_path("nowhere"), &err));
    ck_assert_ptr_nonnull(strstr(err.message, "could not open directory"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("file");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, bytes_land_at_their_offset_and_a_short_file_is_damage);
    tcase_add_test(tests, a_whole_file_is_read_up_to_the_limit);
    tcase_add_test(tests, folders_are_made_with_their_parents_whatever_the_umask);
    tcase_add_test(tests, a_tree_is_removed_and_what_links_point_at_stays);
    tcase_add_test(tests, a_tree_of_endless_depth_is_refused);
    tcase_add_test(tests, a_rename_moves_between_folders);
    return suite_run("file", tests);
}
