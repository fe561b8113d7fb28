#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/tls_kit_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/tls/certificate.h"
#include "support/scratch.h"
#include "support/suite.h"

static const char *const names[] = {"localhost", "127.0.0.1", "::1", NULL};

static struct tls_kit *make_wished(const struct tls_kit_wish *wish)
{
    struct tls_kit *kit = NULL;
    struct error err;

    ck_assert_msg(tls_kit_make(wish, &kit, &err), "%s", err.message);
    return kit;
}

static struct tls_kit *make_kit(enum issue_algorithm algorithm)
{
    return make_wished(&(struct tls_kit_wish){.names = names, .user = "repl", .days = 90, .algorithm = algorithm});
}

static struct tls_kit *make_metrics_kit(enum issue_algorithm algorithm)
{
    return make_wished(&(struct tls_kit_wish){
        .names = names, .user = "repl", .days = 90, .algorithm = algorithm, .metrics_names = names});
}

static struct tls_kit *make_gateway_kit(enum issue_algorithm algorithm)
{
    static const char *const gateway_names[] = {"backup.example.com", "192.0.2.20", NULL};

    return make_wished(&(struct tls_kit_wish){
        .names = names, .user = "repl", .days = 90, .algorithm = algorithm, .gateway_names = gateway_names});
}

static X509 *certificate_of(const struct tls_kit *kit, enum tls_kit_part part)
{
    BIO *bio = BIO_new_mem_buf(kit->files[part].text, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    ck_assert_ptr_nonnull(certificate);
    BIO_free(bio);
    return certificate;
}

static EVP_PKEY *key_of(const struct tls_kit *kit, enum tls_kit_part part)
{
    BIO *bio = BIO_new_mem_buf(kit->files[part].text, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

    ck_assert_ptr_nonnull(key);
    BIO_free(bio);
    return key;
}

static int verify(const struct tls_kit *kit, enum tls_kit_part leaf, enum tls_kit_part authority, int purpose)
{
    X509 *certificate SCOPED(scoped_certificate) = certificate_of(kit, leaf);
    X509 *issuer SCOPED(scoped_certificate) = certificate_of(kit, authority);
    bool has_list = authority != TLS_KIT_METRICS_CA_CERTIFICATE;
    BIO *bio = has_list ? BIO_new_mem_buf(kit->files[authority + 2].text, -1) : NULL;
    X509_CRL *list = has_list ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL) : NULL;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();

    X509_STORE_add_cert(store, issuer);
    if (has_list)
        X509_STORE_add_crl(store, list);
    X509_STORE_set_flags(store, X509_V_FLAG_X509_STRICT |
                                    (has_list ? X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL : 0UL));
    X509_STORE_CTX_init(context, store, certificate, NULL);
    X509_STORE_CTX_set_purpose(context, purpose);
    X509_verify_cert(context);
    int reason = X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_CRL_free(list);
    BIO_free(bio);
    return reason;
}

START_TEST(server_and_client_have_separate_authorities)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_kit((enum issue_algorithm)_i);
    X509 *first SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_SERVER_CA_CERTIFICATE);
    X509 *second SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_CLIENT_CA_CERTIFICATE);

    ck_assert_int_eq(verify(kit, TLS_KIT_SERVER_CERTIFICATE, TLS_KIT_SERVER_CA_CERTIFICATE, X509_PURPOSE_SSL_SERVER),
                     X509_V_OK);
    ck_assert_int_eq(verify(kit, TLS_KIT_CLIENT_CERTIFICATE, TLS_KIT_CLIENT_CA_CERTIFICATE, X509_PURPOSE_SSL_CLIENT),
                     X509_V_OK);
    ck_assert_int_ne(verify(kit, TLS_KIT_CLIENT_CERTIFICATE, TLS_KIT_SERVER_CA_CERTIFICATE, X509_PURPOSE_SSL_CLIENT),
                     X509_V_OK);
    ck_assert_int_ne(verify(kit, TLS_KIT_SERVER_CERTIFICATE, TLS_KIT_SERVER_CA_CERTIFICATE, X509_PURPOSE_SSL_CLIENT),
                     X509_V_OK);
    ck_assert_int_ne(X509_NAME_cmp(X509_get_subject_name(first), X509_get_subject_name(second)), 0);
}
END_TEST

START_TEST(the_endpoint_and_prometheus_have_an_authority_that_makes_no_logins)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_metrics_kit((enum issue_algorithm)_i);
    static const struct {
        enum tls_kit_part leaf, authority;
        int purpose;
        bool is_right;
    } cases[] = {
        {TLS_KIT_METRICS_CERTIFICATE, TLS_KIT_METRICS_CA_CERTIFICATE, X509_PURPOSE_SSL_SERVER, true},
        {TLS_KIT_PROMETHEUS_CERTIFICATE, TLS_KIT_METRICS_CA_CERTIFICATE, X509_PURPOSE_SSL_CLIENT, true},
        {TLS_KIT_METRICS_CERTIFICATE, TLS_KIT_METRICS_CA_CERTIFICATE, X509_PURPOSE_SSL_CLIENT, false},
        {TLS_KIT_PROMETHEUS_CERTIFICATE, TLS_KIT_METRICS_CA_CERTIFICATE, X509_PURPOSE_SSL_SERVER, false},
        {TLS_KIT_PROMETHEUS_CERTIFICATE, TLS_KIT_CLIENT_CA_CERTIFICATE, X509_PURPOSE_SSL_CLIENT, false},
        {TLS_KIT_METRICS_CERTIFICATE, TLS_KIT_SERVER_CA_CERTIFICATE, X509_PURPOSE_SSL_SERVER, false},
        {TLS_KIT_CLIENT_CERTIFICATE, TLS_KIT_METRICS_CA_CERTIFICATE, X509_PURPOSE_SSL_CLIENT, false},
        {TLS_KIT_SERVER_CERTIFICATE, TLS_KIT_METRICS_CA_CERTIFICATE, X509_PURPOSE_SSL_SERVER, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg((verify(kit, cases[i].leaf, cases[i].authority, cases[i].purpose) == X509_V_OK) ==
                          cases[i].is_right,
                      "case %zu", i);
}
END_TEST

START_TEST(the_gateway_and_its_client_have_an_authority_that_makes_no_logins)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_gateway_kit((enum issue_algorithm)_i);
    static const struct {
        enum tls_kit_part leaf, authority;
        int purpose;
        bool is_right;
    } cases[] = {
        {TLS_KIT_GATEWAY_CERTIFICATE, TLS_KIT_GATEWAY_CA_CERTIFICATE, X509_PURPOSE_SSL_SERVER, true},
        {TLS_KIT_RESTORER_CERTIFICATE, TLS_KIT_GATEWAY_CA_CERTIFICATE, X509_PURPOSE_SSL_CLIENT, true},
        {TLS_KIT_GATEWAY_CERTIFICATE, TLS_KIT_GATEWAY_CA_CERTIFICATE, X509_PURPOSE_SSL_CLIENT, false},
        {TLS_KIT_RESTORER_CERTIFICATE, TLS_KIT_GATEWAY_CA_CERTIFICATE, X509_PURPOSE_SSL_SERVER, false},
        {TLS_KIT_RESTORER_CERTIFICATE, TLS_KIT_CLIENT_CA_CERTIFICATE, X509_PURPOSE_SSL_CLIENT, false},
        {TLS_KIT_GATEWAY_CERTIFICATE, TLS_KIT_SERVER_CA_CERTIFICATE, X509_PURPOSE_SSL_SERVER, false},
        {TLS_KIT_CLIENT_CERTIFICATE, TLS_KIT_GATEWAY_CA_CERTIFICATE, X509_PURPOSE_SSL_CLIENT, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg((verify(kit, cases[i].leaf, cases[i].authority, cases[i].purpose) == X509_V_OK) ==
                          cases[i].is_right,
                      "case %zu", i);
}
END_TEST

START_TEST(the_gateway_has_names_of_its_own_and_its_client_the_name_of_restorers)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_gateway_kit(ISSUE_EC_P256);
    X509 *gateway SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_GATEWAY_CERTIFICATE);
    X509 *restorer SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_RESTORER_CERTIFICATE);
    struct certificate_text text;

    certificate_describe(gateway, &text);
    ck_assert_str_eq(text.names, "DNS:backup.example.com, IP:192.0.2.20");
    certificate_describe(restorer, &text);
    ck_assert_str_eq(text.subject, "CN=restorer");
    ck_assert(!tls_kit_has_metrics(kit));
}
END_TEST

START_TEST(the_endpoint_has_the_names_of_the_server_and_prometheus_its_own)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_metrics_kit(ISSUE_EC_P256);
    X509 *endpoint SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_METRICS_CERTIFICATE);
    X509 *prometheus SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_PROMETHEUS_CERTIFICATE);
    struct certificate_text text;

    certificate_describe(endpoint, &text);
    ck_assert_str_eq(text.names, "DNS:localhost, IP:127.0.0.1, IP:::1");
    ck_assert_int_eq(text.days_left, 89);
    certificate_describe(prometheus, &text);
    ck_assert_str_eq(text.subject, "CN=prometheus");
    ck_assert_int_eq(text.days_left, 89);
}
END_TEST

static PKCS12 *bundle_of(const struct tls_kit *kit)
{
    const struct tls_kit_file *file = &kit->files[TLS_KIT_BROWSER_BUNDLE];
    const unsigned char *bytes = (const unsigned char *)file->text;
    PKCS12 *bundle = d2i_PKCS12(NULL, &bytes, (long)file->size);

    ck_assert_ptr_nonnull(bundle);
    ck_assert_ptr_eq(bytes, (const unsigned char *)file->text + file->size);
    return bundle;
}

/* In the password's file it is a line. */
START_TEST(the_bundle_of_a_browser_opens_with_its_password_only)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_metrics_kit((enum issue_algorithm)_i);
    X509 *expected SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_BROWSER_CERTIFICATE);
    X509 *authority SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_METRICS_CA_CERTIFICATE);
    EVP_PKEY *expected_key SCOPED(scoped_key) = key_of(kit, TLS_KIT_BROWSER_KEY);
    const struct tls_kit_file *line = &kit->files[TLS_KIT_BROWSER_PASSWORD];
    char *password SCOPED(scoped_free) = strndup(line->text, line->size - 1);
    PKCS12 *bundle = bundle_of(kit);
    EVP_PKEY *key SCOPED(scoped_key) = NULL;
    X509 *certificate SCOPED(scoped_certificate) = NULL;
    STACK_OF(X509) *issuers = NULL;

    ck_assert_uint_eq(strlen(password), 24);
    ck_assert_int_eq(line->text[line->size - 1], '\n');
    ck_assert_int_eq(PKCS12_verify_mac(bundle, "", 0), 0);
    ck_assert_int_eq(PKCS12_parse(bundle, password, &key, &certificate, &issuers), 1);
    ck_assert_int_eq(X509_cmp(certificate, expected), 0);
    ck_assert_int_eq(EVP_PKEY_eq(key, expected_key), 1);
    ck_assert_int_eq(sk_X509_num(issuers), 1);
    ck_assert_int_eq(X509_cmp(sk_X509_value(issuers, 0), authority), 0);
    /* What browsers take. */
    ck_assert_int_ne(EVP_PKEY_get_base_id(key), EVP_PKEY_ED25519);
    ck_assert_int_ne(X509_get_signature_nid(certificate), NID_ED25519);
    sk_X509_pop_free(issuers, X509_free);
    PKCS12_free(bundle);
}
END_TEST

START_TEST(the_endpoint_may_have_names_of_its_own)
{
    static const char *const list[] = {"backup.example.com", NULL};
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_wished(&(struct tls_kit_wish){
        .names = names, .user = "repl", .days = 90, .algorithm = ISSUE_EC_P256, .metrics_names = list});
    X509 *endpoint SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_METRICS_CERTIFICATE);
    struct certificate_text text;

    certificate_describe(endpoint, &text);
    ck_assert_str_eq(text.names, "DNS:backup.example.com");
}
END_TEST

START_TEST(nothing_is_made_for_metrics_and_gateway_unless_they_are_wished)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_kit(ISSUE_EC_P256);

    ck_assert(!tls_kit_has_metrics(kit));
    ck_assert(!tls_kit_has_gateway(kit));
    for (int part = TLS_KIT_METRICS_CA_CERTIFICATE; part < TLS_KIT_PARTS; part++) {
        ck_assert_ptr_null(kit->files[part].name);
        ck_assert_ptr_null(kit->files[part].text);
    }
}
END_TEST

START_TEST(each_key_belongs_to_the_certificate_in_front_of_it)
{
    static const enum tls_kit_part parts[] = {TLS_KIT_SERVER_CA_CERTIFICATE,  TLS_KIT_CLIENT_CA_CERTIFICATE,
                                              TLS_KIT_SERVER_CERTIFICATE,     TLS_KIT_CLIENT_CERTIFICATE,
                                              TLS_KIT_METRICS_CA_CERTIFICATE, TLS_KIT_METRICS_CERTIFICATE,
                                              TLS_KIT_PROMETHEUS_CERTIFICATE, TLS_KIT_BROWSER_CERTIFICATE};
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_metrics_kit(ISSUE_EC_P256);

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        X509 *certificate SCOPED(scoped_certificate) = certificate_of(kit, parts[i]);
        EVP_PKEY *key SCOPED(scoped_key) = key_of(kit, parts[i] + 1);
        ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(certificate), key), 1);
    }
}
END_TEST

/* libpq 15 finds no digest for the channel binding of a server certificate that Ed25519 signed. */
START_TEST(no_server_certificate_is_signed_by_ed25519)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_kit(ISSUE_ED25519);
    X509 *server SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_SERVER_CERTIFICATE);
    X509 *client SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_CLIENT_CERTIFICATE);

    ck_assert_int_eq(X509_get_signature_nid(server), NID_ecdsa_with_SHA256);
    ck_assert_int_eq(X509_get_signature_nid(client), NID_ED25519);
    ck_assert_int_eq(EVP_PKEY_get_base_id(X509_get0_pubkey(server)), EVP_PKEY_ED25519);
}
END_TEST

START_TEST(the_names_of_the_server_and_the_role_are_in_the_certificates)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_kit(ISSUE_EC_P256);
    X509 *server SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_SERVER_CERTIFICATE);
    X509 *client SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_CLIENT_CERTIFICATE);
    struct certificate_text text;

    certificate_describe(server, &text);
    ck_assert_str_eq(text.names, "DNS:localhost, IP:127.0.0.1, IP:::1");
    ck_assert_int_eq(text.days_left, 89);
    certificate_describe(client, &text);
    ck_assert_str_eq(text.subject, "CN=repl");
    ck_assert_str_eq(text.names, "");
    ck_assert_str_eq(kit->files[TLS_KIT_CLIENT_KEY].name, "repl.key");
}
END_TEST

START_TEST(a_host_name_too_long_for_a_cn_is_an_alternative_name_all_the_same)
{
    static const char name[] = "a-very-long-name-of-a-managed-database.cluster-c0ffee.eu-central-1.example.com";
    const char *const list[] = {name, NULL};
    struct tls_kit_wish wish = {
        .names = list, .user = "repl", .days = 1, .algorithm = ISSUE_EC_P256, .metrics_names = list};
    struct tls_kit *kit SCOPED(scoped_tls_kit) = NULL;
    struct error err;

    ck_assert_msg(tls_kit_make(&wish, &kit, &err), "%s", err.message);
    X509 *server SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_SERVER_CERTIFICATE);
    X509 *endpoint SCOPED(scoped_certificate) = certificate_of(kit, TLS_KIT_METRICS_CERTIFICATE);
    ck_assert_int_eq(X509_check_host(server, name, 0, 0, NULL), 1);
    ck_assert_int_eq(X509_check_host(endpoint, name, 0, 0, NULL), 1);
}
END_TEST

START_TEST(a_role_whose_files_would_have_other_files_names_is_refused)
{
    static const char *const users[] = {"server",     "server-ca", "client-ca", "metrics",    "metrics-ca",
                                        "prometheus", "browser",   "gateway",   "gateway-ca", "restorer"};
    struct tls_kit_wish wish = {.names = names,
                                .user = users[_i],
                                .days = 1,
                                .algorithm = ISSUE_EC_P256,
                                .metrics_names = _i >= 3 && _i < 7 ? names : NULL,
                                .gateway_names = _i >= 7 ? names : NULL};
    struct tls_kit *kit = NULL;
    struct error err;

    ck_assert(!tls_kit_make(&wish, &kit, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_ptr_nonnull(strstr(err.message, users[_i]));
    ck_assert_ptr_nonnull(strstr(err.hint, users[_i]));
}
END_TEST

START_TEST(a_role_may_have_the_name_of_a_file_that_is_not_made)
{
    struct tls_kit_wish wish = {.names = names, .user = "prometheus", .days = 1, .algorithm = ISSUE_EC_P256};
    struct tls_kit *kit SCOPED(scoped_tls_kit) = NULL;
    struct error err;

    ck_assert_msg(tls_kit_make(&wish, &kit, &err), "%s", err.message);
    ck_assert_str_eq(kit->files[TLS_KIT_CLIENT_KEY].name, "prometheus.key");
}
END_TEST

static unsigned mode_of(const char *path)
{
    struct stat status;

    ck_assert_int_eq(stat(path, &status), 0);
    return status.st_mode & 07777;
}

START_TEST(all_files_are_private_with_any_umask)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_metrics_kit(ISSUE_EC_P256);
    char path[PATH_MAX];
    struct error err;

    umask(_i == 0 ? 0 : 077);
    ck_assert_msg(tls_kit_write(kit, scratch_path("a/tls"), &err), "%s", err.message);
    ck_assert_uint_eq(mode_of(scratch_path("a/tls")), 0700);
    for (int part = 0; part < TLS_KIT_GATEWAY_CA_CERTIFICATE; part++) {
        snprintf(path, sizeof path, "%s/%s", scratch_path("a/tls"), kit->files[part].name);
        ck_assert_uint_eq(mode_of(path), 0600);
        snprintf(path, sizeof path, "%s/%s.tmp", scratch_path("a/tls"), kit->files[part].name);
        ck_assert_int_eq(access(path, F_OK), -1);
    }
}
END_TEST

START_TEST(an_empty_directory_is_used_and_made_private)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_kit(ISSUE_EC_P256);
    struct error err;

    ck_assert_int_eq(mkdir(scratch_path("tls"), 0755), 0);
    ck_assert(tls_kit_check_directory(scratch_path("tls"), &err));
    ck_assert_msg(tls_kit_write(kit, scratch_path("tls"), &err), "%s", err.message);
    ck_assert_uint_eq(mode_of(scratch_path("tls")), 0700);
}
END_TEST

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

START_TEST(a_directory_that_holds_anything_is_refused_by_name)
{
    struct error err;

    write_text(scratch_path("zebra"), "");
    write_text(scratch_path(".hidden"), "");
    ck_assert(!tls_kit_check_directory(scratch_directory, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_ptr_nonnull(strstr(err.message, "\".hidden\""));
    ck_assert(!tls_kit_check_directory(scratch_path("zebra"), &err));
    ck_assert_ptr_nonnull(strstr(err.message, "is not a directory"));
    ck_assert(tls_kit_check_directory(scratch_path("missing"), &err));
}
END_TEST

/* Whatever comes in between after the first look. */
START_TEST(no_name_that_is_taken_is_replaced_and_nothing_of_ours_is_left)
{
    static const char *const taken[] = {"server-ca.crt", "repl.key", "repl.key.tmp", "prometheus.key"};
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_metrics_kit(ISSUE_EC_P256);
    struct buffer bytes SCOPED(buffer_done) = BUFFER_WITH_LIMIT(100);
    struct error err;

    write_text(scratch_path(taken[_i]), "precious");
    ck_assert(!tls_kit_write(kit, scratch_directory, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_ptr_nonnull(strstr(err.message, taken[_i]));
    ck_assert_int_eq(scratch_count_entries(), 1);
    ck_assert(file_read_whole(scratch_path(taken[_i]), &bytes, &err));
    ck_assert_uint_eq(bytes.used, strlen("precious"));
}
END_TEST

START_TEST(a_directory_that_could_not_be_filled_is_not_left)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = make_kit(ISSUE_EC_P256);
    struct error err;

    free(kit->files[TLS_KIT_CLIENT_KEY].name);
    kit->files[TLS_KIT_CLIENT_KEY].name = strdup("no/such/folder.key");
    ck_assert(!tls_kit_write(kit, scratch_path("tls"), &err));
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    ck_assert_int_eq(scratch_count_entries(), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("tls_kit");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_loop_test(tests, server_and_client_have_separate_authorities, ISSUE_EC_P256, ISSUE_ED25519 + 1);
    tcase_add_loop_test(tests, the_endpoint_and_prometheus_have_an_authority_that_makes_no_logins, ISSUE_EC_P256,
                        ISSUE_ED25519 + 1);
    tcase_add_loop_test(tests, the_gateway_and_its_client_have_an_authority_that_makes_no_logins, ISSUE_EC_P256,
                        ISSUE_ED25519 + 1);
    tcase_add_test(tests, the_gateway_has_names_of_its_own_and_its_client_the_name_of_restorers);
    tcase_add_test(tests, the_endpoint_has_the_names_of_the_server_and_prometheus_its_own);
    tcase_add_loop_test(tests, the_bundle_of_a_browser_opens_with_its_password_only, ISSUE_EC_P256, ISSUE_ED25519 + 1);
    tcase_add_test(tests, the_endpoint_may_have_names_of_its_own);
    tcase_add_test(tests, nothing_is_made_for_metrics_and_gateway_unless_they_are_wished);
    tcase_add_test(tests, each_key_belongs_to_the_certificate_in_front_of_it);
    tcase_add_test(tests, no_server_certificate_is_signed_by_ed25519);
    tcase_add_test(tests, the_names_of_the_server_and_the_role_are_in_the_certificates);
    tcase_add_test(tests, a_host_name_too_long_for_a_cn_is_an_alternative_name_all_the_same);
    tcase_add_loop_test(tests, a_role_whose_files_would_have_other_files_names_is_refused, 0, 10);
    tcase_add_test(tests, a_role_may_have_the_name_of_a_file_that_is_not_made);
    tcase_add_loop_test(tests, all_files_are_private_with_any_umask, 0, 2);
    tcase_add_test(tests, an_empty_directory_is_used_and_made_private);
    tcase_add_test(tests, a_directory_that_holds_anything_is_refused_by_name);
    tcase_add_loop_test(tests, no_name_that_is_taken_is_replaced_and_nothing_of_ours_is_left, 0, 4);
    tcase_add_test(tests, a_directory_that_could_not_be_filled_is_not_left);
    return suite_run("tls_kit", tests);
}
