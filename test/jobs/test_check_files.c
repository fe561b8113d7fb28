#include "jobs/check_scene.h"

static void end(void)
{
    pki_done(&scene.root);
}

static void use_client(struct pki_wish wish)
{
    struct pki_pair pair = pki_make(wish);

    scene_use_client(&pair, NULL);
    pki_done(&pair);
}

static void use_good_client(void)
{
    use_client((struct pki_wish){.common_name = "repl", .usage = "clientAuth", .issuer = &scene.root});
}

START_TEST(good_files_give_nothing_but_passes)
{
    use_good_client();
    scene_look(CHECK_LEVEL_FILES);
    scene_expect_only(CHECK_ID_NOTHING);
    scene_expect(CHECK_ID_file_certificate, CHECK_PASS, "1 certificate", NULL);
    scene_expect(CHECK_ID_key_strength, CHECK_PASS, "an EC key of 256 bits", NULL);
    scene_expect(CHECK_ID_file_crl, CHECK_SKIP, "not configured", NULL);
    scene_expect(CHECK_ID_expiry_client, CHECK_PASS, "days left", NULL);
    ck_assert_str_eq(scene.results[CHECK_ID_expiry_client].measure.unit, "days");
}
END_TEST

START_TEST(without_a_client_certificate_its_checks_are_skipped)
{
    scene_look(CHECK_LEVEL_FILES);
    scene_expect_only(CHECK_ID_NOTHING);
    scene_expect(CHECK_ID_file_certificate, CHECK_SKIP, "no client certificate", NULL);
    scene_expect(CHECK_ID_key_authority, CHECK_SKIP, "no client certificate", NULL);
}
END_TEST

START_TEST(a_mode_that_proves_nothing_fails_and_the_files_wait)
{
    use_good_client();
    snprintf(scene.config.settings.tls_mode, sizeof scene.config.settings.tls_mode, _i == 0 ? "require" : "disable");
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_protocol_mode, CHECK_FAIL, _i == 0 ? "nothing proves" : "in the clear", "verify-full");
    scene_expect(CHECK_ID_file_ca, CHECK_SKIP, "not looked at: protocol.mode failed", NULL);
    scene_expect_only(CHECK_ID_protocol_mode);
}
END_TEST

START_TEST(verify_ca_is_warned_of)
{
    use_good_client();
    snprintf(scene.config.settings.tls_mode, sizeof scene.config.settings.tls_mode, "verify-ca");
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_protocol_mode, CHECK_WARN, "any name", "tls_mode = verify-full in section [primary]");
    scene_expect_only(CHECK_ID_protocol_mode);
}
END_TEST

START_TEST(days_to_spare_decide_between_warning_and_failure)
{
    static const struct {
        long days;
        enum check_state state;
        const char *cause;
    } rows[] = {{30, CHECK_PASS, "29 days left"},
                {10, CHECK_WARN, "ends in 9 days"},
                {2, CHECK_FAIL, "ends in 1 day, on"},
                {-1, CHECK_FAIL, "expired on"}};

    use_client(
        (struct pki_wish){.common_name = "repl", .issuer = &scene.root, .from_days = -9, .until_days = rows[_i].days});
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_expiry_client, rows[_i].state, rows[_i].cause,
                 _i == 0 ? NULL : "Renew the client certificate");
    scene_expect_only(CHECK_ID_expiry_client);
}
END_TEST

START_TEST(days_of_the_options_count)
{
    use_client((struct pki_wish){.common_name = "repl", .issuer = &scene.root, .from_days = -9, .until_days = 30});
    scene.config.settings.expiry_warn_days = 40;
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_expiry_client, CHECK_WARN, "ends in 29 days", NULL);
    scene.config.settings.expiry_critical_days = 35;
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_expiry_client, CHECK_FAIL, "ends in 29 days", NULL);
}
END_TEST

START_TEST(an_intermediate_that_ends_first_is_the_one_told)
{
    struct pki_pair intermediate = pki_make((struct pki_wish){
        .common_name = "Lab Middle", .issuer = &scene.root, .is_authority = true, .from_days = -9, .until_days = 6});
    struct pki_pair leaf = pki_make((struct pki_wish){.common_name = "repl", .issuer = &intermediate});

    scene_use_client(&leaf, &intermediate);
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_expiry_client, CHECK_WARN, "CN=Lab Middle,O=Lab\" in the chain of the client certificate",
                 NULL);
    scene_expect(CHECK_ID_chain_order, CHECK_PASS, "each issuer in turn", NULL);
    pki_done(&intermediate);
    pki_done(&leaf);
}
END_TEST

START_TEST(a_certificate_out_of_turn_is_warned_of)
{
    struct pki_pair stranger = pki_authority("Stranger");
    struct pki_pair leaf = pki_make((struct pki_wish){.common_name = "repl", .issuer = &scene.root});

    scene_use_client(&leaf, &stranger);
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_chain_order, CHECK_WARN, "\"CN=Stranger,O=Lab\", number 2 there, signed none", "Lab Root");
    scene_expect_only(CHECK_ID_chain_order);
    pki_done(&stranger);
    pki_done(&leaf);
}
END_TEST

START_TEST(the_ca_first_is_told_by_the_key_alone)
{
    struct pki_pair leaf = pki_make((struct pki_wish){.common_name = "repl", .issuer = &scene.root});
    struct settings *settings = &scene.config.settings;

    pki_write_certificate(scene_path(settings->tls_cert_file, "repl.crt"), &scene.root);
    pki_write_certificate(settings->tls_cert_file, &leaf);
    pki_write_key(scene_path(settings->tls_key_file, "repl.key"), &leaf, NULL);
    scene_look(CHECK_LEVEL_FILES);
    ck_assert_int_eq(scene.results[CHECK_ID_key_match].state, CHECK_FAIL);
    scene_expect(CHECK_ID_chain_order, CHECK_SKIP, "not looked at: key.match failed", NULL);
    pki_done(&leaf);
}
END_TEST

START_TEST(the_key_of_a_ca_beside_the_certificate_is_found)
{
    char path[CONFIG_TEXT_SIZE];

    use_good_client();
    pki_write_key(scene_path(path, _i == 0 ? "signing.key" : "backup.PEM"), &scene.root, NULL);
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_key_authority, CHECK_WARN, "is the private key of the CA \"CN=Lab Root,O=Lab\"",
                 "another machine");
    scene_expect_only(CHECK_ID_key_authority);
}
END_TEST

START_TEST(the_key_of_an_unknown_ca_that_signed_ours_is_found_too)
{
    struct pki_pair other = pki_authority("Client Root");
    char path[CONFIG_TEXT_SIZE];

    use_client((struct pki_wish){.common_name = "repl", .issuer = &other});
    pki_write_key(scene_path(path, "ca.key"), &other, NULL);
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_key_authority, CHECK_WARN, "CN=Client Root", NULL);
    pki_done(&other);
}
END_TEST

START_TEST(other_keys_beside_it_are_nobodys_business)
{
    struct pki_pair stranger = pki_authority("Stranger");
    char path[CONFIG_TEXT_SIZE];

    use_good_client();
    pki_write_key(scene_path(path, "other.key"), &stranger, NULL);
    pki_write_key(scene_path(path, "secret.key"), &scene.root, "a passphrase");
    pki_write_text(scene_path(path, "empty.key"), "");
    pki_write_text(scene_path(path, "page.pem"), "<html></html>\n");
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_key_authority, CHECK_PASS, "2 private keys", NULL);
    pki_done(&stranger);
}
END_TEST

START_TEST(a_client_certificate_that_is_a_ca_is_warned_of)
{
    struct pki_pair own = pki_authority("repl");

    scene_use_client(&own, NULL);
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_key_authority, CHECK_WARN, "is itself a CA", "CA:FALSE");
    scene_expect_only(CHECK_ID_key_authority);
    pki_done(&own);
}
END_TEST

START_TEST(a_certificate_for_servers_is_told_with_what_it_lacks)
{
    use_client((struct pki_wish){.common_name = "repl", .usage = "serverAuth", .issuer = &scene.root});
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_identity_usage, CHECK_FAIL, "lacks clientAuth", "your own CA");
    scene_expect_only(CHECK_ID_identity_usage);
}
END_TEST

START_TEST(a_list_about_to_end_is_warned_of)
{
    struct settings *settings = &scene.config.settings;

    use_good_client();
    pki_write_list(scene_path(settings->tls_crl_file, "root.crl"), &scene.root, NULL, _i == 0 ? 30 : 6);
    scene_look(CHECK_LEVEL_FILES);
    if (_i == 0)
        scene_expect(CHECK_ID_expiry_crl, CHECK_PASS, "revocation list of CA \"CN=Lab Root,O=Lab\"", NULL);
    else
        scene_expect(CHECK_ID_expiry_crl, CHECK_WARN, "ends in 5 days", "gencrl");
    scene_expect_only(_i == 0 ? CHECK_ID_NOTHING : CHECK_ID_expiry_crl);
}
END_TEST

START_TEST(a_password_file_is_judged_by_its_line_and_mode)
{
    static const struct {
        const char *text;
        mode_t mode;
        enum check_state state;
        const char *words;
    } rows[] = {
        {"# mine\nlocalhost:1:replication:repl:horse\n", 0600, CHECK_PASS, "line 2"},
        {"*:*:*:*:horse\n", 0600, CHECK_PASS, "line 1"},
        {"*:*:*:*:horse\n", 0644, CHECK_FAIL, "lets others read"},
        {"localhost:1:repl:repl:horse\n", 0600, CHECK_FAIL, "its database is \"repl\" and not \"replication\""},
        {"db9:2:other:you:horse\ndb9:1:replication:repl:horse\n", 0600, CHECK_FAIL,
         "line 2 comes closest, but its host"},
        {"just words\n", 0600, CHECK_FAIL, "no line of the form"},
        {"localhost:1:replication:repl\n", 0600, CHECK_FAIL, "no line of the form"},
        {"", 0600, CHECK_FAIL, "no line of the form"},
    };
    struct settings *settings = &scene.config.settings;

    pki_write_text(scene_path(settings->password_file, "pgpass"), rows[_i].text);
    ck_assert_int_eq(chmod(settings->password_file, rows[_i].mode), 0);
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_file_password, rows[_i].state, rows[_i].words, NULL);
    const struct check_result *result = &scene.results[CHECK_ID_file_password];
    ck_assert_ptr_null(strstr(result->seen, "horse"));
    ck_assert_ptr_null(strstr(result->cause, "horse"));
    scene_expect_only(rows[_i].state == CHECK_PASS ? CHECK_ID_NOTHING : CHECK_ID_file_password);
}
END_TEST

START_TEST(a_password_file_that_is_not_there_is_told)
{
    scene_path(scene.config.settings.password_file, "absent");
    scene_look(CHECK_LEVEL_FILES);
    scene_expect(CHECK_ID_file_password, CHECK_FAIL, "does not exist", "password_file in section [primary]");
}
END_TEST

START_TEST(a_name_that_is_not_the_roles_is_left_to_the_server)
{
    struct error err;

    use_client((struct pki_wish){.common_name = _i == 0 ? "repl" : "Repl", .issuer = &scene.root});
    scene.config.settings.connect_timeout = 2;
    ck_assert(check_options_only(&scene.request.options, "identity.common_name", true, &err));
    ck_assert(check_server(&scene.request, scene_keep, NULL, &err));
    scene_expect(CHECK_ID_identity_common_name, _i == 0 ? CHECK_PASS : CHECK_SKIP,
                 _i == 0 ? "CN=repl" : "not looked at: server.connect failed", NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("check_files");

    tcase_add_checked_fixture(tests, scene_make, end);
    tcase_add_test(tests, good_files_give_nothing_but_passes);
    tcase_add_test(tests, without_a_client_certificate_its_checks_are_skipped);
    tcase_add_loop_test(tests, a_mode_that_proves_nothing_fails_and_the_files_wait, 0, 2);
    tcase_add_test(tests, verify_ca_is_warned_of);
    tcase_add_loop_test(tests, days_to_spare_decide_between_warning_and_failure, 0, 4);
    tcase_add_test(tests, days_of_the_options_count);
    tcase_add_test(tests, an_intermediate_that_ends_first_is_the_one_told);
    tcase_add_test(tests, a_certificate_out_of_turn_is_warned_of);
    tcase_add_test(tests, the_ca_first_is_told_by_the_key_alone);
    tcase_add_loop_test(tests, the_key_of_a_ca_beside_the_certificate_is_found, 0, 2);
    tcase_add_test(tests, the_key_of_an_unknown_ca_that_signed_ours_is_found_too);
    tcase_add_test(tests, other_keys_beside_it_are_nobodys_business);
    tcase_add_test(tests, a_client_certificate_that_is_a_ca_is_warned_of);
    tcase_add_test(tests, a_certificate_for_servers_is_told_with_what_it_lacks);
    tcase_add_loop_test(tests, a_list_about_to_end_is_warned_of, 0, 2);
    tcase_add_loop_test(tests, a_password_file_is_judged_by_its_line_and_mode, 0, 8);
    tcase_add_test(tests, a_password_file_that_is_not_there_is_told);
    tcase_add_loop_test(tests, a_name_that_is_not_the_roles_is_left_to_the_server, 0, 2);
    return suite_run("check_files", tests);
}
