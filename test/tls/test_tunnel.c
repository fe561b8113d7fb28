#include "pgcoffer/tls/tunnel.h"

#include <pthread.h>
#include <stdatomic.h>

#include "support/suite.h"
#include "tls/fake_server.h"

#define LARGE ((size_t)3 << 20)

/* ---- gateways ---- */

/* TLS from the first byte on; then every byte comes back. */
static void echo(int client)
{
    char bytes[5000];
    SSL_CTX *context = make_server_context();
    SSL *ssl = SSL_new(context);
    int got;

    SSL_set_fd(ssl, client);
    SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    if (SSL_accept(ssl) == 1)
        while ((got = SSL_read(ssl, bytes, sizeof bytes)) > 0)
            SSL_write(ssl, bytes, got);
    if (SSL_get_shutdown(ssl) == SSL_RECEIVED_SHUTDOWN)
        SSL_write(ssl, "end", 3); /* the other half is still open */
    SSL_shutdown(ssl);
    SSL_free(ssl);
    SSL_CTX_free(context);
}

static void answer_in_the_clear(int client)
{
    static const char line[] = "{\"event\":\"error\",\"kind\":\"usage\",\"message\":\"no JSON\"}\n";
    char bytes[512];

    if (recv(client, bytes, sizeof bytes, 0) > 0)
        send(client, line, sizeof line - 1, 0);
}

static void hang_up(int client)
{
    char bytes[512];

    (void)!recv(client, bytes, sizeof bytes, 0);
}

static void hang(int client)
{
    char bytes[512];

    while (recv(client, bytes, sizeof bytes, 0) > 0)
        continue;
}

/* ---- the tunnel in a thread, and its end of the stream here ---- */

struct passage {
    pthread_t thread;
    int local, its;
    atomic_bool is_opened;
    bool is_carried;
    struct error err;
};

static void note_opened(void *context)
{
    struct passage *passage = context;

    passage->is_opened = true;
}

static void *run(void *context)
{
    struct passage *passage = context;

    passage->is_carried = tls_tunnel_run(&scene.config, passage->its, note_opened, passage, &passage->err);
    close(passage->its);
    return NULL;
}

static void begin(struct passage *passage)
{
    int ends[2];

    *passage = (struct passage){0};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    passage->local = ends[0];
    passage->its = ends[1];
    ck_assert_int_eq(pthread_create(&passage->thread, NULL, run, passage), 0);
}

static void finish(struct passage *passage)
{
    pthread_join(passage->thread, NULL);
    close(passage->local);
}

static void fail_with(struct passage *passage, enum error_kind kind, const char *words)
{
    begin(passage);
    finish(passage);
    ck_assert(!passage->is_carried);
    ck_assert_int_eq(passage->err.kind, kind);
    ck_assert_msg(strstr(passage->err.message, words) != NULL, "no \"%s\" in: %s", words, passage->err.message);
    ck_assert_str_ne(passage->err.hint, "");
    ck_assert_ptr_null(strstr(passage->err.hint, "ssl_"));
    ck_assert_ptr_null(strstr(passage->err.hint, "PostgreSQL"));
}

static void use_parties(void (*instead)(int client), struct pki_wish server, struct pki_wish client)
{
    scene.config.is_gateway = true;
    scene.instead = instead;
    use_server(server, NULL);
    use_client(client, NULL);
    set_path(scene.server_authorities, sizeof scene.server_authorities, "clients.crt");
    pki_write_certificate(scene.server_authorities, &scene.root);
}

static void use_gateway(void (*instead)(int client))
{
    use_parties(instead, (struct pki_wish){.issuer = &scene.root}, (struct pki_wish){.issuer = &scene.root});
}

static void *send_large(void *context)
{
    const struct passage *passage = context;

    for (size_t sent = 0; sent < LARGE;) {
        char bytes[7001];
        size_t size = LARGE - sent < sizeof bytes ? LARGE - sent : sizeof bytes;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (char)((sent + i) * 31 >> 3);
        if (send(passage->local, bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
            break; /* the receiver misses them */
        sent += size;
    }
    shutdown(passage->local, SHUT_WR);
    return NULL;
}

START_TEST(every_byte_comes_and_goes_and_one_half_may_end_before_the_other)
{
    struct passage passage;
    pthread_t sender;
    size_t received = 0, wrong = 0;
    char bytes[4096];
    ssize_t got;

    use_gateway(echo);
    scene.most_version = _i == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    start_server();
    begin(&passage);
    ck_assert_int_eq(pthread_create(&sender, NULL, send_large, &passage), 0);
    while (received < LARGE && (got = recv(passage.local, bytes, sizeof bytes, 0)) > 0)
        for (ssize_t i = 0; i < got && received < LARGE; i++, received++)
            wrong += bytes[i] != (char)(received * 31 >> 3);
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_eq(received, LARGE);
    pthread_join(sender, NULL);
    while (recv(passage.local, bytes, sizeof bytes, 0) > 0)
        continue;
    finish(&passage);
    ck_assert_msg(passage.is_carried, "%s", passage.err.message);
}
END_TEST

START_TEST(it_ends_when_nobody_is_left_to_read)
{
    struct passage passage;
    char byte;

    use_gateway(echo);
    start_server();
    begin(&passage);
    ck_assert_int_eq(send(passage.local, "x", 1, 0), 1);
    ck_assert_int_eq(recv(passage.local, &byte, 1, 0), 1);
    shutdown(passage.local, SHUT_RDWR);
    finish(&passage);
    ck_assert(passage.is_carried);
}
END_TEST

START_TEST(a_gateway_of_another_name_hears_nothing)
{
    struct passage passage;

    use_parties(echo, (struct pki_wish){.issuer = &scene.root, .names = "DNS:elsewhere,IP:127.0.0.2"},
                (struct pki_wish){.issuer = &scene.root});
    start_server();
    fail_with(&passage, ERROR_TLS, "the gateway's certificate is not for host \"localhost\"");
    ck_assert(!passage.is_opened);
}
END_TEST

START_TEST(a_gateway_of_an_unknown_ca_hears_nothing)
{
    struct pki_pair other = pki_authority("Other Root");
    struct passage passage;

    use_parties(echo, (struct pki_wish){.issuer = &other}, (struct pki_wish){.issuer = &scene.root});
    start_server();
    fail_with(&passage, ERROR_TLS, "Other Root");
    ck_assert(!passage.is_opened);
    pki_done(&other);
}
END_TEST

START_TEST(a_refusal_of_the_client_is_told_in_its_words)
{
    struct pki_pair other = pki_authority("Other Root");
    struct passage passage;

    use_parties(echo, (struct pki_wish){.issuer = &scene.root}, (struct pki_wish){.issuer = &other});
    scene.most_version = _i == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    start_server();
    fail_with(&passage, ERROR_TLS, "the gateway refused our certificate");
    ck_assert_int_eq(passage.is_opened, _i == 1); /* of TLS 1.3 it comes behind the handshake */
    ck_assert_msg(strstr(passage.err.hint, "tls_ca_file of [pgcoffer] on the backup host") != NULL, "%s",
                  passage.err.hint);
    pki_done(&other);
}
END_TEST

START_TEST(without_a_ca_nobody_is_asked)
{
    struct passage passage;

    use_gateway(echo);
    start_server();
    scene.config.settings.tls_ca_file[0] = '\0';
    fail_with(&passage, ERROR_CONFIG, "tls_ca_file");
    ck_assert(!passage.is_opened);
}
END_TEST

START_TEST(the_client_s_own_files_are_looked_at_first)
{
    struct passage passage;

    use_gateway(echo);
    start_server();
    ck_assert_int_eq(chmod(scene.config.settings.tls_key_file, 0644), 0);
    fail_with(&passage, ERROR_TLS, "repl.key");
    ck_assert(!passage.is_opened);
}
END_TEST

START_TEST(what_is_no_gateway_is_told_apart)
{
    struct passage passage;

    use_gateway(answer_in_the_clear);
    start_server();
    fail_with(&passage, ERROR_TLS, "does not speak TLS");
    stop_server();
    scene.instead = hang_up;
    start_server();
    fail_with(&passage, ERROR_DAEMON, "does not finish the TLS handshake");
    stop_server();
    fail_with(&passage, ERROR_DAEMON, "takes no connection");
    scene.instead = hang;
    scene.config.settings.connect_timeout = 1;
    start_server();
    fail_with(&passage, ERROR_DAEMON, "no answer in time");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("tunnel");

    tcase_add_checked_fixture(tests, make_scene, forget_scene);
    tcase_add_loop_test(tests, every_byte_comes_and_goes_and_one_half_may_end_before_the_other, 0, 2);
    tcase_add_test(tests, it_ends_when_nobody_is_left_to_read);
    tcase_add_test(tests, a_gateway_of_another_name_hears_nothing);
    tcase_add_test(tests, a_gateway_of_an_unknown_ca_hears_nothing);
    tcase_add_loop_test(tests, a_refusal_of_the_client_is_told_in_its_words, 0, 2);
    tcase_add_test(tests, without_a_ca_nobody_is_asked);
    tcase_add_test(tests, the_client_s_own_files_are_looked_at_first);
    tcase_add_test(tests, what_is_no_gateway_is_told_apart);
    return suite_run("tls tunnel", tests);
}
