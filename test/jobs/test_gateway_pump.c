#include "jobs/gateway/pump_internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/issue.h"
#include "support/suite.h"

/* A pump between two socket pairs, with a client and a daemon played by the test; nothing blocks. */

static SSL_CTX *server_context, *client_context;
static struct pump *pump;
static SSL *client;
static int network, daemon_end;

static void make_contexts(void)
{
    EVP_PKEY *key SCOPED(scoped_key) = NULL;
    X509 *certificate = NULL;
    struct error err;

    ck_assert(issue_key(ISSUE_EC_P256, &key, &err));
    ck_assert(
        issue_certificate(&(struct issue_wish){ISSUE_SERVER, "gateway", NULL, key, NULL, NULL, 5}, &certificate, &err));
    server_context = SSL_CTX_new(TLS_server_method());
    client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(server_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_mode(client_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    ck_assert_int_eq(SSL_CTX_use_certificate(server_context, certificate), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(server_context, key), 1);
    SSL_CTX_set_num_tickets(server_context, 0);
    X509_free(certificate);
}

static void begin(void)
{
    int outside[2], inside[2];

    signal(SIGPIPE, SIG_IGN); /* as a worker has it */
    make_contexts();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, outside), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, inside), 0);
    pump = memory_new(sizeof *pump);
    pump->tls = SSL_new(server_context);
    client = SSL_new(client_context);
    network = outside[1];
    SSL_set_fd(pump->tls, outside[0]);
    SSL_set_fd(client, network);
    pump->local = inside[0];
    daemon_end = inside[1];
    int is_done = 0;
    for (int i = 0; i < 20 && is_done != 2; i++)
        is_done = (SSL_connect(client) == 1) + (SSL_accept(pump->tls) == 1);
    ck_assert_int_eq(is_done, 2);
}

static void end(void)
{
    close(SSL_get_fd(pump->tls));
    close(network);
    close(pump->local);
    close(daemon_end);
    SSL_free(pump->tls);
    SSL_free(client);
    SSL_CTX_free(server_context);
    SSL_CTX_free(client_context);
    free(pump);
}

static uint8_t byte_at(size_t position)
{
    return (uint8_t)(position * 31 + position / 253);
}

static void fill(uint8_t *bytes, size_t position, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(position + i);
}

static void compare(const uint8_t *bytes, size_t position, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ck_assert_uint_eq(bytes[i], byte_at(position + i));
}

START_TEST(bytes_of_any_size_pass_both_ways_in_their_order)
{
    static const size_t sizes[] = {1, 7, 4096, 65536, 100000};
    static uint8_t bytes[100000];
    size_t size = sizes[_i], total = 3 * size + 200000;
    size_t up_sent = 0, up_came = 0, down_sent = 0, down_came = 0;

    while (up_came < total || down_came < total) {
        size_t part = size < total - up_sent ? size : total - up_sent;
        fill(bytes, up_sent, part);
        int wrote = part == 0 ? 0 : SSL_write(client, bytes, (int)part);
        up_sent += wrote > 0 ? (size_t)wrote : 0;
        part = size < total - down_sent ? size : total - down_sent;
        fill(bytes, down_sent, part);
        ssize_t sent = part == 0 ? 0 : send(daemon_end, bytes, part, 0);
        down_sent += sent > 0 ? (size_t)sent : 0;
        enum pump_state state = pump_turn(pump);
        ck_assert(state == PUMP_WAITS || state == PUMP_RUNS);
        ssize_t came = recv(daemon_end, bytes, size, 0);
        if (came > 0)
            compare(bytes, up_came, (size_t)came);
        up_came += came > 0 ? (size_t)came : 0;
        int got = SSL_read(client, bytes, (int)size);
        if (got > 0)
            compare(bytes, down_came, (size_t)got);
        down_came += got > 0 ? (size_t)got : 0;
    }
    ck_assert_uint_eq(up_came, total);
    ck_assert_uint_eq(down_came, total);
}
END_TEST

/* Until nothing moves any more. */
static size_t push_until_full(bool is_from_client)
{
    static uint8_t bytes[16384];
    size_t total = 0;

    for (int quiet = 0; quiet < 3; quiet++) {
        ssize_t size =
            is_from_client ? SSL_write(client, bytes, sizeof bytes) : send(daemon_end, bytes, sizeof bytes, 0);
        if (size > 0) {
            total += (size_t)size;
            quiet = 0;
        }
        ck_assert_uint_lt(total, 16u << 20); /* the kernel's buffers and ours, not more */
        (void)!pump_turn(pump);
    }
    return total;
}

START_TEST(who_does_not_read_is_not_read_for)
{
    ck_assert_uint_gt(push_until_full(false), PUMP_BUFFER_SIZE);
    ck_assert(pump->wants_network_write);
    ck_assert(!pump->wants_local_read);
    ck_assert_uint_gt(push_until_full(true), PUMP_BUFFER_SIZE); /* the other way goes on by itself */
    ck_assert(pump->wants_local_write);
    ck_assert(!pump->wants_network_read);
    ck_assert_int_eq(pump_turn(pump), PUMP_WAITS);
}
END_TEST

START_TEST(a_client_that_has_said_all_still_gets_its_answer)
{
    char text[64];

    ck_assert_int_eq(SSL_write(client, "question\n", 9), 9);
    SSL_shutdown(client);
    ck_assert_int_eq(pump_turn(pump), PUMP_WAITS);
    ck_assert_int_eq(recv(daemon_end, text, sizeof text, 0), 9);
    ck_assert_int_eq(recv(daemon_end, text, sizeof text, 0), 0); /* its end */
    ck_assert_int_eq(send(daemon_end, "answer\n", 7, 0), 7);
    ck_assert_int_eq(pump_turn(pump), PUMP_WAITS);
    ck_assert_int_eq(SSL_read(client, text, sizeof text), 7);
    shutdown(daemon_end, SHUT_RDWR);
    ck_assert_int_eq(pump_turn(pump), PUMP_OVER);
    ck_assert_int_le(SSL_read(client, text, sizeof text), 0);
    ck_assert_int_eq(SSL_get_error(client, 0), SSL_ERROR_ZERO_RETURN); /* an end in order */
}
END_TEST

START_TEST(the_last_words_of_the_daemon_arrive_before_the_end)
{
    char text[64];

    ck_assert_int_eq(send(daemon_end, "last\n", 5, 0), 5);
    close(daemon_end);
    daemon_end = -1;
    ck_assert_int_eq(SSL_write(client, "for nobody\n", 11), 11);
    ck_assert_int_eq(pump_turn(pump), PUMP_OVER);
    ck_assert_int_eq(SSL_read(client, text, sizeof text), 5);
    ck_assert_int_le(SSL_read(client, text, sizeof text), 0);
    ck_assert_int_eq(SSL_get_shutdown(client), SSL_RECEIVED_SHUTDOWN);
}
END_TEST

START_TEST(an_end_without_a_farewell_breaks_the_connection)
{
    ck_assert_int_eq(SSL_write(client, "half", 4), 4);
    shutdown(network, SHUT_RDWR);
    ck_assert_int_eq(pump_turn(pump), PUMP_BROKEN);
}
END_TEST

START_TEST(what_moves_is_counted_and_what_waits_is_not)
{
    (void)!pump_turn(pump);
    uint64_t before = pump->moves;
    (void)!pump_turn(pump);
    ck_assert_uint_eq(pump->moves, before);
    ck_assert_int_eq(send(daemon_end, "x", 1, 0), 1);
    (void)!pump_turn(pump);
    ck_assert_uint_gt(pump->moves, before);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("gateway_pump");

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_loop_test(tests, bytes_of_any_size_pass_both_ways_in_their_order, 0, 5);
    tcase_add_test(tests, who_does_not_read_is_not_read_for);
    tcase_add_test(tests, a_client_that_has_said_all_still_gets_its_answer);
    tcase_add_test(tests, the_last_words_of_the_daemon_arrive_before_the_end);
    tcase_add_test(tests, an_end_without_a_farewell_breaks_the_connection);
    tcase_add_test(tests, what_moves_is_counted_and_what_waits_is_not);
    return suite_run("gateway_pump", tests);
}
