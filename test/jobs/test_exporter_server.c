#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jobs/exporter/server_internal.h"
#include "jobs/gateway_scene.h"
#include "pgcoffer/base/clock.h"
#include "support/suite.h"

/*
 * An exporter in this process, with clients in processes of their own and a supervisor played by the test. What it
 * would leave behind at its end a sanitizer finds here: its own process has no right left to look for it.
 */

#define ASKING      "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define ASKING_MUCH "GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define MUCH        ((size_t)16 * 1024 * 1024) /* more than the sockets of both sides hold */

static struct exporter_limits limits;
static struct exporter exporter;
static struct event_base *events;
static struct event *answer, *tick;
static bool is_silent, tells_much; /* the supervisor */
static size_t told;                /* STATEs */
static in_port_t port;

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context;
}

static void on_answer(evutil_socket_t fd, short what, void *context)
{
    char *much SCOPED(scoped_free) = memory_text("%0*d", tells_much ? (int)MUCH : 1, 0);
    json_t *item SCOPED(scoped_json) =
        json_pack("{s:s, s:{s:{s:s}}}", "event", "item", "data", "server", "server", much);
    json_t *state SCOPED(scoped_json) =
        json_pack("{s:s, s:{s:s}}", "event", "state", "data", "now", "2026-11-22T20:00:00Z");

    (void)fd;
    (void)what;
    (void)context;
    exporter_take(&exporter, item);
    if (is_silent)
        return;
    exporter_take(&exporter, state);
    told++;
}

static void ask(void *context)
{
    (void)context;
    evtimer_add(answer, &(struct timeval){0});
}

static void begin(void)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    struct error err;

    signal(SIGPIPE, SIG_IGN);
    scene_begin();
    limits = exporter_usual_limits;
    exporter = (struct exporter){.host = "localhost", .is_https = true, .ask = ask};
    exporter.port = (struct port){.least_version = "TLSv1.3", .demands_client = true};
    is_silent = tells_much = false;
    told = 0;
    events = event_base_new();
    answer = evtimer_new(events, on_answer, NULL);
    tick = event_new(events, -1, EV_PERSIST, on_tick, NULL); /* what is awaited may be no event of this process */
    event_add(tick, &(struct timeval){.tv_usec = 20000});
    exporter_begin(&exporter, events, &limits);
    ck_assert_msg(port_bind(&exporter_words, "127.0.0.1", 0, exporter.port.sockets, &exporter.port.socket_count, &err),
                  "%s", err.message);
    json_t *files SCOPED(scoped_json) =
        json_pack("{s:s, s:s, s:s, s:s}", "event", "files", "certificate", scene_server.certificate_pem, "key",
                  scene_server.key_pem, "authorities", scene_authority.certificate_pem);
    port_take_files(&exporter.port, files);
    ck_assert(exporter.port.is_listening);
    ck_assert_int_eq(getsockname(exporter.port.sockets[0], (struct sockaddr *)&address, &size), 0);
    port = address.sin_port;
}

static void end(void)
{
    exporter_end(&exporter);
    event_free(answer);
    event_free(tick);
    event_base_free(events);
    scene_end();
}

/* ---- clients ---- */

static int reach(void)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = port};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Asks on one connection, over and over, as often as there are answers; how many there were. */
static int ask_for_ever(SSL *tls, int most)
{
    char bytes[4096];
    int count = 0;

    while (tls != NULL && count < most && SSL_write(tls, ASKING, sizeof ASKING - 1) > 0 &&
           SSL_read(tls, bytes, sizeof bytes) > 0)
        count++;
    return count;
}

/* Their exit status is how many answers they got. */
enum client { ASKS_FOR_EVER, ASKS_BEFORE_AND_AFTER_A_STOP, ASKS_NOTHING, ASKS_AND_DOES_NOT_READ };
#define MOST_ANSWERS 200

static pid_t start_client(enum client client)
{
    pid_t pid = fork();
    int count = 0;

    if (pid != 0)
        return pid;
    alarm(30);
    close(exporter.port.sockets[0]);
    SSL *tls = scene_shake_hands(reach());
    if (client == ASKS_FOR_EVER)
        _exit(ask_for_ever(tls, MOST_ANSWERS));
    if (client == ASKS_BEFORE_AND_AFTER_A_STOP) {
        count = ask_for_ever(tls, 1);
        raise(SIGSTOP);
        _exit(count + ask_for_ever(tls, 1));
    }
    if (client == ASKS_AND_DOES_NOT_READ && tls != NULL)
        SSL_write(tls, ASKING_MUCH, sizeof ASKING_MUCH - 1);
    for (;;)
        pause();
}

static void kill_client(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* Runs the exporter until `is_reached`; at most 20 s. */
static void run_until(bool (*is_reached)(void))
{
    int64_t deadline = clock_monotonic() + INT64_C(20000000);

    while (!is_reached()) {
        ck_assert_msg(clock_monotonic() < deadline, "it did not come to that");
        event_base_loop(events, EVLOOP_ONCE);
    }
}

static size_t count_that(enum visitor_state state)
{
    size_t count = 0;

    for (const struct visitor *at = exporter.first; at != NULL; at = at->next)
        count += at->state == state;
    return count;
}

static pid_t awaited;
static int status;

static bool has_ended(void)
{
    return waitpid(awaited, &status, WNOHANG) == awaited;
}

static int answers_of(pid_t pid)
{
    awaited = pid;
    run_until(has_ended);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool is_told_thrice(void)
{
    return told >= 3;
}

static bool is_one_idle(void)
{
    return count_that(VISITOR_IDLE) == 1;
}

static bool asks_one(void)
{
    return count_that(VISITOR_ASKS) == 1;
}

static bool waits_one(void)
{
    return count_that(VISITOR_WAITS) == 1 && exporter.arriving != NULL;
}

static bool takes_one(void)
{
    return count_that(VISITOR_TAKES) == 1 && count_that(VISITOR_WAITS) == 0;
}

static bool is_told_twice_and_takes_one(void)
{
    return told == 2 && takes_one() && exporter.visitor_count == 1;
}

static bool shakes_one(void)
{
    return count_that(VISITOR_SHAKES_HANDS) == 1;
}

static bool is_one_refused(void)
{
    return count_that(VISITOR_REFUSED) == 1;
}

static void send_garbage(int fd)
{
    static const char garbage[] = "GET / HTTP/1.0\r\n\r\n";

    ck_assert_int_eq(send(fd, garbage, sizeof garbage - 1, 0), sizeof garbage - 1);
}

/* ---- tests ---- */

START_TEST(a_certificate_that_ends_ends_the_connection_that_was_kept)
{
    pid_t pid = start_client(ASKS_FOR_EVER);

    run_until(is_told_thrice);
    X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(SSL_CTX_get_cert_store(exporter.port.tls)),
                               time(NULL) + (time_t)10 * 86400);
    int answers = answers_of(pid);
    ck_assert_int_ge(answers, 2);
    ck_assert_int_lt(answers, MOST_ANSWERS);
}
END_TEST

START_TEST(who_is_refused_takes_no_place_of_who_is_in)
{
    int strangers[20];

    limits.handshakes = 4;
    limits.visitors = 1;
    pid_t pid = start_client(ASKS_BEFORE_AND_AFTER_A_STOP);
    run_until(is_one_idle);
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        strangers[i] = reach();
        send_garbage(strangers[i]);
        uint64_t before = exporter.port.handshakes_refused;
        while (exporter.port.handshakes_refused == before)
            event_base_loop(events, EVLOOP_ONCE);
        ck_assert_uint_le(exporter.handshake_count, limits.handshakes);
        ck_assert_uint_eq(exporter.visitor_count, 1);
    }
    ck_assert_uint_gt(count_that(VISITOR_REFUSED), 0);
    while (waitpid(pid, &status, WUNTRACED) == pid && !WIFSTOPPED(status))
        continue;
    kill(pid, SIGCONT);
    ck_assert_int_eq(answers_of(pid), 2);
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        close(strangers[i]);
}
END_TEST

START_TEST(who_takes_too_much_slowly_gives_way_to_the_next)
{
    limits.unsent_bytes = MUCH + MUCH / 2;
    tells_much = true;
    pid_t first = start_client(ASKS_AND_DOES_NOT_READ);
    run_until(takes_one);
    pid_t second = start_client(ASKS_AND_DOES_NOT_READ);
    run_until(is_told_twice_and_takes_one);
    ck_assert_uint_le(exporter.unsent_bytes, limits.unsent_bytes);
    kill_client(first);
    kill_client(second);
}
END_TEST

START_TEST(a_handshake_that_is_displaced_is_one_that_was_refused)
{
    limits.handshakes = 1;
    int first = reach();
    run_until(shakes_one);
    int second = reach();
    while (exporter.port.handshakes_refused == 0)
        event_base_loop(events, EVLOOP_ONCE);
    ck_assert_uint_eq(exporter.handshake_count, 1);
    ck_assert_uint_eq(count_that(VISITOR_SHAKES_HANDS), 1);
    close(first);
    close(second);
}
END_TEST

/* What is left behind is found at the end of this process. */
START_TEST(it_ends_whatever_is_going_on)
{
    pid_t clients[4];
    int refused = reach(), half;

    send_garbage(refused);
    run_until(is_one_refused);
    half = reach();
    run_until(shakes_one);
    clients[0] = start_client(ASKS_BEFORE_AND_AFTER_A_STOP);
    run_until(is_one_idle);
    clients[1] = start_client(ASKS_NOTHING);
    run_until(asks_one);
    tells_much = true;
    clients[2] = start_client(ASKS_AND_DOES_NOT_READ);
    run_until(takes_one);
    is_silent = true;
    clients[3] = start_client(ASKS_AND_DOES_NOT_READ);
    run_until(waits_one);
    ck_assert_uint_eq(exporter.visitor_count, 4);
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++)
        kill_client(clients[i]);
    close(half);
    close(refused);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("exporter_server");

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, a_certificate_that_ends_ends_the_connection_that_was_kept);
    tcase_add_test(tests, who_is_refused_takes_no_place_of_who_is_in);
    tcase_add_test(tests, who_takes_too_much_slowly_gives_way_to_the_next);
    tcase_add_test(tests, a_handshake_that_is_displaced_is_one_that_was_refused);
    tcase_add_test(tests, it_ends_whatever_is_going_on);
    return suite_run("exporter_server", tests);
}
