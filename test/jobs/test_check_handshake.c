#include "jobs/check_stage.h"

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
    scene_expect(CHECK_ID_identity_requested, CHECK_SKIP, "not looked at: chain.server failed", NULL);
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
    if (_i == 3) /* the root before the intermediate */
        pki_write_certificate(stage.certificate, &scene.root);
    if (_i != 2)
        pki_write_certificate(stage.certificate, &intermediate);
    if (_i == 2)
        pki_write_certificate(scene.config.settings.tls_ca_file, &intermediate);
    look();
    if (_i == 0)
        scene_expect(CHECK_ID_chain_sent, CHECK_PASS, "2 certificates, in order", NULL);
    else if (_i == 1)
        scene_expect(CHECK_ID_chain_sent, CHECK_WARN, "signed none of the others", "ssl_cert_file");
    else if (_i == 3)
        scene_expect(CHECK_ID_chain_sent, CHECK_PASS, "3 certificates, not in order", NULL);
    else
        scene_expect(CHECK_ID_chain_sent, CHECK_WARN, "leaves out its intermediate CA \"CN=Lab Middle",
                     "ssl_cert_file");
    scene_expect_only(_i == 0 || _i == 3 ? CHECK_ID_NOTHING : CHECK_ID_chain_sent);
    pki_done(&intermediate);
    pki_done(&stranger);
    pki_done(&leaf);
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

int main(void)
{
    TCase *tests = tcase_create("check_handshake");

    tcase_add_checked_fixture(tests, stage_make, stage_end);
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
    tcase_add_loop_test(tests, the_chain_sent_is_judged_by_completeness_and_order, 0, 4);
    tcase_add_loop_test(tests, a_revocation_list_that_is_over_leaves_the_rest_told, 0, 2);
    tcase_add_loop_test(tests, what_does_not_speak_tls_fails_at_its_answer, 0, 3);
    tcase_add_test(tests, a_silent_server_is_given_up_in_time);
    tcase_add_loop_test(tests, a_closed_port_and_an_unknown_host_are_told_apart, 0, 2);
    return suite_run("check_handshake", tests);
}
