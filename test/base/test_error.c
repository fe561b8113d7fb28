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

int main(void)
{
    TCase *tests = tcase_create("error");

    tcase_add_test(tests, every_kind_has_the_exit_status_users_were_promised);
    tcase_add_test(tests, context_goes_before_the_message_and_the_cause_stays);
    tcase_add_test(tests, a_new_failure_forgets_detail_hint_and_check_of_the_old_one);
    tcase_add_test(tests, texts_that_are_too_long_are_cut_and_terminated);
    return suite_run("error", tests);
}
