#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/atomic_file.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "support/scratch.h"
#include "support/suite.h"

/* ---- the process that opens connections for another ---- */

/* Hands out one end and answers on the other, so that the test sees that it is a real connection. */
static bool open_pair(void *context, int *ret_fd, struct error *err)
{
    int *opened = context;
    int ends[2];

    if (++*opened > 3) {
        error_set(err, ERROR_DENIED, "that was the third one");
        return error_hint(err, "Ask for fewer.");
    }
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    char word = (char)('0' + *opened);
    ck_assert_int_eq(write(ends[1], &word, 1), 1);
    close(ends[1]);
    *ret_fd = ends[0];
    return true;
}

START_TEST(connections_and_errors_come_from_the_other_process)
{
    int opened = 0;
    struct opener opener;
    struct error err;

    ck_assert_msg(opener_start(open_pair, &opened, &opener, &err), "%s", err.message);
    for (char expected = '1'; expected <= '3'; expected++) {
        int fd = -1;
        char word;
        ck_assert_msg(opener_open(&opener, &fd, &err), "%s", err.message);
        ck_assert_int_eq(read(fd, &word, 1), 1);
        ck_assert_int_eq(word, expected);
        close(fd);
    }
    int fd = -1;
    ck_assert(!opener_open(&opener, &fd, &err));
    ck_assert_int_eq(err.kind, ERROR_DENIED);
    ck_assert_str_eq(err.hint, "Ask for fewer.");
    ck_assert_int_eq(opened, 0); /* it happened in the other process */
    opener_end(&opener);
    ck_assert_int_eq(waitpid(opener.pid, NULL, WNOHANG), -1);
}
END_TEST

START_TEST(a_process_that_is_gone_is_an_error_and_no_wait)
{
    int opened = 0;
    struct opener opener;
    struct error err;
    int fd = -1;

    ck_assert(opener_start(open_pair, &opened, &opener, &err));
    kill(opener.pid, SIGKILL);
    waitpid(opener.pid, NULL, 0);
    ck_assert(!opener_open(&opener, &fd, &err));
    close(opener.fd);
}
END_TEST

/* Hands out one end; the process that holds the other one lives on. */
static bool open_lasting(void *context, int *ret_fd, struct error *err)
{
    int ends[2];

    (void)context;
    (void)err;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    if (opener_fork() == 0) {
        char byte;
        close(ends[0]);
        (void)!read(ends[1], &byte, 1); /* until the test ends */
        _exit(0);
    }
    close(ends[1]);
    *ret_fd = ends[0];
    return true;
}

START_TEST(what_it_has_started_does_not_hide_that_it_is_gone)
{
    struct opener opener;
    struct error err;
    int fd = -1;

    ck_assert(opener_start(open_lasting, NULL, &opener, &err));
    ck_assert_msg(opener_open(&opener, &fd, &err), "%s", err.message);
    kill(opener.pid, SIGKILL);
    waitpid(opener.pid, NULL, 0);
    int none = -1;
    ck_assert(!opener_open(&opener, &none, &err));
    close(fd);
    close(opener.fd);
}
END_TEST

/* A process that dies while it is asked: its end is the answer. */
START_TEST(dying_with_the_question_it_is_heard_all_the_same)
{
    struct opener opener;
    struct error err;
    int fd = -1;

    ck_assert(opener_start(open_lasting, NULL, &opener, &err));
    ck_assert_msg(opener_open(&opener, &fd, &err), "%s", err.message);
    kill(opener.pid, SIGSTOP);
    pid_t killer = fork();
    if (killer == 0) {
        poll(NULL, 0, 200);
        kill(opener.pid, SIGKILL);
        _exit(0);
    }
    int none = -1;
    ck_assert(!opener_open(&opener, &none, &err));
    waitpid(killer, NULL, 0);
    waitpid(opener.pid, NULL, 0);
    close(fd);
    close(opener.fd);
}
END_TEST

/* ---- the daemon's socket ---- */

static char *find_socket(const char *configuration)
{
    char *words[] = {(char *)"pgcoffer", (char *)"ping", (char *)"-c", (char *)configuration, NULL};
    struct invocation invocation SCOPED(invocation_done) = {0};
    struct error err;
    char *path = NULL;

    ck_assert(arguments_parse(4, words, &invocation, &err));
    ck_assert_msg(socket_path_find(&invocation, &path, &err), "%s", err.message);
    return path;
}

static void write_text(const char *name, const char *text)
{
    struct error err;

    ck_assert_msg(atomic_file_put(scratch_path(name), 0600, text, strlen(text), &err), "%s", err.message);
}

START_TEST(the_socket_is_found_in_a_configuration_that_is_wrong_elsewhere)
{
    struct error err;

    scratch_make();
    write_text("a.conf", "[pgcoffer]\nunix_socket_dir = /run/elsewhere\nnonsense = 1\n[primary]\nprot = 5\n=\n");
    char *path SCOPED(scoped_free) = find_socket(scratch_path("a.conf"));
    ck_assert_str_eq(path, "/run/elsewhere/pgcoffer.sock");

    write_text("b.conf", "[primary]\nunix_socket_dir = /not/this\n");
    char *otherwise SCOPED(scoped_free) = find_socket(scratch_path("b.conf"));
    ck_assert_str_eq(otherwise, "/run/pgcoffer/pgcoffer.sock");

    ck_assert(file_make_directories(scratch_path("conf.d"), 0700, &err));
    write_text("conf.d/x.conf", "[pgcoffer]\nunix_socket_dir = /run/beside\n");
    char *beside SCOPED(scoped_free) = find_socket(scratch_path("b.conf"));
    ck_assert_str_eq(beside, "/run/beside/pgcoffer.sock");
    scratch_remove();
}
END_TEST

START_TEST(a_configuration_that_was_named_must_be_there_unless_the_socket_is_named_too)
{
    char *words[] = {(char *)"pgcoffer", (char *)"ping", (char *)"-c", (char *)"/nonexistent",
                     (char *)"--socket", (char *)"/s",   NULL};
    struct error err;
    char *path SCOPED(scoped_free) = NULL;
    struct invocation without SCOPED(invocation_done) = {0};
    struct invocation with SCOPED(invocation_done) = {0};

    ck_assert(arguments_parse(4, words, &without, &err));
    ck_assert(!socket_path_find(&without, &path, &err));
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
    ck_assert(arguments_parse(6, words, &with, &err));
    ck_assert(socket_path_find(&with, &path, &err));
    ck_assert_str_eq(path, "/s");
}
END_TEST

/* ---- the gateway of another host ---- */

#define MOST_WORDS 16
#define FILES      "tls_cert_file = /s/c\ntls_key_file = /s/k\ntls_ca_file = /s/a\n"

/* `words` behind "pgcoffer -c FILE ping", up to NULL. */
static bool find_gateway(const char *configuration, const char *const *words, struct server_config **ret_gateway,
                         struct error *err)
{
    char *all[MOST_WORDS] = {(char *)"pgcoffer", (char *)"-c", (char *)configuration, (char *)"ping"};
    struct invocation invocation SCOPED(invocation_done) = {0};
    int count = 4;

    for (; words[count - 4] != NULL; count++)
        all[count] = (char *)words[count - 4];
    return arguments_parse(count, all, &invocation, err) && gateway_find(&invocation, ret_gateway, err);
}

START_TEST(the_section_client_leads_to_a_gateway_unless_the_command_line_says_otherwise)
{
    static const char *const nothing[] = {NULL};
    static const char *const socket_words[] = {"--socket", "/s", NULL};
    static const char *const connect_words[] = {"--connect", "[::1]:1", "--tls-key-file", "/o/k", NULL};
    struct server_config *gateway = NULL;
    struct error err;

    scratch_make();
    /* What is wrong elsewhere is none of this command's business. */
    write_text("a.conf", "[primary]\nprot = 5\n[client]\nconnect = backup:7432\n" FILES);
    const char *path = scratch_path("a.conf");
    ck_assert_msg(find_gateway(path, nothing, &gateway, &err), "%s", err.message);
    ck_assert_str_eq(gateway->settings.host, "backup");
    ck_assert_str_eq(gateway->name, "client");
    char *text SCOPED(scoped_free) = gateway_to_text(gateway);
    ck_assert_str_eq(text, "backup:7432");
    free(TAKE(gateway));

    ck_assert_msg(find_gateway(path, socket_words, &gateway, &err), "%s", err.message);
    ck_assert_ptr_null(gateway);

    ck_assert_msg(find_gateway(path, connect_words, &gateway, &err), "%s", err.message);
    ck_assert_str_eq(gateway->settings.host, "::1");
    ck_assert_str_eq(gateway->name, "");
    ck_assert_str_eq(gateway->settings.tls_cert_file, "/s/c");
    ck_assert_str_eq(gateway->settings.tls_key_file, "/o/k");
    char *address SCOPED(scoped_free) = gateway_to_text(gateway);
    ck_assert_str_eq(address, "[::1]:1");
    free(gateway);
    scratch_remove();
}
END_TEST

START_TEST(words_that_do_not_go_together_are_a_wrong_usage)
{
    static const char *const wrong[][8] = {
        {"--connect", "backup", "--tls-cert-file", "/c", "--tls-key-file", "/k", NULL},
        {"--connect", "backup:1", "--tls-cert-file", "/c", "--tls-key-file", "/k", NULL},
        {"--connect", "backup:1", "--socket", "/s", NULL},
        {"--tls-cert-file", "/c", NULL},
        {"--socket", "/s", "--tls-ca-file", "/a", NULL},
    };
    struct server_config *gateway = NULL;
    struct error err;

    scratch_make();
    write_text("empty.conf", "");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_msg(!find_gateway(scratch_path("empty.conf"), wrong[i], &gateway, &err), "row %zu", i);
        ck_assert_int_eq(err.kind, ERROR_USAGE);
        ck_assert_str_ne(err.hint, "");
    }
    write_text("wrong.conf", "[client]\nconnect = backup:1\ntls_cert_file = relative\n");
    ck_assert(!find_gateway(scratch_path("wrong.conf"), wrong[3] + 2, &gateway, &err));
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "wrong.conf:3"));
    scratch_remove();
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("connections");

    tcase_add_test(tests, connections_and_errors_come_from_the_other_process);
    tcase_add_test(tests, a_process_that_is_gone_is_an_error_and_no_wait);
    tcase_add_test(tests, what_it_has_started_does_not_hide_that_it_is_gone);
    tcase_add_test(tests, dying_with_the_question_it_is_heard_all_the_same);
    tcase_add_test(tests, the_socket_is_found_in_a_configuration_that_is_wrong_elsewhere);
    tcase_add_test(tests, a_configuration_that_was_named_must_be_there_unless_the_socket_is_named_too);
    tcase_add_test(tests, the_section_client_leads_to_a_gateway_unless_the_command_line_says_otherwise);
    tcase_add_test(tests, words_that_do_not_go_together_are_a_wrong_usage);
    return suite_run("connections", tests);
}
