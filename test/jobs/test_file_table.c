#include <stdio.h>
#include <string.h>

#include "jobs/file_table_internal.h"
#include "support/suite.h"

#define SHA512_A                                                                                                       \
    "a0000000000000000000000000000000b0000000000000000000000000000000"                                                 \
    "c0000000000000000000000000000000d0000000000000000000000000000000"

static struct file_table *table;
static struct error err;

static void make(void)
{
    table = file_table_new();
}

static void drop(void)
{
    file_table_free(table);
}

START_TEST(what_passed_and_what_the_manifest_says_agree)
{
    ck_assert(file_table_add(table, "PG_VERSION", 3, "8a744722", &err));
    ck_assert(file_table_add(table, "base/1/1259", 114688, "00ff00ff", &err));
    ck_assert(file_table_add(table, "empty", 0, "00000000", &err));
    ck_assert_uint_eq(file_table_unmatched(table), 3);
    ck_assert(file_table_match(table, "base/1/1259", 114688, "00ff00ff", &err));
    ck_assert(file_table_match(table, "empty", 0, "00000000", &err));
    ck_assert(file_table_match(table, "PG_VERSION", 3, "8A744722", &err)); /* digits, not letters */
    ck_assert_uint_eq(file_table_unmatched(table), 0);
}
END_TEST

START_TEST(a_missing_file_is_named)
{
    ck_assert(!file_table_match(table, "base/1/1259", 1, "00", &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_ptr_nonnull(strstr(err.message, "\"base/1/1259\" is in the server's manifest but not in the backup"));
}
END_TEST

START_TEST(another_size_is_told_with_both)
{
    ck_assert(file_table_add(table, "a", 10, "00", &err));
    ck_assert(!file_table_match(table, "a", 11, "00", &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_ptr_nonnull(strstr(err.message, "has 10 bytes, but 11"));
}
END_TEST

START_TEST(another_checksum_is_found)
{
    ck_assert(file_table_add(table, "a", 10, "8a744722", &err));
    ck_assert(!file_table_match(table, "a", 10, "8a744723", &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert(file_table_add(table, "long", 10, SHA512_A, &err));
    ck_assert(!file_table_match(table, "long", 10, "b" SHA512_A, &err));
    ck_assert(file_table_match(table, "long", 10, SHA512_A, &err));
}
END_TEST

START_TEST(the_same_path_never_counts_twice)
{
    ck_assert(file_table_add(table, "a", 10, "00", &err));
    ck_assert(!file_table_add(table, "a", 10, "00", &err));
    ck_assert(file_table_match(table, "a", 10, "00", &err));
    ck_assert(!file_table_match(table, "a", 10, "00", &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
}
END_TEST

START_TEST(what_the_manifest_does_not_name_can_be_found_by_its_path)
{
    ck_assert(file_table_add(table, "known", 1, "00", &err));
    ck_assert(file_table_add(table, "stranger", 1, "00", &err));
    ck_assert(file_table_match(table, "known", 1, "00", &err));
    ck_assert_uint_eq(file_table_unmatched(table), 1);
    ck_assert(file_table_is_unmatched(table, "stranger"));
    ck_assert(!file_table_is_unmatched(table, "known"));
    ck_assert(!file_table_is_unmatched(table, "absent"));
}
END_TEST

START_TEST(a_member_of_a_tablespace_has_the_manifests_path)
{
    char path[64];

    file_table_manifest_path(16389, "PG_15_202209061/5/16390", path, sizeof path);
    ck_assert_str_eq(path, "pg_tblspc/16389/PG_15_202209061/5/16390");
    file_table_manifest_path(0, "base/1/1259", path, sizeof path);
    ck_assert_str_eq(path, "base/1/1259");
}
END_TEST

/* Awkward counts: one, some, the fill limit, all that the promise is about. */
START_TEST(many_files_are_each_found_again)
{
    static const int counts[] = {1, 7, 819, 820, 4096, 200000};
    int count = counts[_i];
    char path[64];

    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "base/%d/%d", i % 17, i);
        ck_assert(file_table_add(table, path, (uint64_t)i, "8a744722", &err));
    }
    for (int i = count; i-- > 0;) {
        snprintf(path, sizeof path, "base/%d/%d", i % 17, i);
        ck_assert(file_table_match(table, path, (uint64_t)i, "8a744722", &err));
    }
    ck_assert_uint_eq(file_table_unmatched(table), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("file_table");

    tcase_add_checked_fixture(tests, make, drop);
    tcase_add_test(tests, what_passed_and_what_the_manifest_says_agree);
    tcase_add_test(tests, a_missing_file_is_named);
    tcase_add_test(tests, another_size_is_told_with_both);
    tcase_add_test(tests, another_checksum_is_found);
    tcase_add_test(tests, the_same_path_never_counts_twice);
    tcase_add_test(tests, what_the_manifest_does_not_name_can_be_found_by_its_path);
    tcase_add_test(tests, a_member_of_a_tablespace_has_the_manifests_path);
    tcase_add_loop_test(tests, many_files_are_each_found_again, 0, 6);
    return suite_run("file_table", tests);
}
