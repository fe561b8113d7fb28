#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "jobs/check_scene.h"

/* A child that speaks the first steps of PostgreSQL's protocol: SSLRequest, one byte of answer, TLS. */
static struct stage {
    char certificate[CONFIG_TEXT_SIZE], key[CONFIG_TEXT_SIZE], authorities[CONFIG_TEXT_SIZE];
    const char *answer; /* to the request for TLS; NULL: yes */
    bool is_silent;
    int least_version, most_version;
    const char *ciphers;
    pid_t child;
} stage;

static void begin(void)
{
    stage = (struct stage){0};
    scene_make();
    scene_path(stage.certificate, "server.crt");
    scene_path(stage.key, "served.secret"); /* no name a key has: it is not the client's */
}

static void end(void)
{
    if (stage.child > 0) {
        kill(stage.child, SIGKILL);
        waitpid(stage.child, NULL, 0);
    }
    pki_done(&scene.root);
}

static void talk_tls(SSL_CTX *context, int client)
{
    SSL *ssl = SSL_new(context);
    char bytes[256];

    SSL_set_fd(ssl, client);
    if (SSL_accept(ssl) == 1) {
        while (SSL_read(ssl, bytes, sizeof bytes) > 0)
            continue;
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
}

static void serve_one(SSL_CTX *context, int client)
{
    char request[8];

    if (recv(client, request, sizeof request, MSG_WAITALL) == 8) {
        if (stage.is_silent)
            (void)!recv(client, request, sizeof request, 0);
        else if (stage.answer != NULL)
            (void)!send(client, stage.answer, strlen(stage.answer), 0);
        else if (send(client, "S", 1, 0) == 1)
            talk_tls(context, client);
    }
    close(client);
}

static SSL_CTX *make_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    SSL_CTX_use_certificate_chain_file(context, stage.certificate);
    SSL_CTX_use_PrivateKey_file(context, stage.key, SSL_FILETYPE_PEM);
    SSL_CTX_set_min_proto_version(context, stage.least_version == 0 ? TLS1_2_VERSION : stage.least_version);
    SSL_CTX_set_max_proto_version(context, stage.most_version);
    if (stage.ciphers != NULL)
        SSL_CTX_set_cipher_list(context, stage.ciphers);
    if (stage.authorities[0] != '\0') {
        SSL_CTX_load_verify_locations(context, stage.authorities, NULL);
        SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(stage.authorities));
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    return context;
}

static void start_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    scene.config.settings.port = ntohs(address.sin_port);
    stage.child = fork();
    if (stage.child == 0) {
        signal(SIGPIPE, SIG_IGN);
        SSL_CTX *context = make_context();
        for (;;)
            serve_one(context, accept(listener, NULL, NULL));
    }
    close(listener);
}

static void serve_pair(const struct pki_pair *pair)
{
    pki_write_certificate(stage.certificate, pair);
    pki_write_key(stage.key, pair, NULL);
}

static void serve_certificate(struct pki_wish wish)
{
    struct pki_pair pair = pki_make(wish);

    serve_pair(&pair);
    pki_done(&pair);
}

static void serve_good(void)
{
    serve_certificate((struct pki_wish){
        .common_name = "localhost", .names = "DNS:localhost", .usage = "serverAuth", .issuer = &scene.root});
}

static void accept_clients_of(const struct pki_pair *authority)
{
    pki_write_certificate(scene_path(stage.authorities, "clients.crt"), authority);
}

static void use_client_of(const struct pki_pair *issuer)
{
    struct pki_pair pair = pki_make((struct pki_wish){.common_name = "repl", .usage = "clientAuth", .issuer = issuer});

    scene_use_client(&pair, NULL);
    pki_done(&pair);
}

static void look(void)
{
    start_server();
    scene_look(CHECK_LEVEL_HANDSHAKE);
}

START_TEST(a_good_server_gives_nothing_but_passes)
{
    stage.most_version = _i == 0 ? 0 : TLS1_2_VERSION;
    serve_good();
    accept_clients_of(&scene.root);
    use_client_of(&scene.root);
    look();
    scene_expect_only(CHECK_ID_NOTHING);
    scene_expect(CHECK_ID_server_connect, CHECK_PASS, "127.0.0.1 port", NULL);
    scene_expect(CHECK_ID_protocol_handshake, CHECK_PASS, _i == 0 ? "TLSv1.3" : "TLSv1.2", NULL);
    scene_expect(CHECK_ID_chain_server, CHECK_PASS, "Lab Root", NULL);
    scene_expect(CHECK_ID_name_match, CHECK_PASS, "\"localhost\" is among DNS:localhost", NULL);
    scene_expect(CHECK_ID_protocol_versions, CHECK_PASS, "are refused", NULL);
    scene_expect(CHECK_ID_protocol_ciphers, CHECK_PASS, "are refused", NULL);
    scene_expect(CHECK_ID_identity_authorities, CHECK_PASS, "Lab Root", NULL);
    scene_expect(CHECK_ID_identity_accepted, CHECK_PASS, _i == 0 ? "TLSv1.2 and TLSv1.3" : "with TLSv1.2", NULL);
}
END_TEST

START_TEST(a_server_of_the_newest_version_alone_is_fine)
{
    stage.least_version = TLS1_3_VERSION;
    serve_good();
    accept_clients_of(&scene.root);
    use_client_of(&scene.root);
    look();
    scene_expect_only(CHECK_ID_NOTHING);
    scene_expect(CHECK_ID_identity_accepted, CHECK_PASS, "with TLSv1.3", NULL);
}
END_TEST

START_TEST(without_a_client_certificate_none_is_missed)
{
    serve_good();
    if (_i == 0)
        accept_clients_of(&scene.root);
    look();
    scene_expect_only(CHECK_ID_NOTHING);
    scene_expect(CHECK_ID_identity_accepted, CHECK_SKIP, "no client certificate is configured", NULL);
}
END_TEST

START_TEST(passive_makes_no_bad_offers)
{
    serve_good();
    scene.request.options.is_passive = true;
    look();
    scene_expect(CHECK_ID_protocol_versions, CHECK_SKIP, "--passive", NULL);
    scene_expect(CHECK_ID_protocol_ciphers, CHECK_SKIP, "--passive", NULL);
}
END_TEST

START_TEST(old_versions_are_warned_of)
{
    stage.least_version = TLS1_VERSION;
    stage.ciphers = "HIGH:!aNULL:@SECLEVEL=0";
    serve_good();
    look();
    scene_expect(CHECK_ID_protocol_versions, CHECK_WARN, "still takes TLSv1.1", "ssl_min_protocol_version = 'TLSv1.2'");
    scene_expect_only(CHECK_ID_protocol_versions);
}
END_TEST

START_TEST(a_bad_cipher_fails)
{
    static const struct {
        const char *ciphers, *cause, *fix;
    } rows[] = {{"ALL:aNULL:@SECLEVEL=0", "without any certificate", "!aNULL"},
                {"HIGH:!aNULL:eNULL:@SECLEVEL=0", "without encryption", "!eNULL"}};

    stage.ciphers = rows[_i].ciphers;
    serve_good();
    look();
    scene_expect(CHECK_ID_protocol_ciphers, CHECK_FAIL, rows[_i].cause, rows[_i].fix);
    scene_expect_only(CHECK_ID_protocol_ciphers);
}
END_TEST

START_TEST(a_chain_that_leads_nowhere_fails_once_and_the_certificate_stays_at_home)
{
    struct pki_pair other = pki_authority("Other Root");

    serve_certificate((struct pki_wish){.common_name = "localhost", .names = "DNS:localhost", .issuer = &other});
    accept_clients_of(&scene.root);
    use_client_of(&scene.root);
    look();
    ck_assert_int_eq(scene.results[CHECK_ID_chain_server].state, CHECK_FAIL);
    scene_expect_only(CHECK_ID_chain_server);
    scene_expect(CHECK_ID_name_match, CHECK_SKIP, "not looked at: chain.server failed", NULL);
    scene_expect(CHECK_ID_identity_requested, CHECK_PASS, "asks for a client certificate", NULL);
    scene_expect(CHECK_ID_identity_accepted, CHECK_SKIP, "not looked at: chain.server failed", NULL);
    pki_done(&other);
}
END_TEST

START_TEST(an_expired_server_certificate_fails_once)
{
    serve_certificate((struct pki_wish){.common_name = "localhost",
                                        .names = "DNS:localhost",
                                        .issuer = &scene.root,
                                        .from_days = -9,
                                        .until_days = -3});
    use_client_of(&scene.root);
    accept_clients_of(&scene.root);
    look();
    ck_assert_int_eq(scene.results[CHECK_ID_expiry_server].state, CHECK_FAIL);
    scene_expect_only(CHECK_ID_expiry_server);
    scene_expect(CHECK_ID_chain_server, CHECK_SKIP, "not looked at: expiry.server failed", NULL);
    scene_expect(CHECK_ID_identity_accepted, CHECK_SKIP, "not looked at: expiry.server failed", NULL);
}
END_TEST

START_TEST(days_to_spare_count_for_the_server_too)
{
    serve_certificate((struct pki_wish){
        .common_name = "localhost", .names = "DNS:localhost", .issuer = &scene.root, .from_days = -9, .until_days = 6});
    look();
    scene_expect(CHECK_ID_expiry_server, CHECK_WARN,
                 "server's certificate (subject \"CN=localhost,O=Lab\") ends in 5 days",
                 "Renew the server's certificate");
    scene_expect_only(CHECK_ID_expiry_server);
}
END_TEST

START_TEST(what_ends_with_its_ca_is_the_cas_fault)
{
    struct pki_pair ending =
        pki_make((struct pki_wish){.common_name = "Ending", .is_authority = true, .from_days = -9, .until_days = 6});
    struct settings *settings = &scene.config.settings;

    pki_write_certificate(scene_path(settings->tls_ca_file, "ending.crt"), &ending);
    serve_certificate((struct pki_wish){
        .common_name = "localhost", .names = "DNS:localhost", .issuer = &ending, .from_days = -9, .until_days = 6});
    look();
    scene_expect(CHECK_ID_expiry_ca, CHECK_WARN, "CN=Ending,O=Lab\") ends in 5 days", "Renew the CA");
    scene_expect_only(CHECK_ID_expiry_ca);
    scene_expect(CHECK_ID_expiry_server, CHECK_PASS, "ends with its CA", NULL);
    pki_done(&ending);
}
END_TEST

START_TEST(an_old_root_beside_the_one_in_use_does_no_harm)
{
    struct pki_pair old =
        pki_make((struct pki_wish){.common_name = "Old", .is_authority = true, .from_days = -9, .until_days = _i});

    pki_write_certificate(scene.config.settings.tls_ca_file, &old);
    serve_good();
    look();
    scene_expect_only(CHECK_ID_NOTHING);
    pki_done(&old);
}
END_TEST

START_TEST(the_root_in_use_is_judged_though_another_lasts_longer)
{
    struct pki_pair ending =
        pki_make((struct pki_wish){.common_name = "Ending", .is_authority = true, .from_days = -9, .until_days = 6});

    pki_write_certificate(scene.config.settings.tls_ca_file, &ending);
    serve_certificate((struct pki_wish){
        .common_name = "localhost", .names = "DNS:localhost", .issuer = &ending, .from_days = -9, .until_days = 90});
    look();
    scene_expect(CHECK_ID_expiry_ca, CHECK_WARN, "CN=Ending", NULL);
    scene_expect_only(CHECK_ID_expiry_ca);
    pki_done(&ending);
}
END_TEST

START_TEST(another_name_fails_with_verify_full_and_is_said_with_verify_ca)
{
    serve_certificate((struct pki_wish){.common_name = "db9", .names = "DNS:db9", .issuer = &scene.root});
    if (_i == 1)
        snprintf(scene.config.settings.tls_mode, sizeof scene.config.settings.tls_mode, "verify-ca");
    look();
    if (_i == 1) {
        scene_expect(CHECK_ID_name_match, CHECK_SKIP, "it would not match: DNS:db9", NULL);
        scene_expect_only(CHECK_ID_protocol_mode);
    } else {
        ck_assert_int_eq(scene.results[CHECK_ID_name_match].state, CHECK_FAIL);
        scene_expect_only(CHECK_ID_name_match);
        scene_expect(CHECK_ID_identity_accepted, CHECK_SKIP, "not looked at: name.match failed", NULL);
    }
}
END_TEST

START_TEST(a_name_as_cn_alone_is_warned_of)
{
    serve_certificate((struct pki_wish){.common_name = "localhost", .issuer = &scene.root});
    look();
    scene_expect(CHECK_ID_name_alternative, CHECK_WARN, "only as CN", "subjectAltName = DNS:localhost");
    scene_expect_only(CHECK_ID_name_alternative);
}
END_TEST

START_TEST(no_fitting_name_at_all_is_one_fault)
{
    serve_certificate((struct pki_wish){.common_name = "db9", .issuer = &scene.root});
    look();
    scene_expect_only(CHECK_ID_name_match);
    scene_expect(CHECK_ID_name_alternative, CHECK_SKIP, "not looked at: name.match failed", NULL);
}
END_TEST

/* The server's chain: the leaf, then what `sent` says of the intermediate and of one that does not belong. */
START_TEST(the_chain_sent_is_judged_by_completeness_and_order)
{
    struct pki_pair intermediate =
        pki_make((struct pki_wish){.common_name = "Lab Middle", .issuer = &scene.root, .is_authority = true});
    struct pki_pair stranger = pki_authority("Stranger");
    struct pki_pair leaf =
        pki_make((struct pki_wish){.common_name = "localhost", .names = "DNS:localhost", .issuer = &intermediate});

    serve_pair(&leaf);
    if (_i == 1)
        pki_write_certificate(stage.certificate, &stranger);
    if (_i <= 1)
        pki_write_certificate(stage.certificate, &intermediate);
    if (_i == 2)
        pki_write_certificate(scene.config.settings.tls_ca_file, &intermediate);
    look();
    if (_i == 0)
        scene_expect(CHECK_ID_chain_sent, CHECK_PASS, "2 certificates, in order", NULL);
    else if (_i == 1)
        scene_expect(CHECK_ID_chain_sent, CHECK_WARN, "out of order", "ssl_cert_file");
    else
        scene_expect(CHECK_ID_chain_sent, CHECK_WARN, "leaves out its intermediate CA \"CN=Lab Middle",
                     "ssl_cert_file");
    scene_expect_only(_i == 0 ? CHECK_ID_NOTHING : CHECK_ID_chain_sent);
    pki_done(&intermediate);
    pki_done(&stranger);
    pki_done(&leaf);
}
END_TEST

START_TEST(a_pinned_certificate_is_fine_until_it_signs_logins)
{
    bool is_authority = _i > 0, signs_clients = _i == 2;
    struct pki_pair own =
        pki_make((struct pki_wish){.common_name = "localhost", .names = "DNS:localhost", .is_authority = is_authority});
    struct pki_pair clients = pki_authority("Client Root");

    pki_write_certificate(scene_path(scene.config.settings.tls_ca_file, "pinned.crt"), &own);
    serve_pair(&own);
    accept_clients_of(signs_clients ? &own : &clients);
    use_client_of(signs_clients ? &own : &clients);
    look();
    if (signs_clients)
        scene_expect(CHECK_ID_chain_ca, CHECK_WARN, "is the server's own certificate", "CA of your own");
    scene_expect_only(signs_clients ? CHECK_ID_chain_ca : CHECK_ID_NOTHING);
    pki_done(&own);
    pki_done(&clients);
}
END_TEST

START_TEST(a_server_certificate_that_may_sign_is_warned_of)
{
    struct pki_pair leaf = pki_make((struct pki_wish){
        .common_name = "localhost", .names = "DNS:localhost", .issuer = &scene.root, .is_authority = true});

    serve_pair(&leaf);
    accept_clients_of(&scene.root);
    look();
    scene_expect(CHECK_ID_identity_authorities, CHECK_WARN, "may itself sign certificates", "CA:FALSE");
    scene_expect_only(CHECK_ID_identity_authorities);
    pki_done(&leaf);
}
END_TEST

START_TEST(many_client_cas_are_warned_of)
{
    serve_good();
    scene_path(stage.authorities, "clients.crt");
    for (int i = 0; i < 11; i++) {
        char name[16];
        snprintf(name, sizeof name, "Root %d", i);
        struct pki_pair each = pki_authority(name);
        pki_write_certificate(stage.authorities, &each);
        pki_done(&each);
    }
    look();
    scene_expect(CHECK_ID_identity_authorities, CHECK_WARN, "of 11 CAs", "ssl_ca_file");
    scene_expect_only(CHECK_ID_identity_authorities);
}
END_TEST

START_TEST(a_certificate_nobody_asks_for_fails)
{
    serve_good();
    use_client_of(&scene.root);
    look();
    scene_expect(CHECK_ID_identity_requested, CHECK_FAIL, "does not ask for a client certificate", "ssl_ca_file");
    scene_expect_only(CHECK_ID_identity_requested);
    scene_expect(CHECK_ID_identity_accepted, CHECK_SKIP, "not looked at: identity.requested failed", NULL);
}
END_TEST

START_TEST(an_unknown_ca_is_told_by_the_chain)
{
    struct pki_pair other = pki_authority("Other Root");

    stage.most_version = _i == 0 ? 0 : TLS1_2_VERSION;
    serve_good();
    accept_clients_of(&scene.root);
    use_client_of(&other);
    look();
    scene_expect(CHECK_ID_identity_chain, CHECK_FAIL, "", NULL);
    scene_expect_only(CHECK_ID_identity_chain);
    scene_expect(CHECK_ID_identity_accepted, CHECK_SKIP, "not looked at: identity.chain failed", NULL);
    pki_done(&other);
}
END_TEST

START_TEST(a_certificate_that_cannot_be_shown_is_still_compared)
{
    struct pki_pair other = pki_authority("Other Root");

    serve_good();
    accept_clients_of(&scene.root);
    use_client_of(_i == 0 ? &other : &scene.root);
    ck_assert_int_eq(chmod(scene.config.settings.tls_key_file, 0644), 0);
    look();
    ck_assert_int_eq(scene.results[CHECK_ID_key_mode].state, CHECK_FAIL);
    ck_assert_int_eq(scene.results[CHECK_ID_identity_chain].state, _i == 0 ? CHECK_FAIL : CHECK_SKIP);
    scene_expect(CHECK_ID_identity_accepted, CHECK_SKIP, "not looked at: key.mode failed", NULL);
    pki_done(&other);
}
END_TEST

START_TEST(a_missing_ca_file_leaves_the_rest_told)
{
    serve_good();
    accept_clients_of(&scene.root);
    use_client_of(&scene.root);
    scene_path(scene.config.settings.tls_ca_file, "absent.crt");
    look();
    scene_expect_only(CHECK_ID_file_ca);
    scene_expect(CHECK_ID_chain_server, CHECK_SKIP, "not looked at: file.ca failed", NULL);
    scene_expect(CHECK_ID_expiry_server, CHECK_PASS, "days left", NULL);
    scene_expect(CHECK_ID_identity_requested, CHECK_PASS, "asks", NULL);
    scene_expect(CHECK_ID_identity_accepted, CHECK_SKIP, "not looked at: file.ca failed", NULL);
}
END_TEST

START_TEST(a_revocation_list_that_is_over_leaves_the_rest_told)
{
    struct settings *settings = &scene.config.settings;

    serve_good();
    pki_write_list(scene_path(settings->tls_crl_file, "root.crl"), &scene.root, NULL, _i == 0 ? -3 : 30);
    look();
    if (_i == 0)
        scene_expect(CHECK_ID_chain_revocation, CHECK_SKIP, "not looked at: expiry.crl failed", NULL);
    else
        scene_expect(CHECK_ID_chain_revocation, CHECK_PASS, "no certificate of the chain is revoked", NULL);
    scene_expect(CHECK_ID_name_match, CHECK_PASS, "localhost", NULL);
    scene_expect_only(_i == 0 ? CHECK_ID_expiry_crl : CHECK_ID_NOTHING);
}
END_TEST

START_TEST(what_does_not_speak_tls_fails_at_its_answer)
{
    static const char *const answers[] = {"N", "HTTP/1.1 400 Bad Request\r\n\r\n", ""};

    stage.answer = answers[_i];
    serve_good();
    look();
    ck_assert_int_eq(scene.results[CHECK_ID_protocol_answer].state, CHECK_FAIL);
    scene_expect_only(CHECK_ID_protocol_answer);
    scene_expect(CHECK_ID_identity_accepted, CHECK_SKIP, "not looked at: protocol.answer failed", NULL);
}
END_TEST

START_TEST(a_silent_server_is_given_up_in_time)
{
    stage.is_silent = true;
    scene.config.settings.connect_timeout = 2;
    serve_good();
    look();
    ck_assert_int_eq(scene.results[CHECK_ID_protocol_answer].state, CHECK_FAIL);
    scene_expect_only(CHECK_ID_protocol_answer);
}
END_TEST

START_TEST(a_closed_port_and_an_unknown_host_are_told_apart)
{
    struct settings *settings = &scene.config.settings;

    if (_i == 1) {
        settings->hostaddr[0] = '\0';
        snprintf(settings->host, sizeof settings->host, "no-such-host.invalid");
    }
    scene_look(CHECK_LEVEL_HANDSHAKE);
    if (_i == 0)
        scene_expect(CHECK_ID_server_connect, CHECK_FAIL, "Nothing listens at localhost port 1", "listen_addresses");
    else
        scene_expect(CHECK_ID_server_resolve, CHECK_FAIL, "\"no-such-host.invalid\" has no address", "getent hosts");
    scene_expect_only(_i == 0 ? CHECK_ID_server_connect : CHECK_ID_server_resolve);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, a_good_server_gives_nothing_but_passes, 0, 2);
    tcase_add_test(tests, a_server_of_the_newest_version_alone_is_fine);
    tcase_add_loop_test(tests, without_a_client_certificate_none_is_missed, 0, 2);
    tcase_add_test(tests, passive_makes_no_bad_offers);
    tcase_add_test(tests, old_versions_are_warned_of);
    tcase_add_loop_test(tests, a_bad_cipher_fails, 0, 2);
    tcase_add_test(tests, a_chain_that_leads_nowhere_fails_once_and_the_certificate_stays_at_home);
    tcase_add_test(tests, an_expired_server_certificate_fails_once);
    tcase_add_test(tests, days_to_spare_count_for_the_server_too);
    tcase_add_test(tests, what_ends_with_its_ca_is_the_cas_fault);
    tcase_add_loop_test(tests, an_old_root_beside_the_one_in_use_does_no_harm, -1, 7);
    tcase_add_test(tests, the_root_in_use_is_judged_though_another_lasts_longer);
    tcase_add_loop_test(tests, another_name_fails_with_verify_full_and_is_said_with_verify_ca, 0, 2);
    tcase_add_test(tests, a_name_as_cn_alone_is_warned_of);
    tcase_add_test(tests, no_fitting_name_at_all_is_one_fault);
    tcase_add_loop_test(tests, the_chain_sent_is_judged_by_completeness_and_order, 0, 3);
}

static void add_tests_of_clients(TCase *tests)
{
    tcase_add_loop_test(tests, a_pinned_certificate_is_fine_until_it_signs_logins, 0, 3);
    tcase_add_test(tests, a_server_certificate_that_may_sign_is_warned_of);
    tcase_add_test(tests, many_client_cas_are_warned_of);
    tcase_add_test(tests, a_certificate_nobody_asks_for_fails);
    tcase_add_loop_test(tests, an_unknown_ca_is_told_by_the_chain, 0, 2);
    tcase_add_loop_test(tests, a_certificate_that_cannot_be_shown_is_still_compared, 0, 2);
    tcase_add_test(tests, a_missing_ca_file_leaves_the_rest_told);
    tcase_add_loop_test(tests, a_revocation_list_that_is_over_leaves_the_rest_told, 0, 2);
    tcase_add_loop_test(tests, what_does_not_speak_tls_fails_at_its_answer, 0, 3);
    tcase_add_test(tests, a_silent_server_is_given_up_in_time);
    tcase_add_loop_test(tests, a_closed_port_and_an_unknown_host_are_told_apart, 0, 2);
}

int main(void)
{
    TCase *tests = tcase_create("check_handshake");

    tcase_add_checked_fixture(tests, begin, end);
    add_tests(tests);
    add_tests_of_clients(tests);
    return suite_run("check_handshake", tests);
}
