#include "pgcoffer/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "support/scratch.h"
#include "support/suite.h"

static struct buffer written = BUFFER_WITH_LIMIT(1 << 20);

static const char *content(const char *path)
{
    struct error err;

    buffer_done(&written);
    ck_assert(file_read_whole(path, &written, &err));
    ck_assert(buffer_append(&written, "", 1, &err));
    return (const char *)written.bytes;
}

/* What `speak` says on stderr; as the journal's stream, stderr is what JOURNAL_STREAM names. */
static const char *listen_as(bool is_journal, void (*speak)(void))
{
    int old_stderr = dup(STDERR_FILENO);
    int fd = open(scratch_path("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct stat status;
    char stream[64];

    ck_assert_int_eq(fstat(fd, &status), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino + (is_journal ? 0 : 1));
    setenv("JOURNAL_STREAM", stream, 1);
    dup2(fd, STDERR_FILENO);
    speak();
    dup2(old_stderr, STDERR_FILENO);
    close(fd);
    close(old_stderr);
    return content(scratch_path("stderr"));
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

    log_set_identity("receive primary");
    ck_assert_str_eq(listen_as(true, say_four_things),
                     "<3>receive primary: e 1\n<4>receive primary: w 2\n<6>receive primary: i 3?second line\n");
    ck_assert(log_level_from_word("debug", &level));
    log_set_level(level);
    ck_assert_ptr_nonnull(strstr(listen_as(true, say_four_things), "<7>receive primary: d 4\n"));
    ck_assert(log_level_from_word("error", &level));
    log_set_level(level);
    ck_assert_str_eq(listen_as(true, say_four_things), "<3>receive primary: e 1\n");
    ck_assert(!log_level_from_word("loud", &level));
    log_set_format(LOG_FORMAT_JSON);
    ck_assert_ptr_nonnull(strstr(listen_as(true, say_four_things), "<3>{\"time\":\""));
}
END_TEST

/* An administrator's "2>log" behind systemd-run or a login session: the variable is inherited, the stream is not. */
START_TEST(another_stderr_than_the_journals_gets_time_and_level)
{
    const char *text = listen_as(false, say_four_things);
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
    log_set_identity("");
    const char *text = listen_as(true, say_a_failure);
    ck_assert_ptr_nonnull(strstr(text, "<3>no\n<4>no; detail: seen; hint: Do this.\n<4>mmm"));
    ck_assert_ptr_nonnull(strstr(text, "hhh\n"));
}
END_TEST

/* ---- JSON ---- */

static const char *const awkward[] = {
    "plain",
    "a \"quoted\" word \\ and a backslash",
    "two\nlines\r\n",
    "\033[31mred\033[0m\007",
    "half a sign: \xc3",
    "\xff\xfe\x80",
    "overlong \xc0\xaf surrogate \xed\xa0\x80",
    "a control in UTF-8 \xc2\x9b",
    "\xe2\x82\xac \xf0\x9f\x90\x98",
    "",
};

static void say_awkward_things(void)
{
    char longest[9000];
    struct error err;

    for (size_t i = 0; i < sizeof awkward / sizeof awkward[0]; i++) {
        log_info("%s", awkward[i]);
        error_set(&err, ERROR_TLS, "%s", awkward[i]);
        error_detail(&err, "%s", awkward[i]);
        log_failed_event(
            LOG_LEVEL_WARNING,
            json_pack("{s:s, s:I, s:f}", "event", "test", "bytes", (json_int_t)INT64_MAX, "seconds", 0.125), &err);
    }
    /* Cut in the middle of a sign. */
    for (size_t size = sizeof longest - 1; size > sizeof longest - 5; size--) {
        memset(longest, 0, sizeof longest);
        for (size_t at = sizeof longest - 1 - size; at + 3 < sizeof longest; at += 3)
            memcpy(longest + at - (sizeof longest - 1 - size) + (sizeof longest - 1 - size) % 3, "\xe2\x82\xac", 3);
        memset(longest, 'x', (sizeof longest - 1 - size) % 3 + 1);
        log_info("%s", longest);
    }
}

START_TEST(every_line_of_json_is_one_object_whatever_the_words)
{
    size_t lines = 0, size;
    struct error err;

    log_set_format(LOG_FORMAT_JSON);
    log_set_identity("backup prod\"uction");
    log_set_subject("prod\"uction", "12");
    const char *text = listen_as(false, say_awkward_things);
    for (const char *at = text; *at != '\0'; at += size + 1, lines++) {
        size = strcspn(at, "\n");
        json_t *line SCOPED(scoped_json) = json_parse_object(at, size, &err);
        ck_assert_msg(line != NULL, "%s: %.*s", err.message, (int)size, at);
        ck_assert_str_eq(json_text_or_null(line, "who"), "backup prod\"uction");
        ck_assert_str_eq(json_text_or_null(line, "server"), "prod\"uction");
        ck_assert_str_eq(json_text_or_null(line, "job"), "12");
        ck_assert_int_eq(json_number_or(line, "pid", 0), getpid());
        ck_assert(json_text_or_null(line, "time") != NULL && json_text_or_null(line, "level") != NULL);
        ck_assert(strpbrk(json_text_or_null(line, "message") != NULL ? json_text_or_null(line, "message") : "",
                          "\n\033\177") == NULL);
        if (strcmp(json_text_or_null(line, "level"), "warning") != 0)
            continue;
        ck_assert_str_eq(json_text_or_null(line, "kind"), "tls");
        ck_assert_str_eq(json_text_or_null(line, "event"), "test");
        ck_assert(json_number_or(line, "bytes", 0) == INT64_MAX);
    }
    ck_assert_uint_eq(lines, 2 * sizeof awkward / sizeof awkward[0] + 4);
    ck_assert_ptr_nonnull(strstr(text, "\"message\":\"a \\\"quoted\\\" word \\\\ and a backslash\""));
    ck_assert_ptr_nonnull(strstr(text, "\"message\":\"half a sign: ?\""));
    ck_assert_ptr_nonnull(strstr(text, "\"seconds\":0.125"));
}
END_TEST

/* ---- a file ---- */

static void say_one(void)
{
    log_info("one");
}

START_TEST(a_file_is_opened_again_and_kept_when_it_cannot_be)
{
    const char *path = scratch_path("log"), *aside = scratch_path("log.1");
    struct stat status;
    struct error err;

    umask(0);
    ck_assert(log_open_file(path, &err));
    ck_assert_str_eq(log_file_path(), path);
    ck_assert_str_eq(listen_as(true, say_one), "");
    ck_assert(stat(path, &status) == 0 && (status.st_mode & 07777) == 0640);
    ck_assert_int_eq(rename(path, aside), 0);
    say_one();
    ck_assert(log_open_file(log_file_path(), &err));
    ck_assert_str_eq(log_file_path(), path);
    say_one();
    ck_assert_uint_eq(strlen(content(aside)), 2 * strlen(content(path)));
    ck_assert(strstr(content(path), "Z info    one\n") != NULL);
    ck_assert(!log_open_file(scratch_path("none/log"), &err));
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    ck_assert(!log_open_file(scratch_path(""), &err)); /* a directory */
    ck_assert_int_eq(mkfifo(scratch_path("fifo"), 0600), 0);
    ck_assert(!log_open_file(scratch_path("fifo"), &err)); /* does not wait for a reader */
    say_one();
    ck_assert_uint_eq(strlen(content(aside)), strlen(content(path)));
    ck_assert(log_open_file("", &err));
    ck_assert_str_eq(log_file_path(), "");
    ck_assert_str_eq(listen_as(true, say_one), "<6>one\n");
}
END_TEST

static void say_three_times(void)
{
    for (int i = 0; i < 3; i++)
        say_one();
}

static void go_on_in_another_file(void)
{
    struct error err;

    ck_assert(log_open_file(scratch_path("log"), &err));
    say_one();
}

START_TEST(lines_that_a_full_disk_does_not_take_are_counted)
{
    struct error err;

    ck_assert(log_open_file("/dev/full", &err));
    ck_assert_str_eq(listen_as(true, say_three_times),
                     "<3>the log file \"/dev/full\" takes no line: No space left on device\n");
    ck_assert_str_eq(listen_as(true, go_on_in_another_file), "");
    const char *text = content(scratch_path("log"));
    const char *missing = strstr(text, "Z warning 3 lines are missing here: they could not be written\n");
    ck_assert(missing != NULL && strstr(missing, "Z info    one\n") != NULL);
    ck_assert(log_open_file("", &err));
}
END_TEST

static void say_more_than_there_is_room(void)
{
    char words[512];

    memset(words, 'x', sizeof words);
    words[sizeof words - 1] = '\0';
    for (int i = 0; i < 4; i++)
        log_info("%s", words);
}

/* As with a disk, a part of the line is still written. */
START_TEST(half_a_line_is_taken_back)
{
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY}, small = {1000, RLIM_INFINITY};
    struct error err;
    struct stat status;

    signal(SIGXFSZ, SIG_IGN);
    ck_assert(log_open_file(scratch_path("log"), &err));
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    say_more_than_there_is_room();
    ck_assert_int_eq(stat(log_file_path(), &status), 0);
    ck_assert(status.st_size > 500 && status.st_size <= 1000);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    log_info("again");
    const char *text = content(log_file_path());
    ck_assert_ptr_nonnull(strstr(text, "xxx\n"));
    for (const char *at = text; *at != '\0'; at += strcspn(at, "\n") + 1)
        ck_assert_msg(strncmp(at, "20", 2) == 0 && strstr(at, "\n") != NULL, "half a line in %s", text);
    ck_assert_ptr_nonnull(strstr(text, "missing here"));
    ck_assert_ptr_nonnull(strstr(text, "Z info    again\n"));
    ck_assert(log_open_file("", &err));
}
END_TEST

/* ---- a stderr that nobody reads ---- */

static int stderr_pipe[2];

/* What is in the pipe now, added to `written`. */
static void read_pipe(void)
{
    char bytes[65536];
    struct error err;
    ssize_t size;

    while ((size = read(stderr_pipe[0], bytes, sizeof bytes)) > 0)
        ck_assert(buffer_append(&written, bytes, (size_t)size, &err));
}

static void say_long_lines(void)
{
    static char words[6000];

    memset(words, 'x', sizeof words - 1);
    for (int i = 0; i < 40; i++)
        log_info("%s", words);
}

START_TEST(nobody_waits_for_a_stderr_that_is_not_read)
{
    int old_stderr = dup(STDERR_FILENO);
    struct error err;

    buffer_done(&written);
    ck_assert_int_eq(pipe(stderr_pipe), 0);
    ck_assert_int_eq(fcntl(stderr_pipe[0], F_SETFL, O_NONBLOCK), 0);
    dup2(stderr_pipe[1], STDERR_FILENO);
    alarm(20);
    say_long_lines();
    read_pipe();
    log_catch_up();
    log_catch_up();
    say_one();
    read_pipe();
    alarm(0);
    dup2(old_stderr, STDERR_FILENO);
    ck_assert(buffer_append(&written, "", 1, &err));
    const char *text = (const char *)written.bytes;
    size_t whole = 0;
    for (const char *at = text; *at != '\0'; at += strcspn(at, "\n") + 1) {
        ck_assert_msg(strncmp(at, "20", 2) == 0 && strstr(at, "\n") != NULL, "half a line in %s", text);
        whole += strcspn(at, "\n") > 6000;
    }
    int missing = 0;
    const char *told = strstr(text, "Z warning ");
    ck_assert(told != NULL && sscanf(told, "Z warning %d lines are missing here", &missing) == 1);
    ck_assert_ptr_null(strstr(strchr(told, '\n'), "missing here"));
    ck_assert_uint_eq(whole + (size_t)missing, 40);
    ck_assert(whole > 5 && missing > 20 && strstr(told, "Z info    one\n") != NULL);
    close(old_stderr);
    close(stderr_pipe[0]);
    close(stderr_pipe[1]);
}
END_TEST

/* ---- between processes ---- */

static void hand_over_many_lines(void)
{
    char bytes[4000];

    for (size_t i = 0; i < sizeof bytes; i += 2)
        memcpy(bytes + i, "x\n", 2);
    log_on_behalf(bytes, sizeof bytes, 4711);
}

START_TEST(one_message_is_not_thousands_of_lines)
{
    size_t lines = 0;

    log_set_identity("");
    const char *text = listen_as(true, hand_over_many_lines);
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    ck_assert_uint_eq(lines, 65);
    ck_assert_ptr_nonnull(strstr(text, "<3>process 4711: x\n<3>process 4711: and more, which is left out\n"));
}
END_TEST

static int log_socket[2];

/* The child's lines, and what a library of it would say, handed over. */
static void take_lines(void)
{
    char bytes[65536];
    ssize_t size;

    while ((size = recv(log_socket[0], bytes, sizeof bytes, 0)) > 0)
        log_on_behalf(bytes, (size_t)size, 4711);
}

static void speak_as_worker(void)
{
    struct error err;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, log_socket), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(log_socket[1], STDERR_FILENO);
        if (!log_through_socket(1000))
            _exit(1);
        log_set_identity("receive primary");
        log_set_subject("primary", NULL);
        error_set(&err, ERROR_SERVER, "no \"server\"");
        error_hint(&err, "Start it.");
        log_failed_event(LOG_LEVEL_WARNING, json_pack("{s:i}", "tries", 3), &err);
        dprintf(STDERR_FILENO, "==1==ERROR: a report\n  of \033 two lines\n\n");
        dprintf(STDERR_FILENO, "{\"level\":\"info\",\"message\":\"no time\"}");
        dprintf(STDERR_FILENO,
                "{\"time\":\"2026-11-22T01:30:00Z\",\"level\":\"info\",\"message\":\"m\",\"deep\":[[]]}");
        dprintf(STDERR_FILENO, "{\"time\":\"2026-11-22T01:30:00Z\",\"level\":\"info\",\"message\":\"m\",\"pid\":1}");
        _exit(0);
    }
    close(log_socket[1]);
    take_lines();
    close(log_socket[0]);
}

START_TEST(what_a_worker_says_gets_the_form_of_who_writes)
{
    ck_assert(!log_through_socket(1000));
    log_set_identity("");
    ck_assert_str_eq(
        listen_as(true, speak_as_worker),
        "<4>receive primary: no \"server\"; hint: Start it.\n"
        "<3>process 4711: ==1==ERROR: a report\n<3>process 4711:   of ? two lines\n"
        "<3>process 4711: {\"level\":\"info\",\"message\":\"no time\"}\n"
        "<3>process 4711: {\"time\":\"2026-11-22T01:30:00Z\",\"level\":\"info\",\"message\":\"m\",\"deep\":[[]]}\n"
        "<6>m\n");
    log_set_format(LOG_FORMAT_JSON);
    const char *text = listen_as(false, speak_as_worker);
    ck_assert_ptr_nonnull(
        strstr(text, "\"level\":\"warning\",\"pid\":4711,\"who\":\"receive primary\",\"server\":\"primary\","
                     "\"message\":\"no \\\"server\\\"\",\"hint\":\"Start it.\",\"kind\":\"server\",\"tries\":3}\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "\"pid\":4711,\"who\":\"process 4711\",\"message\":\"==1==ERROR: a report\"}\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "\"level\":\"info\",\"pid\":4711,\"message\":\"m\"}\n")); /* not the pid it claims */
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("log");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, the_journal_gets_priorities);
    tcase_add_test(tests, another_stderr_than_the_journals_gets_time_and_level);
    tcase_add_test(tests, a_failure_is_one_line);
    tcase_add_test(tests, every_line_of_json_is_one_object_whatever_the_words);
    tcase_add_test(tests, a_file_is_opened_again_and_kept_when_it_cannot_be);
    tcase_add_test(tests, lines_that_a_full_disk_does_not_take_are_counted);
    tcase_add_test(tests, half_a_line_is_taken_back);
    tcase_add_test(tests, nobody_waits_for_a_stderr_that_is_not_read);
    tcase_add_test(tests, one_message_is_not_thousands_of_lines);
    tcase_add_test(tests, what_a_worker_says_gets_the_form_of_who_writes);
    return suite_run("log", tests);
}
