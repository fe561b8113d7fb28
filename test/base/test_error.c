#include "pgcoffer/base/error.h"

#include <errno.h>
#include <string.h>

#include "support/suite.h"

START_TEST(every_kind_has_the_exit_status_users_were_promised)
{
    static const struct {
        enum error_kind kind;
        int status;
    } promised[] = {{ERROR_NONE, 0},   {ERROR_FAILED, 1},  {ERROR_USAGE, 2}, {ERROR_CONFIG, 3},
                    {ERROR_DAEMON, 4}, {ERROR_SERVER, 5},  {ERROR_TLS, 6},   {ERROR_INTEGRITY, 7},
                    {ERROR_BUSY, 8},   {ERROR_STORAGE, 9}, {ERROR_DENIED, 1}};

    ck_assert_uint_eq(sizeof promised / sizeof promised[0], ERROR_KIND_COUNT);
    for (size_t i = 0; i < sizeof promised / sizeof promised[0]; i++) {
        struct error err = {.kind = promised[i].kind};
        ck_assert_int_eq(error_exit_status(&err), promised[i].status);
        ck_assert_int_eq(error_kind_from_word(error_kind_word(promised[i].kind)), promised[i].kind);
    }
    ck_assert_int_eq(error_kind_from_word("of a newer version"), ERROR_FAILED);
}
END_TEST

START_TEST(context_goes_before_the_message_and_the_cause_stays)
{
    struct error err;

    errno = ENOSPC;
    ck_assert(!error_set_errno(&err, "could not write \"%s\"", "a"));
    ck_assert(!error_wrap(&err, "server %s", "primary"));
    ck_assert_str_eq(err.message, "server primary: could not write \"a\": No space left on device");
    ck_assert_int_eq(err.errnum, ENOSPC);
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
}
END_TEST

START_TEST(a_new_failure_forgets_detail_hint_and_check_of_the_old_one)
{
    struct error err;

    error_set(&err, ERROR_TLS, "first");
    error_detail(&err, "detail %d", 1);
    error_hint(&err, "Hint.");
    ck_assert(!error_check(&err, "expiry.server"));
    ck_assert_str_eq(err.detail, "detail 1");
    ck_assert_str_eq(err.check, "expiry.server");
    error_wrap(&err, "context");
    ck_assert_str_eq(err.check, "expiry.server");
    errno = EACCES;
    ck_assert(!error_set_kind_errno(&err, ERROR_CONFIG, "again after %s", err.message));
    ck_assert_str_eq(err.message, "again after context: first: Permission denied");
    ck_assert_str_eq(err.detail, "");
    ck_assert_str_eq(err.hint, "");
    ck_assert_str_eq(err.check, "");
}
END_TEST

START_TEST(texts_that_are_too_long_are_cut_and_terminated)
{
    struct error err;
    char text[5000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    error_set(&err, ERROR_FAILED, "%s", text);
    ck_assert_uint_eq(strlen(err.message), sizeof err.message - 1);
    error_wrap(&err, "%s", text);
    ck_assert_uint_eq(strlen(err.message), sizeof err.message - 1);
    errno = EIO;
    error_set_errno(&err, "%s", text);
    ck_assert_uint_eq(strlen(err.message), sizeof err.message - 1);
    error_detail(&err, "%s", text);
    error_hint(&err, "%s", text);
    ck_assert_uint_eq(strlen(err.detail), sizeof err.detail - 1);
    ck_assert_uint_eq(strlen(err.hint), sizeof err.hint - 1);
    error_check(&err, text);
    ck_assert_uint_eq(strlen(err.check), sizeof err.check - 1);
}
END_TEST

START_TEST(a_cause_stays_marked_however_often_it_is_wrapped)
{
    static const struct {
        const char *before, *cause, *behind;
    } rows[] = {{"", "it is late", ""},
                {"could not connect: ", "it is late", ""},
                {"", "it is late", " (said: no)"},
                {"could not: it: ", "a: b", ": c"}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error err;
        char whole[128];
        snprintf(whole, sizeof whole, "%s%s%s", rows[i].before, rows[i].cause, rows[i].behind);
        ck_assert(!error_set_cause(&err, ERROR_TLS, rows[i].before, rows[i].cause, rows[i].behind));
        ck_assert_int_eq(err.kind, ERROR_TLS);
        ck_assert_str_eq(err.message, whole);
        for (int wrapped = 0; wrapped < 3; wrapped++) {
            ck_assert_uint_eq(err.cause_size, strlen(rows[i].cause));
            ck_assert_mem_eq(err.message + err.cause_at, rows[i].cause, err.cause_size);
            ck_assert_str_eq(err.message + err.cause_at + err.cause_size, rows[i].behind);
            error_wrap(&err, "server %d", wrapped);
        }
    }
}
END_TEST

START_TEST(an_error_that_names_no_cause_has_none_marked)
{
    struct error err;

    error_set_cause(&err, ERROR_TLS, "before: ", "cause", "");
    error_set(&err, ERROR_TLS, "again after %s", err.message);
    ck_assert_uint_eq(err.cause_size, 0);
    error_wrap(&err, "context");
    ck_assert_uint_eq(err.cause_at, 0);
    ck_assert_uint_eq(err.cause_size, 0);
    error_set_cause(&err, ERROR_TLS, "before: ", "", " behind");
    ck_assert_str_eq(err.message, "before:  behind");
    ck_assert_uint_eq(err.cause_size, 0);
}
END_TEST

START_TEST(a_cause_may_come_out_of_the_error_that_takes_it)
{
    struct error err;

    error_set(&err, ERROR_TLS, "it is late");
    error_hint(&err, "later");
    error_set_cause(&err, ERROR_TLS, "before: ", err.message, err.hint);
    ck_assert_str_eq(err.message, "before: it is latelater");
    ck_assert_uint_eq(err.cause_at, 8);
    ck_assert_uint_eq(err.cause_size, 10);
}
END_TEST

START_TEST(a_mark_never_goes_beyond_the_message)
{
    static const size_t sizes[] = {1, 7, 2039, 2040, 2041, 2047, 2048, 4096};
    struct error err;
    char text[5000];

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(text, 'x', sizes[i]);
        text[sizes[i]] = '\0';
        error_set_cause(&err, ERROR_TLS, "before: ", text, " behind");
        for (int wrapped = 0; wrapped < 8; wrapped++) {
            size_t length = strlen(err.message);
            ck_assert_uint_le(err.cause_at + err.cause_size, length);
            ck_assert_uint_le(err.cause_size, sizes[i]);
            ck_assert_uint_ge(strspn(err.message + err.cause_at, "x"), err.cause_size);
            error_wrap(&err, "%0400d", wrapped);
        }
        ck_assert_uint_eq(err.cause_size, 0); /* pushed out */
        error_set_cause(&err, ERROR_TLS, text, "cause", "");
        ck_assert_uint_eq(err.cause_size, sizes[i] <= 2042 ? 5 : sizes[i] < 2047 ? 2047 - sizes[i] : 0);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("error");

    tcase_add_test(tests, every_kind_has_the_exit_status_users_were_promised);
    tcase_add_test(tests, context_goes_before_the_message_and_the_cause_stays);
    tcase_add_test(tests, a_new_failure_forgets_detail_hint_and_check_of_the_old_one);
    tcase_add_test(tests, texts_that_are_too_long_are_cut_and_terminated);
    tcase_add_test(tests, a_cause_stays_marked_however_often_it_is_wrapped);
    tcase_add_test(tests, an_error_that_names_no_cause_has_none_marked);
    tcase_add_test(tests, a_cause_may_come_out_of_the_error_that_takes_it);
    tcase_add_test(tests, a_mark_never_goes_beyond_the_message);
    return suite_run("error", tests);
}
