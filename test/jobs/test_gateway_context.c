#include "jobs/tls_port/context_internal.h"

#include <string.h>

#include "jobs/gateway/gateway_internal.h"
#include "jobs/gateway_scene.h"
#include "support/suite.h"

static struct error failure;

static SSL_CTX *make(const struct port_files *files, const char *least)
{
    struct certificate_text text;
    SSL_CTX *context = NULL;

    (void)!port_context_new(files, &gateway_words, least, &context, &text, &failure);
    return context;
}

static void assert_refused(const struct port_files *files, const char *words)
{
    SSL_CTX *context = make(files, "TLSv1.3");

    ck_assert_msg(context == NULL, "no \"%s\"", words);
    ck_assert_int_eq(failure.kind, ERROR_TLS);
    ck_assert_msg(strstr(failure.message, words) != NULL, "%s", failure.message);
}

START_TEST(a_client_certificate_is_demanded_and_nothing_is_resumed)
{
    const struct port_files files = scene_files();
    SSL_CTX *context = make(&files, "TLSv1.3");

    ck_assert_msg(context != NULL, "%s", failure.message);
    ck_assert_int_eq(SSL_CTX_get_verify_mode(context), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    ck_assert_int_eq((int)SSL_CTX_get_min_proto_version(context), TLS1_3_VERSION);
    ck_assert_int_eq((int)SSL_CTX_get_session_cache_mode(context), SSL_SESS_CACHE_OFF);
    ck_assert_uint_eq(SSL_CTX_get_num_tickets(context), 0);
    ck_assert((SSL_CTX_get_options(context) & SSL_OP_NO_TICKET) != 0);
    SSL_CTX_free(context);
    context = make(&files, "TLSv1.2");
    ck_assert_int_eq((int)SSL_CTX_get_min_proto_version(context), TLS1_2_VERSION);
    SSL_CTX_free(context);
}
END_TEST

START_TEST(files_that_do_not_fit_each_other_are_refused)
{
    struct port_files files = scene_files();

    files.key = scene_client.key_pem;
    assert_refused(&files, "does not belong to the certificate");
    files = scene_files();
    files.key = scene_server.certificate_pem;
    assert_refused(&files, "tls_key_file holds no key");
    files = scene_files();
    files.certificate = scene_client.certificate_pem;
    files.key = scene_client.key_pem;
    assert_refused(&files, "is not for a server");
    files = scene_files();
    files.authorities = "";
    assert_refused(&files, "tls_ca_file holds no certificate");
    files = scene_files();
    files.revocations = scene_authority.certificate_pem;
    assert_refused(&files, "tls_crl_file holds no list");
    files = scene_files();
    files.certificate = "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n";
    assert_refused(&files, "tls_cert_file holds no certificate");
}
END_TEST

START_TEST(one_damaged_certificate_behind_good_ones_is_no_half_a_file)
{
    struct port_files files = scene_files();
    char *cut SCOPED(scoped_free) =
        memory_text("%s%.200s", scene_authority.certificate_pem, scene_client.certificate_pem);
    char *chain SCOPED(scoped_free) =
        memory_text("%s%.200s", scene_server.certificate_pem, scene_client.certificate_pem);

    files.authorities = cut;
    assert_refused(&files, "a certificate of tls_ca_file is damaged");
    files = scene_files();
    files.certificate = chain;
    assert_refused(&files, "that follows the first in tls_cert_file is damaged");
}
END_TEST

START_TEST(with_a_list_the_whole_chain_is_checked)
{
    struct port_files files = scene_files();
    X509_CRL *list = NULL;
    BIO *bio = BIO_new(BIO_s_mem());

    ck_assert(issue_revocation_list(scene_authority.certificate, scene_authority.key, 5, &list, &failure));
    PEM_write_bio_X509_CRL(bio, list);
    X509_CRL_free(list);
    char *text SCOPED(scoped_free) = scene_text(bio);
    files.revocations = text;
    SSL_CTX *context = make(&files, "TLSv1.3");
    ck_assert_msg(context != NULL, "%s", failure.message);
    unsigned long flags = X509_VERIFY_PARAM_get_flags(X509_STORE_get0_param(SSL_CTX_get_cert_store(context)));
    ck_assert_uint_eq(flags & (X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL),
                      X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    SSL_CTX_free(context);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("gateway_context");

    tcase_add_checked_fixture(tests, scene_begin, scene_end);
    tcase_add_test(tests, a_client_certificate_is_demanded_and_nothing_is_resumed);
    tcase_add_test(tests, files_that_do_not_fit_each_other_are_refused);
    tcase_add_test(tests, one_damaged_certificate_behind_good_ones_is_no_half_a_file);
    tcase_add_test(tests, with_a_list_the_whole_chain_is_checked);
    return suite_run("gateway_context", tests);
}
