#include "jobs/check_stage.h"
#include "pgcoffer/tls/files.h"

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
    for (int i = 0; i <= TLS_MOST_OWN_AUTHORITIES; i++) {
        char name[16];
        snprintf(name, sizeof name, "Root %d", i);
        struct pki_pair each = pki_authority(name);
        pki_write_certificate(stage.authorities, &each);
        pki_done(&each);
    }
    look();
    scene_expect(CHECK_ID_identity_authorities, CHECK_WARN, "of 17 CAs", "ssl_ca_file");
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
    scene_expect(CHECK_ID_identity_requested, CHECK_SKIP, "not looked at: file.ca failed", NULL);
    scene_expect(CHECK_ID_identity_accepted, CHECK_SKIP, "not looked at: file.ca failed", NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("check_client_certificate");

    tcase_add_checked_fixture(tests, stage_make, stage_end);
    tcase_add_loop_test(tests, a_pinned_certificate_is_fine_until_it_signs_logins, 0, 3);
    tcase_add_test(tests, a_server_certificate_that_may_sign_is_warned_of);
    tcase_add_test(tests, many_client_cas_are_warned_of);
    tcase_add_test(tests, a_certificate_nobody_asks_for_fails);
    tcase_add_loop_test(tests, an_unknown_ca_is_told_by_the_chain, 0, 2);
    tcase_add_loop_test(tests, a_certificate_that_cannot_be_shown_is_still_compared, 0, 2);
    tcase_add_test(tests, a_missing_ca_file_leaves_the_rest_told);
    return suite_run("check_client_certificate", tests);
}
