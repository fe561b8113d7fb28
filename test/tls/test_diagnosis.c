#include "pgcoffer/tls/diagnosis.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/tls/probe.h"
#include "support/suite.h"
#include "tls/pki.h"

/* libpq's words for the two directions of refusal, as version 15 has them. */
#define SERVER_REFUSED_BY_US "SSL error: certificate verify failed"
#define NAME_REFUSED_BY_US   "server certificate for \"x\" does not match host name \"localhost\""
#define WE_ARE_REFUSED       "SSL error: tlsv1 alert unknown ca"

/* A child that speaks the first steps of PostgreSQL's protocol: SSLRequest, one byte of answer, TLS. */
static struct scene {
    char folder[64];
    char server_certificate[128], server_key[128], server_authorities[128];
    char answer;
    int most_version;
    pid_t child;
    struct pki_pair root;
    struct server_config config;
} scene;

static void set_path(char *text, size_t size, const char *name)
{
    snprintf(text, size, "%s/%s", scene.folder, name);
}

static void make_scene(void)
{
    struct settings *settings = &scene.config.settings;

    scene = (struct scene){.answer = 'S'};
    pki_scratch(scene.folder);
    scene.root = pki_authority("Lab Root");
    snprintf(scene.config.name, sizeof scene.config.name, "primary");
    snprintf(settings->host, sizeof settings->host, "localhost");
    snprintf(settings->hostaddr, sizeof settings->hostaddr, "127.0.0.1");
    snprintf(settings->tls_mode, sizeof settings->tls_mode, "verify-full");
    settings->connect_timeout = 10;
    set_path(settings->tls_ca_file, CONFIG_TEXT_SIZE, "root.crt");
    pki_write_certificate(settings->tls_ca_file, &scene.root);
    set_path(scene.server_certificate, sizeof scene.server_certificate, "server.crt");
    set_path(scene.server_key, sizeof scene.server_key, "server.key");
}

static void forget_scene(void)
{
    if (scene.child > 0) {
        kill(scene.child, SIGKILL);
        waitpid(scene.child, NULL, 0);
    }
    pki_done(&scene.root);
}

static void serve_one(SSL_CTX *context, int client)
{
    char request[8];
    SSL *ssl = SSL_new(context);

    if (recv(client, request, sizeof request, MSG_WAITALL) == 8 && send(client, &scene.answer, 1, 0) == 1 &&
        scene.answer == 'S') {
        SSL_set_fd(ssl, client);
        if (SSL_accept(ssl) == 1)
            (void)!SSL_read(ssl, request, 1);
    }
    SSL_free(ssl);
    close(client);
}

static void serve(int listener)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (scene.answer == 'S') {
        SSL_CTX_use_certificate_chain_file(context, scene.server_certificate);
        SSL_CTX_use_PrivateKey_file(context, scene.server_key, SSL_FILETYPE_PEM);
        SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(context, scene.most_version);
        if (scene.most_version == TLS1_1_VERSION)
            SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
        if (scene.server_authorities[0] != '\0') {
            SSL_CTX_load_verify_locations(context, scene.server_authorities, NULL);
            SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(scene.server_authorities));
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        }
    }
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client >= 0)
            serve_one(context, client);
    }
}

/* Starts the child with what the scene says. */
static void start_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    scene.config.settings.port = ntohs(address.sin_port);
    scene.child = fork();
    if (scene.child == 0) {
        signal(SIGPIPE, SIG_IGN);
        serve(listener);
        _exit(0);
    }
    close(listener);
}

static void use_server(struct pki_wish wish)
{
    struct pki_pair pair = pki_make(wish);

    pki_write_certificate(scene.server_certificate, &pair);
    pki_write_key(scene.server_key, &pair, NULL);
    pki_done(&pair);
}

static void use_client(struct pki_wish wish)
{
    struct settings *settings = &scene.config.settings;
    struct pki_pair pair = pki_make(wish);

    set_path(settings->tls_cert_file, CONFIG_TEXT_SIZE, "repl.crt");
    set_path(settings->tls_key_file, CONFIG_TEXT_SIZE, "repl.key");
    pki_write_certificate(settings->tls_cert_file, &pair);
    pki_write_key(settings->tls_key_file, &pair, NULL);
    pki_done(&pair);
}

static struct error diagnose(const char *libpq_words)
{
    struct error err = {.kind = ERROR_SERVER, .message = "as it was"};

    start_server();
    ck_assert(!tls_diagnose(&scene.config, libpq_words, &err));
    return err;
}

static void expect(const struct error *err, const char *words)
{
    ck_assert_int_eq(err->kind, ERROR_TLS);
    ck_assert_msg(strstr(err->message, words) != NULL, "\"%s\" has no \"%s\"", err->message, words);
    ck_assert_uint_gt(strlen(err->hint), 0);
}

START_TEST(an_expired_server_certificate_is_named_with_its_date)
{
    use_server((struct pki_wish){
        .common_name = "db1", .names = "DNS:localhost", .issuer = &scene.root, .from_days = -9, .until_days = -3});
    struct error err = diagnose(SERVER_REFUSED_BY_US);
    expect(&err, "the server's certificate (subject \"CN=db1,O=Lab\", issuer \"CN=Lab Root,O=Lab\") expired on 20");
    expect(&err, SERVER_REFUSED_BY_US);
}
END_TEST

START_TEST(a_server_certificate_of_the_future_points_at_the_clock)
{
    use_server((struct pki_wish){
        .common_name = "db1", .names = "DNS:localhost", .issuer = &scene.root, .from_days = 3, .until_days = 9});
    struct error err = diagnose(SERVER_REFUSED_BY_US);
    expect(&err, "is not valid before 20");
}
END_TEST

START_TEST(a_server_certificate_of_an_unknown_ca_names_it_and_those_we_trust)
{
    struct pki_pair other = pki_authority("Other Root");

    use_server((struct pki_wish){.common_name = "db1", .names = "DNS:localhost", .issuer = &other});
    struct error err = diagnose(SERVER_REFUSED_BY_US);
    expect(&err, "was issued by CA \"CN=Other Root,O=Lab\"");
    expect(&err, "it holds \"CN=Lab Root,O=Lab\"");
    expect(&err, scene.config.settings.tls_ca_file);
    pki_done(&other);
}
END_TEST

START_TEST(a_self_signed_server_certificate_is_told_as_such)
{
    use_server((struct pki_wish){.common_name = "db1", .names = "DNS:localhost"});
    struct error err = diagnose(SERVER_REFUSED_BY_US);
    expect(&err, "is self-signed and not in tls_ca_file");
}
END_TEST

START_TEST(a_ca_of_the_same_name_with_another_key_is_recognised)
{
    struct pki_pair other = pki_authority("Lab Root");

    use_server((struct pki_wish){.common_name = "db1", .names = "DNS:localhost", .issuer = &other});
    struct error err = diagnose(SERVER_REFUSED_BY_US);
    expect(&err, "was signed by another key than that of \"CN=Lab Root,O=Lab\"");
    pki_done(&other);
}
END_TEST

START_TEST(a_server_certificate_for_clients_lacks_a_usage)
{
    use_server((struct pki_wish){
        .common_name = "db1", .names = "DNS:localhost", .usage = "clientAuth", .issuer = &scene.root});
    struct error err = diagnose(SERVER_REFUSED_BY_US);
    expect(&err, "lacks serverAuth");
}
END_TEST

START_TEST(a_wrong_name_lists_the_names_found)
{
    use_server((struct pki_wish){.common_name = "db9", .names = "DNS:db9.example.com,DNS:db9", .issuer = &scene.root});
    struct error err = diagnose(NAME_REFUSED_BY_US);
    expect(&err, "not for host \"localhost\": its names are DNS:db9.example.com, DNS:db9");
}
END_TEST

START_TEST(a_revoked_server_certificate_names_the_list)
{
    struct settings *settings = &scene.config.settings;
    struct pki_pair pair =
        pki_make((struct pki_wish){.common_name = "db1", .names = "DNS:localhost", .issuer = &scene.root});

    pki_write_certificate(scene.server_certificate, &pair);
    pki_write_key(scene.server_key, &pair, NULL);
    set_path(settings->tls_crl_file, CONFIG_TEXT_SIZE, "root.crl");
    pki_write_list(settings->tls_crl_file, &scene.root, pair.certificate, 10);
    struct error err = diagnose(SERVER_REFUSED_BY_US);
    expect(&err, "was revoked by its CA, says tls_crl_file");
    pki_done(&pair);
}
END_TEST

START_TEST(a_list_of_another_ca_is_not_enough)
{
    struct settings *settings = &scene.config.settings;
    struct pki_pair other = pki_authority("Other Root");

    use_server((struct pki_wish){.common_name = "db1", .names = "DNS:localhost", .issuer = &scene.root});
    set_path(settings->tls_crl_file, CONFIG_TEXT_SIZE, "other.crl");
    pki_write_list(settings->tls_crl_file, &other, NULL, 10);
    struct error err = diagnose(SERVER_REFUSED_BY_US);
    expect(&err, "holds no revocation list of CA \"CN=Lab Root,O=Lab\"");
    pki_done(&other);
}
END_TEST

/* A server that knows only `authority`, with whatever version. */
static void use_good_server(const struct pki_pair *authority, int most_version)
{
    use_server((struct pki_wish){.common_name = "db1", .names = "DNS:localhost", .issuer = &scene.root});
    set_path(scene.server_authorities, sizeof scene.server_authorities, "clients.crt");
    pki_write_certificate(scene.server_authorities, authority);
    scene.most_version = most_version;
}

START_TEST(our_certificate_of_an_unknown_ca_names_those_the_server_accepts)
{
    struct pki_pair other = pki_authority("Other Root");

    use_client((struct pki_wish){.common_name = "repl", .issuer = &other});
    use_good_server(&scene.root, _i == 0 ? TLS1_2_VERSION : TLS1_3_VERSION);
    struct error err = diagnose(WE_ARE_REFUSED);
    expect(&err, "repl.crt\" (subject \"CN=repl,O=Lab\", issuer \"CN=Other Root,O=Lab\", valid until 20");
    expect(&err, "it accepts certificates of \"CN=Lab Root,O=Lab\"");
    pki_done(&other);
}
END_TEST

START_TEST(our_self_signed_certificate_is_told_as_such)
{
    use_client((struct pki_wish){.common_name = "repl"});
    use_good_server(&scene.root, 0);
    struct error err = diagnose(WE_ARE_REFUSED);
    expect(&err, "it is self-signed; the server accepts certificates of \"CN=Lab Root,O=Lab\"");
}
END_TEST

START_TEST(our_certificate_for_servers_lacks_a_usage)
{
    use_client((struct pki_wish){.common_name = "repl", .usage = "serverAuth", .issuer = &scene.root});
    use_good_server(&scene.root, 0);
    struct error err = diagnose("SSL error: sslv3 alert unsupported certificate");
    expect(&err, "lacks clientAuth");
}
END_TEST

START_TEST(our_expired_certificate_is_named)
{
    use_client((struct pki_wish){.common_name = "repl", .issuer = &scene.root, .from_days = -9, .until_days = -3});
    use_good_server(&scene.root, 0);
    struct error err = diagnose("SSL error: sslv3 alert certificate expired");
    expect(&err, "\"CN=repl,O=Lab\" expired on 20");
}
END_TEST

START_TEST(a_refusal_that_does_not_come_again_is_told_from_libpqs_words)
{
    use_client((struct pki_wish){.common_name = "repl", .issuer = &scene.root});
    use_good_server(&scene.root, 0);
    struct error err = diagnose("SSL error: sslv3 alert certificate expired");
    expect(&err, "ssl_crl_file) has expired");
}
END_TEST

START_TEST(a_server_of_old_versions_is_told_by_its_version)
{
    use_server((struct pki_wish){.common_name = "db1", .names = "DNS:localhost", .issuer = &scene.root});
    scene.most_version = TLS1_1_VERSION;
    struct error err = diagnose("SSL error: unsupported protocol");
    expect(&err, "only up to TLSv1.1");
}
END_TEST

START_TEST(a_server_without_tls_is_told_as_such)
{
    scene.answer = 'N';
    struct error err = diagnose("server does not support SSL, but SSL was required");
    expect(&err, "does not speak TLS, and nothing was sent after that");
}
END_TEST

START_TEST(another_service_is_told_by_its_answer)
{
    scene.answer = 'H';
    struct error err = diagnose("received invalid response to SSL negotiation: H");
    expect(&err, "is not PostgreSQL: it answered byte 0x48");
}
END_TEST

START_TEST(what_is_not_about_tls_stays_as_it_was)
{
    use_server((struct pki_wish){.common_name = "db1", .names = "DNS:localhost", .issuer = &scene.root});
    struct error err = diagnose("FATAL:  no pg_hba.conf entry for host \"::1\", SSL encryption");
    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert_str_eq(err.message, "as it was");
}
END_TEST

START_TEST(a_probe_of_a_good_server_is_accepted)
{
    struct tls_probe_request request = {.server = &scene.config, .deadline = clock_monotonic() + 10000000};
    struct tls_probe probe;

    use_client((struct pki_wish){.common_name = "repl", .issuer = &scene.root});
    use_good_server(&scene.root, _i == 0 ? TLS1_2_VERSION : TLS1_3_VERSION);
    start_server();
    tls_probe_run(&request, &probe);
    ck_assert_int_eq(probe.outcome, TLS_PROBE_ACCEPTED);
    ck_assert_str_eq(probe.version, _i == 0 ? "TLSv1.2" : "TLSv1.3");
    ck_assert(probe.is_certificate_wanted);
    ck_assert(!probe.is_name_wrong);
    ck_assert_int_ge(sk_X509_num(probe.chain), 1);
    ck_assert_int_eq(sk_X509_NAME_num(probe.accepted), 1);
    tls_probe_done(&probe);
}
END_TEST

START_TEST(a_silent_peer_is_given_up_at_the_deadline)
{
    struct tls_probe_request request = {.server = &scene.config, .deadline = clock_monotonic() + 200000};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct tls_probe probe;

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    scene.config.settings.port = ntohs(address.sin_port);
    tls_probe_run(&request, &probe);
    ck_assert_int_eq(probe.outcome, TLS_PROBE_UNREACHABLE);
    ck_assert_uint_gt(strlen(probe.words), 0);
    tls_probe_done(&probe);
    close(listener);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("diagnosis");

    tcase_add_checked_fixture(tests, make_scene, forget_scene);
    tcase_add_test(tests, an_expired_server_certificate_is_named_with_its_date);
    tcase_add_test(tests, a_server_certificate_of_the_future_points_at_the_clock);
    tcase_add_test(tests, a_server_certificate_of_an_unknown_ca_names_it_and_those_we_trust);
    tcase_add_test(tests, a_self_signed_server_certificate_is_told_as_such);
    tcase_add_test(tests, a_ca_of_the_same_name_with_another_key_is_recognised);
    tcase_add_test(tests, a_server_certificate_for_clients_lacks_a_usage);
    tcase_add_test(tests, a_wrong_name_lists_the_names_found);
    tcase_add_test(tests, a_revoked_server_certificate_names_the_list);
    tcase_add_test(tests, a_list_of_another_ca_is_not_enough);
    tcase_add_loop_test(tests, our_certificate_of_an_unknown_ca_names_those_the_server_accepts, 0, 2);
    tcase_add_test(tests, our_self_signed_certificate_is_told_as_such);
    tcase_add_test(tests, our_certificate_for_servers_lacks_a_usage);
    tcase_add_test(tests, our_expired_certificate_is_named);
    tcase_add_test(tests, a_refusal_that_does_not_come_again_is_told_from_libpqs_words);
    tcase_add_test(tests, a_server_of_old_versions_is_told_by_its_version);
    tcase_add_test(tests, a_server_without_tls_is_told_as_such);
    tcase_add_test(tests, another_service_is_told_by_its_answer);
    tcase_add_test(tests, what_is_not_about_tls_stays_as_it_was);
    tcase_add_loop_test(tests, a_probe_of_a_good_server_is_accepted, 0, 2);
    tcase_add_test(tests, a_silent_peer_is_given_up_at_the_deadline);
    return suite_run("diagnosis", tests);
}
