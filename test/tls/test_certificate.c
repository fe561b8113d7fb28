#include "pgcoffer/tls/certificate.h"

#include <errno.h>
#include <openssl/err.h>

#include "support/suite.h"
#include "tls/pki.h"

START_TEST(a_certificate_is_told_in_words)
{
    struct pki_pair root = pki_authority("Lab Root");
    struct pki_pair leaf = pki_make((struct pki_wish){
        .common_name = "db1",
        .names = "DNS:db1.example.com,IP:192.0.2.1,IP:2001:db8::1",
        .issuer = &root,
    });
    struct certificate_text text;

    certificate_describe(leaf.certificate, &text);
    ck_assert_str_eq(text.subject, "CN=db1,O=Lab");
    ck_assert_str_eq(text.issuer, "CN=Lab Root,O=Lab");
    ck_assert_str_eq(text.common_name, "db1");
    ck_assert_str_eq(text.names, "DNS:db1.example.com, IP:192.0.2.1, IP:2001:db8::1");
    ck_assert_uint_eq(strlen(text.fingerprint), 32 * 3 - 1);
    ck_assert_int_ge(text.days_left, 98);
    ck_assert_int_le(text.days_left, 100);
    ck_assert_uint_eq(strlen(text.not_after_text), strlen("2026-11-22T01:30:00Z"));
    pki_done(&leaf);
    pki_done(&root);
}
END_TEST

START_TEST(a_certificate_without_names_has_empty_texts)
{
    struct pki_pair pair = pki_make((struct pki_wish){0});
    struct certificate_text text;

    certificate_describe(pair.certificate, &text);
    ck_assert_str_eq(text.common_name, "");
    ck_assert_str_eq(text.names, "");
    pki_done(&pair);
}
END_TEST

START_TEST(control_characters_of_a_subject_are_not_printed)
{
    struct pki_pair pair = pki_make((struct pki_wish){.common_name = "a\x1b[2Jb"});
    struct certificate_text text;

    certificate_describe(pair.certificate, &text);
    ck_assert_ptr_null(strchr(text.subject, '\x1b'));
    ck_assert_ptr_null(strchr(text.common_name, '\x1b'));
    pki_done(&pair);
}
END_TEST

START_TEST(an_expired_certificate_has_negative_days_left)
{
    struct pki_pair expired = pki_make((struct pki_wish){.common_name = "a", .from_days = -20, .until_days = -10});
    struct pki_pair future = pki_make((struct pki_wish){.common_name = "a", .from_days = 10, .until_days = 20});
    struct certificate_text text;
    char phrase[CERTIFICATE_PHRASE_SIZE];

    certificate_describe(expired.certificate, &text);
    ck_assert_int_lt(text.days_left, -9);
    ck_assert(!certificate_is_current(expired.certificate));
    certificate_phrase(expired.certificate, phrase);
    ck_assert_ptr_nonnull(strstr(phrase, "expired 10 days ago"));
    ck_assert(!certificate_is_current(future.certificate));
    certificate_phrase(future.certificate, phrase);
    ck_assert_ptr_nonnull(strstr(phrase, "not valid yet"));
    pki_done(&expired);
    pki_done(&future);
}
END_TEST

START_TEST(a_certificate_without_a_list_of_usages_may_be_used_for_all)
{
    struct pki_pair client = pki_make((struct pki_wish){.common_name = "a", .usage = "clientAuth"});
    struct pki_pair any = pki_make((struct pki_wish){.common_name = "a"});

    ck_assert(certificate_allows_usage(client.certificate, NID_client_auth));
    ck_assert(!certificate_allows_usage(client.certificate, NID_server_auth));
    ck_assert(certificate_allows_usage(any.certificate, NID_server_auth));
    pki_done(&client);
    pki_done(&any);
}
END_TEST

START_TEST(all_certificates_of_a_file_are_read_in_order)
{
    struct pki_pair first = pki_authority("first"), second = pki_authority("second");
    STACK_OF(X509) * all SCOPED(scoped_certificates) = NULL;
    X509 *one SCOPED(scoped_certificate) = NULL;
    char folder[64], path[128];
    struct error err = {0};

    pki_scratch(folder);
    snprintf(path, sizeof path, "%s/chain.crt", folder);
    pki_write_certificate(path, &first);
    pki_write_certificate(path, &second);
    ck_assert_msg(certificate_read_all(path, &all, &err), "%s", err.message);
    ck_assert_int_eq(sk_X509_num(all), 2);
    ck_assert_int_eq(X509_cmp(sk_X509_value(all, 1), second.certificate), 0);
    ck_assert(certificate_read(path, &one, &err));
    ck_assert_int_eq(X509_cmp(one, first.certificate), 0);
    pki_done(&first);
    pki_done(&second);
}
END_TEST

START_TEST(a_file_without_a_certificate_is_named_with_its_fault)
{
    X509 *certificate = NULL;
    char folder[64], path[128];
    struct error err = {0};

    pki_scratch(folder);
    snprintf(path, sizeof path, "%s/a.crt", folder);
    ck_assert(!certificate_read(path, &certificate, &err));
    ck_assert_int_eq(err.kind, ERROR_TLS);
    ck_assert_int_eq(err.errnum, ENOENT);
    ck_assert_ptr_nonnull(strstr(err.message, path));

    pki_write_text(path, "nothing here\n");
    ck_assert(!certificate_read(path, &certificate, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "holds no certificate"));

    pki_write_text(path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    ck_assert(!certificate_read(path, &certificate, &err));
    ck_assert_ptr_nonnull(strstr(err.message, path));
    ck_assert_ptr_null(certificate);
}
END_TEST

START_TEST(a_system_error_in_the_queue_has_words)
{
    char words[128];

    ERR_clear_error();
    ERR_raise(ERR_LIB_SYS, EACCES);
    certificate_openssl_words(words, sizeof words);
    ck_assert_str_eq(words, "Permission denied");
    ck_assert_uint_eq(ERR_peek_error(), 0);
    certificate_openssl_words(words, sizeof words);
    ck_assert_uint_gt(strlen(words), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("certificate");

    tcase_add_test(tests, a_certificate_is_told_in_words);
    tcase_add_test(tests, a_certificate_without_names_has_empty_texts);
    tcase_add_test(tests, control_characters_of_a_subject_are_not_printed);
    tcase_add_test(tests, an_expired_certificate_has_negative_days_left);
    tcase_add_test(tests, a_certificate_without_a_list_of_usages_may_be_used_for_all);
    tcase_add_test(tests, all_certificates_of_a_file_are_read_in_order);
    tcase_add_test(tests, a_file_without_a_certificate_is_named_with_its_fault);
    tcase_add_test(tests, a_system_error_in_the_queue_has_words);
    return suite_run("certificate", tests);
}
