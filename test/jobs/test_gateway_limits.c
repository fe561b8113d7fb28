#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "jobs/gateway/gateway_internal.h"
#include "jobs/gateway_scene.h"
#include "pgcoffer/base/clock.h"
#include "support/scratch.h"
#include "support/suite.h"

/* A gateway in this process, with clients in processes of their own and a daemon played by the test. */

static struct gateway_limits limits;
static struct gateway gateway;
static struct event_base *events;
static struct event *knock, *flood;
static int daemon_socket,
    inside; /* the last connection that the daemon took; it is never read but for its first line */
static char first_line[4096];
static uint16_t port;
static bool is_flooding;

static void on_knock(evutil_socket_t fd, short what, void *context)
{
    static char bytes[65536];

    (void)what;
    (void)context;
    inside = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    ck_assert_int_ge(inside, 0);
    ssize_t size = recv(inside, first_line, sizeof first_line - 1, 0);
    if (size > 0)
        first_line[size] = '\0';
    while (is_flooding && send(inside, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        continue;
}

static void on_flood(evutil_socket_t fd, short what, void *context)
{
    static char bytes[65536];

    (void)fd;
    (void)what;
    (void)context;
    while (is_flooding && inside >= 0 && send(inside, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        continue;
}

static void open_daemon(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(gateway.socket_path, sizeof gateway.socket_path, "%s", scratch_path("daemon.sock"));
    snprintf(address.sun_path, sizeof address.sun_path, "%s", gateway.socket_path);
    daemon_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(daemon_socket, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(daemon_socket, 10), 0);
    knock = event_new(events, daemon_socket, EV_READ | EV_PERSIST, on_knock, NULL);
    event_add(knock, NULL);
    flood = event_new(events, -1, EV_PERSIST, on_flood, NULL);
    event_add(flood, &(struct timeval){.tv_usec = 20000});
}

static void begin(void)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    struct error err;

    scratch_make();
    scene_begin();
    signal(SIGPIPE, SIG_IGN);
    limits = gateway_usual_limits;
    gateway = (struct gateway){.port.least_version = "TLSv1.3"};
    inside = -1;
    is_flooding = false;
    first_line[0] = '\0';
    events = event_base_new();
    open_daemon();
    gateway_begin(&gateway, events, &limits);
    ck_assert_msg(port_bind(&gateway_words, "127.0.0.1", 0, gateway.port.sockets, &gateway.port.socket_count, &err),
                  "%s", err.message);
    json_t *files SCOPED(scoped_json) =
        json_pack("{s:s, s:s, s:s, s:s}", "event", "files", "certificate", scene_server.certificate_pem, "key",
                  scene_server.key_pem, "authorities", scene_authority.certificate_pem);
    port_take_files(&gateway.port, files);
    ck_assert(gateway.port.is_listening);
    ck_assert_int_eq(getsockname(gateway.port.sockets[0], (struct sockaddr *)&address, &size), 0);
    port = ntohs(address.sin_port);
}

static void end(void)
{
    gateway_end(&gateway);
    event_free(knock);
    event_free(flood);
    event_base_free(events);
    close(daemon_socket);
    if (inside >= 0)
        close(inside);
    scene_end();
    scratch_remove();
}

/* ---- a client ---- */

/* As 127.0.0.1 and its followers: each is a place of its own. */
static int reach_from(unsigned place)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    const struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + place)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (const struct sockaddr *)&own, sizeof own) < 0)
        return -1;
    return connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}

static int reach(void)
{
    return reach_from(0);
}

/* Shakes hands and waits for words, which it copies into `ret_words`, or for the end. */
static void be_client(char *ret_words, size_t size)
{
    SSL *tls = scene_shake_hands(reach());
    int got;

    ret_words[0] = '\0';
    if (tls == NULL)
        return;
    while ((got = SSL_read(tls, ret_words, (int)size - 1)) > 0)
        ret_words[got] = '\0';
}

static pid_t start_client(bool (*is_right)(const char *words))
{
    pid_t pid = fork();

    if (pid == 0) {
        char words[4096];
        alarm(30);
        close(gateway.port.sockets[0]);
        be_client(words, sizeof words);
        _exit(is_right(words) ? 0 : 1);
    }
    return pid;
}

static bool are_none(const char *words)
{
    return words[0] == '\0';
}

static bool are_busy(const char *words)
{
    return strstr(words, "\"kind\":\"busy\"") != NULL;
}

static bool are_of_daemon(const char *words)
{
    return strstr(words, "\"kind\":\"daemon\"") != NULL;
}

/* Runs the gateway until `is_reached`; at most 20 s. */
static void run_until(bool (*is_reached)(void))
{
    int64_t deadline = clock_monotonic() + INT64_C(20000000);

    while (!is_reached()) {
        ck_assert_msg(clock_monotonic() < deadline, "it did not come to that");
        event_base_loop(events, EVLOOP_ONCE);
    }
}

static bool is_one_in(void)
{
    return gateway.connection_count == 1 && first_line[0] != '\0';
}

static bool is_nobody_in(void)
{
    return gateway.connection_count == 0 && gateway.handshake_count == 0;
}

static void expect_end(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the client got something else");
}

/* ---- tests ---- */

START_TEST(the_daemon_hears_first_who_it_is)
{
    pid_t pid = start_client(are_none);
    struct error err;

    run_until(is_one_in);
    json_t *line SCOPED(scoped_json) = json_parse_object(first_line, strlen(first_line), &err);
    ck_assert_msg(line != NULL, "%s", first_line);
    ck_assert_str_eq(json_text_or_null(line, "command"), "on-behalf");
    ck_assert_str_eq(json_text_or_null(line, "cn"), "db1");
    close(inside);
    inside = -1;
    run_until(is_nobody_in);
    expect_end(pid);
    ck_assert_uint_eq(gateway.port.handshakes_ok, 1);
    ck_assert_uint_eq(gateway.port.handshakes_refused, 0);
}
END_TEST

START_TEST(one_that_is_quiet_is_dropped)
{
    limits.idle_seconds = limits.stall_seconds = 1;
    pid_t pid = start_client(are_none);
    run_until(is_one_in);
    run_until(is_nobody_in);
    expect_end(pid);
}
END_TEST

/* A client that ends its half of TLS; then it leaves, or stays to read. */
static pid_t start_one_that_parts(bool leaves)
{
    pid_t pid = fork();

    if (pid == 0) {
        alarm(30);
        close(gateway.port.sockets[0]);
        SSL *tls = scene_shake_hands(reach());
        if (tls == NULL)
            _exit(1);
        SSL_shutdown(tls);
        if (!leaves)
            pause();
        _exit(0);
    }
    return pid;
}

START_TEST(one_that_said_goodbye_and_left_is_dropped_though_the_daemon_is_silent)
{
    limits.parting_seconds = 1;
    pid_t pid = start_one_that_parts(true);
    run_until(is_one_in);
    run_until(is_nobody_in); /* no limit but this one is over so soon */
    expect_end(pid);
}
END_TEST

START_TEST(one_that_only_speaks_no_more_is_kept)
{
    limits.parting_seconds = 1;
    pid_t pid = start_one_that_parts(false);
    run_until(is_one_in);
    event_base_loopexit(events, &(struct timeval){.tv_sec = 3});
    event_base_dispatch(events);
    ck_assert_uint_eq(gateway.connection_count, 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    run_until(is_nobody_in);
}
END_TEST

START_TEST(a_kernel_that_takes_nothing_from_it_is_warned_of)
{
    port_warn_unconfined(&gateway.port);
    json_t *report SCOPED(scoped_json) = port_report(&gateway.port, 0);
    const char *words = json_text_or_null(json_object_get(report, "warning"), "message");
    ck_assert_ptr_nonnull(words);
    ck_assert_ptr_nonnull(strstr(words, "neither Landlock nor seccomp"));
}
END_TEST

START_TEST(one_that_takes_nothing_is_dropped_long_before_it_would_be_idle)
{
    limits.stall_seconds = 1;
    is_flooding = true;
    pid_t pid = start_client(are_none);
    run_until(is_one_in);
    kill(pid, SIGSTOP);
    run_until(is_nobody_in);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
END_TEST

START_TEST(a_handshake_that_is_not_done_in_time_is_given_up)
{
    limits.handshake_seconds = 1;
    int fd SCOPED(scoped_close) = reach();
    event_base_loop(events, EVLOOP_ONCE);
    while (gateway.handshake_count == 0)
        event_base_loop(events, EVLOOP_ONCE);
    run_until(is_nobody_in);
    ck_assert_str_eq(first_line, "");
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(gateway.port.handshakes_ok, 0);
    ck_assert_uint_eq(gateway.port.handshakes_refused, 1);
}
END_TEST

START_TEST(the_newest_handshake_displaces_the_oldest)
{
    int fds[6];

    limits.handshakes_of_address = 3;
    for (int i = 0; i < 6; i++) {
        fds[i] = reach();
        size_t before = gateway.handshake_count;
        do
            event_base_loop(events, EVLOOP_ONCE);
        while (gateway.handshake_count == before && before < 3);
    }
    for (int i = 0; i < 20; i++)
        event_base_loop(events, EVLOOP_NONBLOCK);
    ck_assert_uint_eq(gateway.handshake_count, 3);
    char byte;
    ck_assert_int_eq(recv(fds[0], &byte, 1, MSG_DONTWAIT), 0); /* it was closed */
    ck_assert_int_eq(recv(fds[5], &byte, 1, MSG_DONTWAIT), -1);
    ck_assert_int_eq(errno, EAGAIN); /* this one waits */
    for (int i = 0; i < 6; i++)
        close(fds[i]);
}
END_TEST

START_TEST(of_a_crowd_of_many_places_the_oldest_gives_way)
{
    int fds[6];
    char byte;

    limits.handshakes = 4;
    for (unsigned i = 0; i < 6; i++) {
        fds[i] = reach_from(i);
        ck_assert_int_ge(fds[i], 0);
        const struct connection *before = gateway.first;
        do
            event_base_loop(events, EVLOOP_ONCE);
        while (gateway.first == before);
    }
    for (int i = 0; i < 20; i++)
        event_base_loop(events, EVLOOP_NONBLOCK);
    ck_assert_uint_eq(gateway.handshake_count, 4);
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(recv(fds[i], &byte, 1, MSG_DONTWAIT), i < 2 ? 0 : -1); /* closed, or waiting */
        close(fds[i]);
    }
}
END_TEST

START_TEST(who_is_one_too_many_is_told_so_and_never_reaches_the_daemon)
{
    if (_i == 0)
        limits.connections = 0;
    else if (_i == 1)
        limits.connections_of_address = 0;
    else
        limits.connections_of_identity = 0;
    pid_t pid = start_client(are_busy);
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0)
        event_base_loop(events, EVLOOP_ONCE);
    ck_assert_int_eq(status, 0);
    run_until(is_nobody_in);
    ck_assert_str_eq(first_line, "");
}
END_TEST

START_TEST(without_a_daemon_a_client_is_told_so)
{
    unlink(gateway.socket_path);
    pid_t pid = start_client(are_of_daemon);
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0)
        event_base_loop(events, EVLOOP_ONCE);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(told_to_end_it_lets_those_who_are_in_end_by_themselves)
{
    pid_t pid = start_client(are_none);

    run_until(is_one_in);
    gateway_end_softly(&gateway);
    ck_assert_int_eq(reach(), -1); /* nobody new */
    ck_assert_uint_eq(gateway.connection_count, 1);
    close(inside);
    inside = -1;
    run_until(is_nobody_in);
    expect_end(pid);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("gateway_limits");

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, the_daemon_hears_first_who_it_is);
    tcase_add_test(tests, one_that_is_quiet_is_dropped);
    tcase_add_test(tests, one_that_said_goodbye_and_left_is_dropped_though_the_daemon_is_silent);
    tcase_add_test(tests, one_that_only_speaks_no_more_is_kept);
    tcase_add_test(tests, a_kernel_that_takes_nothing_from_it_is_warned_of);
    tcase_add_test(tests, one_that_takes_nothing_is_dropped_long_before_it_would_be_idle);
    tcase_add_test(tests, a_handshake_that_is_not_done_in_time_is_given_up);
    tcase_add_test(tests, the_newest_handshake_displaces_the_oldest);
    tcase_add_test(tests, of_a_crowd_of_many_places_the_oldest_gives_way);
    tcase_add_loop_test(tests, who_is_one_too_many_is_told_so_and_never_reaches_the_daemon, 0, 3);
    tcase_add_test(tests, without_a_daemon_a_client_is_told_so);
    tcase_add_test(tests, told_to_end_it_lets_those_who_are_in_end_by_themselves);
    return suite_run("gateway_limits", tests);
}
