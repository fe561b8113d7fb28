#include "pgcoffer/pg/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "pgcoffer/base/clock.h"
#include "support/suite.h"

/* A port that takes connections and never says anything. */
static int listener;
static struct server_config server;

static void make_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    server = (struct server_config){.name = "primary"};
    server.settings.port = ntohs(address.sin_port);
    server.settings.connect_timeout = 1;
    server.settings.allow_insecure = true;
    snprintf(server.settings.host, CONFIG_TEXT_SIZE, "127.0.0.1");
    snprintf(server.settings.user, CONFIG_TEXT_SIZE, "repl");
    snprintf(server.settings.tls_mode, sizeof server.settings.tls_mode, "require");
}

static void close_server(void)
{
    close(listener);
}

START_TEST(a_silent_server_is_given_up_in_time)
{
    struct pg_connection *connection = NULL;
    struct error err = {0};
    int64_t start = clock_monotonic();

    ck_assert(!pg_connect(&server, "pgcoffer test", -1, &connection, &err));
    ck_assert_int_lt(clock_monotonic() - start, 5000000);
    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert_int_eq(err.errnum, ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(err.message, "timed out after 1 s"));
    ck_assert_uint_gt(strlen(err.hint), 0);
    ck_assert_ptr_null(connection);
}
END_TEST

/* Lets everybody in, and then has always something more to say before it is ready. */
static void talk_without_end(void)
{
    static const char hello[] = "R\0\0\0\x08\0\0\0\0";
    static const char notice[] = "N\0\0\0\x20SNOTICE\0C00000\0Mno end yet\0\0";
    int fd = accept(listener, NULL, NULL);
    char startup[1024];

    if (recv(fd, startup, sizeof startup, 0) > 0 && send(fd, hello, sizeof hello - 1, MSG_NOSIGNAL) > 0)
        while (send(fd, notice, sizeof notice - 1, MSG_NOSIGNAL) > 0)
            continue;
    _exit(0);
}

START_TEST(a_server_that_talks_without_end_is_given_up_in_time)
{
    struct pg_connection *connection = NULL;
    struct error err = {0};
    int64_t start = clock_monotonic();
    pid_t child = fork();

    if (child == 0)
        talk_without_end();
    snprintf(server.settings.tls_mode, sizeof server.settings.tls_mode, "disable");
    ck_assert(!pg_connect(&server, "pgcoffer test", -1, &connection, &err));
    ck_assert_int_lt(clock_monotonic() - start, 5000000);
    ck_assert_int_eq(err.errnum, ETIMEDOUT);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

/* Ends with 0 when the session begins with this setting. */
static void expect_setting(const char *words)
{
    int fd = accept(listener, NULL, NULL);
    char startup[1024];
    ssize_t size = recv(fd, startup, sizeof startup, 0);

    _exit(size > 0 && memmem(startup, (size_t)size, words, strlen(words)) != NULL ? 0 : 1);
}

/* Whoever connects to one of several hosts, so that pg_ask_role() is right with every connection to it. */
START_TEST(one_of_several_hosts_can_always_tell_its_role)
{
    struct pg_connection *connection = NULL;
    struct error err = {0};

    snprintf(server.settings.tls_mode, sizeof server.settings.tls_mode, "disable");
    for (int several = 0; several < 2; several++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0)
            expect_setting("default_transaction_read_only=off");
        server.is_one_of_several = several == 1;
        ck_assert(!pg_connect(&server, "pgcoffer test", -1, &connection, &err));
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_int_eq(WEXITSTATUS(status), several == 1 ? 0 : 1);
    }
}
END_TEST

START_TEST(an_interrupt_ends_the_waiting)
{
    struct pg_connection *connection = NULL;
    struct error err = {0};
    int ends[2];

    server.settings.connect_timeout = 600;
    ck_assert_int_eq(pipe(ends), 0);
    if (_i == 0)
        ck_assert_int_eq(write(ends[1], "x", 1), 1);
    else
        close(ends[1]);
    ck_assert(!pg_connect(&server, "pgcoffer test", ends[0], &connection, &err));
    ck_assert_int_eq(err.kind, ERROR_FAILED);
    ck_assert_int_eq(err.errnum, ECANCELED);
}
END_TEST

START_TEST(a_port_nobody_listens_at_is_named)
{
    struct pg_connection *connection = NULL;
    struct error err = {0};

    close(listener);
    ck_assert(!pg_connect(&server, "pgcoffer test", -1, &connection, &err));
    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert_ptr_nonnull(strstr(err.message, "Connection refused"));
    ck_assert_ptr_nonnull(strstr(err.message, "127.0.0.1"));
}
END_TEST

START_TEST(faults_of_our_own_files_come_before_the_network)
{
    struct pg_connection *connection = NULL;
    struct error err = {0};

    snprintf(server.settings.tls_cert_file, CONFIG_TEXT_SIZE, "/nowhere/repl.crt");
    snprintf(server.settings.tls_key_file, CONFIG_TEXT_SIZE, "/nowhere/repl.key");
    ck_assert(!pg_connect(&server, "pgcoffer test", -1, &connection, &err));
    ck_assert_int_eq(err.kind, ERROR_TLS);
    ck_assert_ptr_nonnull(strstr(err.message, "/nowhere/repl.crt"));
}
END_TEST

START_TEST(libpqs_environment_is_not_asked)
{
    struct pg_connection *connection = NULL;
    struct error err = {0};

    setenv("PGHOSTADDR", "192.0.2.1", 1);
    setenv("PGSERVICE", "nonsense", 1);
    setenv("PGSSLMODE", "nonsense", 1);
    close(listener);
    ck_assert(!pg_connect(&server, "pgcoffer test", -1, &connection, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "Connection refused"));
    ck_assert_ptr_null(getenv("PGSERVICE"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("connection");

    tcase_add_checked_fixture(tests, make_server, close_server);
    tcase_add_test(tests, a_silent_server_is_given_up_in_time);
    tcase_add_test(tests, a_server_that_talks_without_end_is_given_up_in_time);
    tcase_add_test(tests, one_of_several_hosts_can_always_tell_its_role);
    tcase_add_loop_test(tests, an_interrupt_ends_the_waiting, 0, 2);
    tcase_add_test(tests, a_port_nobody_listens_at_is_named);
    tcase_add_test(tests, faults_of_our_own_files_come_before_the_network);
    tcase_add_test(tests, libpqs_environment_is_not_asked);
    return suite_run("connection", tests);
}
