#include "pgcoffer/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "support/scratch.h"
#include "support/suite.h"

static struct buffer written = BUFFER_WITH_LIMIT(1 << 20);

/* What `speak` says on stderr. */
static const char *listen_to(void (*speak)(void))
{
    struct error err;
    int old_stderr = dup(STDERR_FILENO);
    int fd = open(scratch_path("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);

    dup2(fd, STDERR_FILENO);
    speak();
    dup2(old_stderr, STDERR_FILENO);
    close(fd);
    close(old_stderr);
    buffer_done(&written);
    ck_assert(file_read_whole(scratch_path("stderr"), &written, &err));
    ck_assert(buffer_append(&written, "", 1, &err));
    return (const char *)written.bytes;
}

static void say_four_things(void)
{
    struct error failure;

    error_set(&failure, ERROR_FAILED, "e %d", 1);
    errno = EINTR;
    log_failure(LOG_LEVEL_ERROR, &failure);
    log_warning("w %d", 2);
    log_info("i %d\nsecond line", 3);
    log_debug("d %d", 4);
    ck_assert_int_eq(errno, EINTR);
}

START_TEST(the_journal_gets_priorities)
{
    enum log_level level;

    setenv("JOURNAL_STREAM", "1:2", 1);
    log_set_identity("receive primary");
    ck_assert_str_eq(listen_to(say_four_things),
                     "<3>receive primary: e 1\n<4>receive primary: w 2\n<6>receive primary: i 3?second line\n");
    ck_assert(log_level_from_word("debug", &level));
    log_set_level(level);
    ck_assert_ptr_nonnull(strstr(listen_to(say_four_things), "<7>receive primary: d 4\n"));
    ck_assert(log_level_from_word("error", &level));
    log_set_level(level);
    ck_assert_str_eq(listen_to(say_four_things), "<3>receive primary: e 1\n");
    ck_assert(!log_level_from_word("loud", &level));
}
END_TEST

START_TEST(a_terminal_gets_time_and_level)
{
    unsetenv("JOURNAL_STREAM");
    const char *text = listen_to(say_four_things);
    ck_assert_ptr_nonnull(strstr(text, "Z error   e 1\n"));
    ck_assert_ptr_nonnull(strstr(text, "Z warning w 2\n"));
}
END_TEST

static void say_a_failure(void)
{
    struct error err;

    error_set(&err, ERROR_TLS, "no");
    log_failure(LOG_LEVEL_ERROR, &err);
    error_detail(&err, "seen");
    error_hint(&err, "Do this.");
    log_failure(LOG_LEVEL_WARNING, &err);
    memset(err.message, 'm', sizeof err.message - 1);
    memset(err.detail, 'd', sizeof err.detail - 1);
    memset(err.hint, 'h', sizeof err.hint - 1);
    log_failure(LOG_LEVEL_WARNING, &err);
}

START_TEST(a_failure_is_one_line)
{
    setenv("JOURNAL_STREAM", "1:2", 1);
    log_set_identity("");
    const char *text = listen_to(say_a_failure);
    ck_assert_ptr_nonnull(strstr(text, "<3>no\n<4>no; detail: seen; hint: Do this.\n<4>mmm"));
    ck_assert_ptr_nonnull(strstr(text, "hhh\n"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("log");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, the_journal_gets_priorities);
    tcase_add_test(tests, a_terminal_gets_time_and_level);
    tcase_add_test(tests, a_failure_is_one_line);
    return suite_run("log", tests);
}
