#include <string.h>

#include "stage/tar_harness.h"
#include "support/suite.h"

START_TEST(what_is_no_file_and_no_directory_is_refused_by_its_name)
{
    static const struct {
        char type;
        const char *words;
    } cases[] = {{'1', "hard link"}, {'2', "symbolic link"}, {'3', "neither"}, {'4', "neither"}, {'6', "neither"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        add_file(&copy, "before", "x");
        tar_add(&copy.tar, (struct tar_entry){.name = "bad\xff", .type = cases[i].type, .link = "before"});
        tar_end(&copy.tar);
        expect_refusal(&copy, "\"bad\\xff\"", cases[i].words);
    }
}
END_TEST

START_TEST(unsafe_names_are_refused)
{
    static const char *const names[] = {"/etc/passwd", "../up", "a/../b", "a/..",  "..",  "../",
                                        ".",           "./",    "././a",  "a//b",  "a//", "//",
                                        "/",           "./..",  "a/.",    "a/./b", ".//a"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        add_file(&copy, "before", "x");
        size_t length = strlen(names[i]);
        if (names[i][length - 1] == '/')
            add_directory(&copy, names[i]);
        else
            add_file(&copy, names[i], "x");
        tar_end(&copy.tar);
        expect_refusal(&copy, names[i], "unsafe name");
    }
}
END_TEST

START_TEST(a_name_longer_than_any_path_is_refused)
{
    struct copy copy SCOPED(copy_done) = COPY_NEW;
    char *name SCOPED(scoped_free) = memory_new(4097);

    memset(name, 'n', 4096);
    add_file(&copy, name, "x");
    tar_end(&copy.tar);
    expect_refusal(&copy, "nnn...\"", "unsafe name");
}
END_TEST

START_TEST(a_name_that_comes_twice_is_refused_in_any_spelling)
{
    static const char *const pairs[][2] = {{"a", "a"}, {"a", "./a"}, {"d/", "d"}, {"./d/", "d/"}};

    for (size_t i = 0; i < 4; i++) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        for (size_t k = 0; k < 2; k++)
            if (strchr(pairs[i][k], 'd') != NULL)
                add_directory(&copy, pairs[i][k]);
            else
                add_file(&copy, pairs[i][k], "x");
        tar_end(&copy.tar);
        expect_refusal(&copy, pairs[i][1], "its name came before");
    }
}
END_TEST

START_TEST(every_tar_that_ends_too_early_is_an_error)
{
    struct copy whole SCOPED(copy_done) = COPY_NEW;

    add_cluster(&whole);
    for (size_t size = 0; size < whole.tar.used; size += size % 512 < 2 || size % 512 == 511 ? 1 : 51) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        tar_append(&copy.tar, whole.tar.bytes, size);
        expect_refusal(&copy, "server's tar", "");
    }
    expect_success(&whole);
}
END_TEST

START_TEST(what_follows_the_end_mark_is_under_the_same_rules)
{
    struct copy zeros SCOPED(copy_done) = COPY_NEW;
    struct copy garbage SCOPED(copy_done) = COPY_NEW;
    struct copy hidden SCOPED(copy_done) = COPY_NEW;

    add_cluster(&zeros);
    for (int i = 0; i < 9; i++)
        tar_end(&zeros.tar);
    expect_success(&zeros);

    add_cluster(&garbage);
    tar_append(&garbage.tar, zeros.tar.bytes + 512, 512);
    expect_refusal(&garbage, "server's tar", "");

    add_cluster(&hidden);
    tar_add(&hidden.tar, (struct tar_entry){.name = "late", .type = '2', .link = "x"});
    tar_end(&hidden.tar);
    expect_refusal(&hidden, "\"late\"", "symbolic link");
}
END_TEST

START_TEST(bytes_that_are_no_tar_are_an_error)
{
    struct copy copy SCOPED(copy_done) = COPY_NEW;
    uint8_t *noise SCOPED(scoped_free) = make_bytes(20000, 31);

    tar_append(&copy.tar, noise, 20000);
    expect_refusal(&copy, "could not read the server's tar", "");
}
END_TEST

START_TEST(a_failing_source_is_told_in_its_own_words)
{
    struct copy whole SCOPED(copy_done) = COPY_NEW;

    add_cluster(&whole);
    for (size_t fail_at = 1; fail_at < whole.tar.used; fail_at += 100) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        copy.piece = 100;
        copy.fail_at = fail_at;
        add_cluster(&copy);
        ck_assert(!run(&copy));
        ck_assert_int_eq(copy.error.kind, ERROR_SERVER);
        ck_assert_str_eq(copy.error.message, "could not receive: connection lost");
    }
}
END_TEST

START_TEST(a_failing_archive_or_index_is_told_in_its_own_words)
{
    uint8_t *data SCOPED(scoped_free) = make_bytes(3 * (size_t)FRAME_SIZE, 41);

    for (unsigned fail_at = 1, succeeded = 0; succeeded == 0; fail_at++) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        copy.capture.fail_at_write = fail_at;
        tar_add(&copy.tar,
                (struct tar_entry){.name = "big", .type = '0', .size = 3 * (size_t)FRAME_SIZE, .data = data});
        add_cluster(&copy);
        succeeded = run(&copy);
        if (!succeeded)
            ck_assert_str_eq(copy.error.message, "no space left");
        else /* the header, three frames of data, the rest, the seek table */
            ck_assert_uint_eq(fail_at, 7);
    }
    for (unsigned fail_at = 1; fail_at <= 6; fail_at++) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        copy.fail_at_member = fail_at;
        add_cluster(&copy);
        ck_assert(!run(&copy));
        ck_assert_str_eq(copy.error.message, "the index is full");
    }
}
END_TEST

START_TEST(the_rule_for_names)
{
    ck_assert(tar_path_is_safe("base/1/1259"));
    ck_assert(tar_path_is_safe("..."));
    ck_assert(tar_path_is_safe("a/..b/c.."));
    ck_assert(tar_path_is_safe(".hidden"));
    ck_assert(!tar_path_is_safe(""));
    ck_assert(!tar_path_is_safe("/"));
    ck_assert(!tar_path_is_safe("a/"));
    ck_assert(!tar_path_is_safe("./a"));
    ck_assert(!tar_path_is_safe("a/../.."));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("tar_refusal");

    tcase_add_test(tests, what_is_no_file_and_no_directory_is_refused_by_its_name);
    tcase_add_test(tests, unsafe_names_are_refused);
    tcase_add_test(tests, a_name_longer_than_any_path_is_refused);
    tcase_add_test(tests, a_name_that_comes_twice_is_refused_in_any_spelling);
    tcase_add_test(tests, every_tar_that_ends_too_early_is_an_error);
    tcase_add_test(tests, what_follows_the_end_mark_is_under_the_same_rules);
    tcase_add_test(tests, bytes_that_are_no_tar_are_an_error);
    tcase_add_test(tests, a_failing_source_is_told_in_its_own_words);
    tcase_add_test(tests, a_failing_archive_or_index_is_told_in_its_own_words);
    tcase_add_test(tests, the_rule_for_names);
    return suite_run("tar_refusal", tests);
}
