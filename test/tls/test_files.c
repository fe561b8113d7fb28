#include "pgcoffer/tls/files.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "pgcoffer/base/clock.h"
#include "support/suite.h"
#include "tls/pki.h"

/* A folder with a CA, a client certificate and its key, and a configuration that names them. */
static struct scene {
    char folder[64];
    struct pki_pair root, client;
    struct server_config server;
} scene;

static void set_path(char *setting, const char *name)
{
    snprintf(setting, CONFIG_TEXT_SIZE, "%s/%s", scene.folder, name);
}

static void make_scene(void)
{
    struct settings *settings = &scene.server.settings;

    scene = (struct scene){0};
    pki_scratch(scene.folder);
    scene.root = pki_authority("Lab Root");
    scene.client = pki_make((struct pki_wish){.common_name = "repl", .usage = "clientAuth", .issuer = &scene.root});
    snprintf(scene.server.name, sizeof scene.server.name, "primary");
    snprintf(settings->tls_mode, sizeof settings->tls_mode, "verify-full");
    set_path(settings->tls_ca_file, "root.crt");
    set_path(settings->tls_cert_file, "repl.crt");
    set_path(settings->tls_key_file, "repl.key");
    pki_write_certificate(settings->tls_ca_file, &scene.root);
    pki_write_certificate(settings->tls_cert_file, &scene.client);
    pki_write_key(settings->tls_key_file, &scene.client, NULL);
}

static void forget_scene(void)
{
    pki_done(&scene.root);
    pki_done(&scene.client);
}

/* It must fail with a TLS error of that check, with `words` in its message, and a hint; and the check by itself must
 * find the same, and every other one nothing. */
static void expect_fault(const char *check, const char *words)
{
    struct finding finding;
    struct error err = {0};

    ck_assert(!tls_files_check(&scene.server, &err));
    ck_assert_int_eq(err.kind, ERROR_TLS);
    ck_assert_msg(strstr(err.message, words) != NULL, "\"%s\" has no \"%s\"", err.message, words);
    ck_assert_str_eq(err.check, check);
    ck_assert_uint_gt(strlen(err.hint), 0);
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (tls_files_fault(&scene.server, id, &finding)) {
            ck_assert_str_eq(check_rows[id].name, check);
            ck_assert_int_eq(finding.check, id);
            ck_assert_str_eq(finding.fix, err.hint);
            ck_assert_int_eq(finding.cause[strlen(finding.cause) - 1], '.');
        }
}

START_TEST(good_files_pass)
{
    struct error err = {0};

    ck_assert_msg(tls_files_check(&scene.server, &err), "%s", err.message);
    set_path(scene.server.settings.tls_crl_file, "root.crl");
    pki_write_list(scene.server.settings.tls_crl_file, &scene.root, NULL, 10);
    ck_assert_msg(tls_files_check(&scene.server, &err), "%s", err.message);
}
END_TEST

START_TEST(a_missing_file_is_named)
{
    ck_assert_int_eq(unlink(scene.server.settings.tls_cert_file), 0);
    expect_fault("file.certificate", "repl.crt\" does not exist");
    set_path(scene.server.settings.tls_cert_file, "nowhere/repl.crt");
    expect_fault("file.certificate", "there is no folder");
}
END_TEST

START_TEST(a_credential_that_is_not_there_is_told_of_the_unit)
{
    char *key = scene.server.settings.tls_key_file;
    struct error err = {0};

    setenv("CREDENTIALS_DIRECTORY", scene.folder, 1);
    set_path(key, "missing.key");
    expect_fault("file.key", "the unit does not load");
    ck_assert(!tls_files_check(&scene.server, &err));
    ck_assert_msg(strstr(err.hint, "LoadCredential=missing.key:FILE") != NULL, "%s", err.hint);
    unsetenv("CREDENTIALS_DIRECTORY");
    snprintf(key, sizeof scene.server.settings.tls_key_file, "credential:repl.key");
    expect_fault("file.key", "only what systemd started");
}
END_TEST

START_TEST(a_folder_is_not_a_key)
{
    set_path(scene.server.settings.tls_key_file, ".");
    expect_fault("file.key", "not a regular file");
}
END_TEST

START_TEST(a_key_others_may_read_is_refused)
{
    const char *key = scene.server.settings.tls_key_file;
    struct error err = {0};

    ck_assert_int_eq(chmod(key, 0644), 0);
    expect_fault("key.mode", "mode 0644");
    /* Root's own key may be read by a group, as libpq allows. */
    ck_assert_int_eq(chmod(key, 0640), 0);
    ck_assert_int_eq(tls_files_check(&scene.server, &err), geteuid() == 0);
    ck_assert_int_eq(chmod(key, 0400), 0);
    ck_assert(tls_files_check(&scene.server, &err));
}
END_TEST

START_TEST(a_key_with_a_passphrase_is_refused_without_asking)
{
    pki_write_key(scene.server.settings.tls_key_file, &scene.client, "secret");
    expect_fault("file.key", "protected by a passphrase");
}
END_TEST

START_TEST(a_key_of_another_certificate_is_refused)
{
    pki_write_key(scene.server.settings.tls_key_file, &scene.root, NULL);
    expect_fault("key.match", "different keys");
}
END_TEST

START_TEST(a_chain_that_begins_with_the_authority_is_explained)
{
    const char *path = scene.server.settings.tls_cert_file;
    struct error err = {0};

    ck_assert_int_eq(unlink(path), 0);
    pki_write_certificate(path, &scene.root);
    ck_assert(!tls_files_check(&scene.server, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "begins with a CA"));
    pki_write_certificate(path, &scene.client);
    ck_assert(!tls_files_check(&scene.server, &err));
    ck_assert_ptr_nonnull(strstr(err.hint, "first"));
}
END_TEST

START_TEST(an_expired_certificate_is_named_with_subject_and_date)
{
    struct settings *settings = &scene.server.settings;
    struct pki_pair expired =
        pki_make((struct pki_wish){.common_name = "repl", .issuer = &scene.root, .from_days = -20, .until_days = -10});

    ck_assert_int_eq(unlink(settings->tls_cert_file), 0);
    pki_write_certificate(settings->tls_cert_file, &expired);
    pki_write_key(settings->tls_key_file, &expired, NULL);
    expect_fault("expiry.client", "(subject \"CN=repl,O=Lab\") expired on 20");
    pki_done(&expired);
}
END_TEST

START_TEST(a_certificate_of_the_future_points_at_the_clock)
{
    struct settings *settings = &scene.server.settings;
    struct pki_pair future =
        pki_make((struct pki_wish){.common_name = "repl", .issuer = &scene.root, .from_days = 10, .until_days = 20});

    ck_assert_int_eq(unlink(settings->tls_cert_file), 0);
    pki_write_certificate(settings->tls_cert_file, &future);
    pki_write_key(settings->tls_key_file, &future, NULL);
    expect_fault("expiry.client", "is not valid before");
    pki_done(&future);
}
END_TEST

START_TEST(a_ca_file_is_good_as_long_as_one_certificate_in_it_is)
{
    const char *path = scene.server.settings.tls_ca_file;
    struct pki_pair old = pki_make(
        (struct pki_wish){.common_name = "Old Root", .is_authority = true, .from_days = -20, .until_days = -10});
    struct error err = {0};

    pki_write_certificate(path, &old);
    ck_assert(tls_files_check(&scene.server, &err));
    ck_assert_int_eq(unlink(path), 0);
    pki_write_certificate(path, &old);
    expect_fault("expiry.ca", "expired on");
    pki_done(&old);
}
END_TEST

START_TEST(what_is_no_pem_is_no_certificate_and_no_key)
{
    struct settings *settings = &scene.server.settings;

    set_path(settings->tls_key_file, "repl.crt");
    ck_assert_int_eq(chmod(settings->tls_key_file, 0600), 0);
    expect_fault("file.key", "holds no private key");
    set_path(settings->tls_key_file, "repl.key");
    set_path(settings->tls_cert_file, "page.html");
    pki_write_text(settings->tls_cert_file, "<html>404</html>\n");
    expect_fault("file.certificate", "holds no certificate");
    set_path(settings->tls_cert_file, "repl.crt");
    set_path(settings->tls_ca_file, "page.html");
    expect_fault("file.ca", "holds no certificate");
}
END_TEST

START_TEST(a_key_in_der_form_is_read_as_libpq_reads_it)
{
    struct error err = {0};
    FILE *file = fopen(scene.server.settings.tls_key_file, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(i2d_PrivateKey_fp(file, scene.client.key), 1);
    fclose(file);
    ck_assert_msg(tls_files_check(&scene.server, &err), "%s", err.message);
}
END_TEST

START_TEST(a_folder_that_may_not_be_searched_is_named)
{
    struct settings *settings = &scene.server.settings;
    char folder[128];

    snprintf(folder, sizeof folder, "%s/closed", scene.folder);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    set_path(settings->tls_cert_file, "closed/repl.crt");
    pki_write_certificate(settings->tls_cert_file, &scene.client);
    ck_assert_int_eq(chmod(folder, 0), 0);
    ck_assert_int_eq(chmod(scene.folder, 0755), 0);
    ck_assert_int_eq(chmod(settings->tls_ca_file, 0644), 0);
    if (getuid() == 0) {
        ck_assert_int_eq(chown(settings->tls_key_file, 65534, (gid_t)-1), 0);
        ck_assert_int_eq(seteuid(65534), 0);
    }
    expect_fault("file.certificate", "closed\" may not be searched");
    ck_assert_int_eq(seteuid(getuid()), 0);
    ck_assert_int_eq(chmod(folder, 0700), 0);
}
END_TEST

START_TEST(without_a_section_the_option_is_named)
{
    struct error err = {0};

    scene.server.name[0] = '\0';
    ck_assert_int_eq(unlink(scene.server.settings.tls_cert_file), 0);
    ck_assert(!tls_files_check(&scene.server, &err));
    ck_assert_msg(strstr(err.hint, "correct --tls-cert-file") != NULL, "%s", err.hint);
}
END_TEST

START_TEST(a_file_without_a_list_is_no_list)
{
    struct settings *settings = &scene.server.settings;

    set_path(settings->tls_crl_file, "root.crt");
    expect_fault("file.crl", "holds no revocation list");
    set_path(settings->tls_crl_file, "missing.crl");
    expect_fault("file.crl", "missing.crl\" does not exist");
    set_path(settings->tls_crl_file, "old.crl");
    pki_write_list(settings->tls_crl_file, &scene.root, NULL, -5);
    expect_fault("expiry.crl", "expired on");
}
END_TEST

START_TEST(a_mode_that_verifies_needs_a_ca)
{
    struct settings *settings = &scene.server.settings;
    struct error err = {0};

    settings->tls_ca_file[0] = '\0';
    expect_fault("protocol.mode", "needs tls_ca_file");
    snprintf(settings->tls_mode, sizeof settings->tls_mode, "require");
    ck_assert(tls_files_check(&scene.server, &err));
    settings->tls_key_file[0] = '\0';
    expect_fault("protocol.mode", "tls_cert_file is set without tls_key_file");
    snprintf(settings->tls_mode, sizeof settings->tls_mode, "disable");
    ck_assert(tls_files_check(&scene.server, &err));
}
END_TEST

static void *renew_key(void *renewed)
{
    char path[CONFIG_TEXT_SIZE];

    snprintf(path, sizeof path, "%s/new.key", scene.folder);
    poll(NULL, 0, 300);
    pki_write_key(path, renewed, NULL);
    ck_assert_int_eq(rename(path, scene.server.settings.tls_key_file), 0);
    return NULL;
}

START_TEST(a_renewal_that_has_come_half_way_is_waited_for)
{
    struct pki_pair renewed =
        pki_make((struct pki_wish){.common_name = "repl", .usage = "clientAuth", .issuer = &scene.root});
    struct error err = {0};
    pthread_t thread;

    ck_assert_int_eq(unlink(scene.server.settings.tls_cert_file), 0);
    pki_write_certificate(scene.server.settings.tls_cert_file, &renewed);
    ck_assert(!tls_files_check(&scene.server, &err));
    ck_assert_str_eq(err.check, "key.match");
    ck_assert_int_eq(pthread_create(&thread, NULL, renew_key, &renewed), 0);
    ck_assert_msg(tls_files_check_settled(&scene.server, &err), "%s", err.message);
    pthread_join(thread, NULL);
    pki_done(&renewed);
}
END_TEST

START_TEST(a_fault_of_old_files_is_told_at_once)
{
    struct error err = {0};
    int64_t before = clock_monotonic();

    snprintf(scene.server.settings.tls_key_file, CONFIG_TEXT_SIZE, "/bin/none.key");
    snprintf(scene.server.settings.tls_cert_file, CONFIG_TEXT_SIZE, "/bin/sh");
    snprintf(scene.server.settings.tls_ca_file, CONFIG_TEXT_SIZE, "/bin/sh");
    ck_assert(!tls_files_check_settled(&scene.server, &err));
    ck_assert_int_lt(clock_monotonic() - before, INT64_C(1000) * TLS_FILES_SETTLE_MILLISECONDS);
}
END_TEST

START_TEST(the_word_system_means_the_distributions_bundle)
{
    snprintf(scene.server.settings.tls_ca_file, CONFIG_TEXT_SIZE, "system");
    ck_assert_str_eq(tls_files_ca_path(&scene.server.settings), "/etc/ssl/certs/ca-certificates.crt");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("files");

    tcase_add_checked_fixture(tests, make_scene, forget_scene);
    tcase_add_test(tests, good_files_pass);
    tcase_add_test(tests, a_missing_file_is_named);
    tcase_add_test(tests, a_credential_that_is_not_there_is_told_of_the_unit);
    tcase_add_test(tests, a_folder_is_not_a_key);
    tcase_add_test(tests, a_key_others_may_read_is_refused);
    tcase_add_test(tests, a_key_with_a_passphrase_is_refused_without_asking);
    tcase_add_test(tests, a_key_of_another_certificate_is_refused);
    tcase_add_test(tests, a_chain_that_begins_with_the_authority_is_explained);
    tcase_add_test(tests, an_expired_certificate_is_named_with_subject_and_date);
    tcase_add_test(tests, a_certificate_of_the_future_points_at_the_clock);
    tcase_add_test(tests, a_ca_file_is_good_as_long_as_one_certificate_in_it_is);
    tcase_add_test(tests, what_is_no_pem_is_no_certificate_and_no_key);
    tcase_add_test(tests, a_key_in_der_form_is_read_as_libpq_reads_it);
    tcase_add_test(tests, a_folder_that_may_not_be_searched_is_named);
    tcase_add_test(tests, without_a_section_the_option_is_named);
    tcase_add_test(tests, a_file_without_a_list_is_no_list);
    tcase_add_test(tests, a_mode_that_verifies_needs_a_ca);
    tcase_add_test(tests, a_renewal_that_has_come_half_way_is_waited_for);
    tcase_add_test(tests, a_fault_of_old_files_is_told_at_once);
    tcase_add_test(tests, the_word_system_means_the_distributions_bundle);
    return suite_run("files", tests);
}
