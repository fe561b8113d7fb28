#include "pgcoffer/tls/issue.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "pgcoffer/tls/certificate.h"
#include "support/suite.h"

struct pair {
    EVP_PKEY *key;
    X509 *certificate;
};

static struct pair make(enum issue_algorithm algorithm, struct issue_wish wish, const struct pair *issuer)
{
    struct pair pair = {0};
    struct error err;

    ck_assert_msg(issue_key(algorithm, &pair.key, &err), "%s", err.message);
    wish.key = pair.key;
    if (issuer != NULL) {
        wish.issuer = issuer->certificate;
        wish.issuer_key = issuer->key;
    }
    if (wish.days == 0)
        wish.days = 30;
    ck_assert_msg(issue_certificate(&wish, &pair.certificate, &err), "%s", err.message);
    return pair;
}

static struct pair make_authority(enum issue_algorithm algorithm, const char *name)
{
    return make(algorithm, (struct issue_wish){.purpose = ISSUE_AUTHORITY, .common_name = name, .days = 365}, NULL);
}

static void done(struct pair *pair)
{
    X509_free(pair->certificate);
    EVP_PKEY_free(pair->key);
}

/* As a server or a client would judge it, strictly; X509_V_OK or the reason. */
static int verify(const struct pair *leaf, const struct pair *authority, int purpose, X509_CRL *list)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();

    X509_STORE_add_cert(store, authority->certificate);
    X509_STORE_set_flags(store, X509_V_FLAG_X509_STRICT);
    if (list != NULL) {
        X509_STORE_add_crl(store, list);
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    }
    ck_assert_int_eq(X509_STORE_CTX_init(context, store, leaf->certificate, NULL), 1);
    X509_STORE_CTX_set_purpose(context, purpose);
    X509_verify_cert(context);
    int reason = X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    ERR_clear_error();
    return reason;
}

static bool has_critical(const X509 *certificate, int nid)
{
    int index = X509_get_ext_by_NID(certificate, nid, -1);

    return index >= 0 && X509_EXTENSION_get_critical(X509_get_ext(certificate, index)) == 1;
}

static const char *digest_name(const X509 *certificate)
{
    int digest = NID_undef;

    X509_get_signature_info((X509 *)certificate, &digest, NULL, NULL, NULL);
    return OBJ_nid2sn(digest);
}

START_TEST(each_kind_of_key_signs_and_is_signed)
{
    static const struct {
        enum issue_algorithm algorithm;
        int type, bits;
        const char *digest;
    } rows[] = {
        {ISSUE_EC_P256, EVP_PKEY_EC, 256, "SHA256"},
        {ISSUE_RSA_3072, EVP_PKEY_RSA, 3072, "SHA256"},
        {ISSUE_ED25519, EVP_PKEY_ED25519, 256, "UNDEF"},
    };

    for (size_t i = 0; i < 3; i++) {
        struct pair authority = make_authority(rows[i].algorithm, "Lab CA");
        ck_assert_int_eq(EVP_PKEY_get_base_id(authority.key), rows[i].type);
        ck_assert_int_eq((EVP_PKEY_get_bits(authority.key) + 7) / 8 * 8, rows[i].bits);
        ck_assert_str_eq(digest_name(authority.certificate), rows[i].digest);
        for (size_t j = 0; j < 3; j++) {
            struct pair leaf = make(rows[j].algorithm,
                                    (struct issue_wish){.purpose = ISSUE_CLIENT, .common_name = "repl"}, &authority);
            ck_assert_int_eq(verify(&leaf, &authority, X509_PURPOSE_SSL_CLIENT, NULL), X509_V_OK);
            done(&leaf);
        }
        done(&authority);
    }
}
END_TEST

START_TEST(a_word_names_an_algorithm)
{
    enum issue_algorithm algorithm = ISSUE_EC_P256;

    ck_assert(issue_algorithm_find("rsa", &algorithm) && algorithm == ISSUE_RSA_3072);
    ck_assert(issue_algorithm_find("ed25519", &algorithm) && algorithm == ISSUE_ED25519);
    ck_assert(issue_algorithm_find("ec", &algorithm) && algorithm == ISSUE_EC_P256);
    ck_assert(!issue_algorithm_find("dsa", &algorithm) && !issue_algorithm_find("", &algorithm));
}
END_TEST

START_TEST(a_certificate_serves_its_own_purpose_only)
{
    struct pair authority = make_authority(ISSUE_EC_P256, "Lab CA");
    struct pair other = make_authority(ISSUE_EC_P256, "Lab CA");
    struct pair server =
        make(ISSUE_EC_P256, (struct issue_wish){.purpose = ISSUE_SERVER, .common_name = "db1"}, &authority);
    struct pair client =
        make(ISSUE_EC_P256, (struct issue_wish){.purpose = ISSUE_CLIENT, .common_name = "repl"}, &authority);

    ck_assert_int_eq(verify(&server, &authority, X509_PURPOSE_SSL_SERVER, NULL), X509_V_OK);
    ck_assert_int_eq(verify(&client, &authority, X509_PURPOSE_SSL_CLIENT, NULL), X509_V_OK);
    ck_assert_int_eq(verify(&server, &authority, X509_PURPOSE_SSL_CLIENT, NULL), X509_V_ERR_INVALID_PURPOSE);
    ck_assert_int_eq(verify(&client, &authority, X509_PURPOSE_SSL_SERVER, NULL), X509_V_ERR_INVALID_PURPOSE);
    ck_assert_int_ne(verify(&client, &other, X509_PURPOSE_SSL_CLIENT, NULL), X509_V_OK);
    ck_assert_int_eq(X509_check_ca(authority.certificate), 1);
    ck_assert_int_eq(X509_check_ca(server.certificate), 0);
    ck_assert_int_eq(X509_check_ca(client.certificate), 0);
    done(&client);
    done(&server);
    done(&other);
    done(&authority);
}
END_TEST

START_TEST(the_extensions_are_those_of_todays_certificates)
{
    struct pair authority = make_authority(ISSUE_EC_P256, "Lab CA");
    struct pair server =
        make(ISSUE_EC_P256, (struct issue_wish){.purpose = ISSUE_SERVER, .common_name = "db1"}, &authority);

    ck_assert_int_eq(X509_get_version(server.certificate), X509_VERSION_3);
    ck_assert(has_critical(server.certificate, NID_basic_constraints));
    ck_assert(has_critical(server.certificate, NID_key_usage));
    ck_assert_uint_eq(X509_get_key_usage(server.certificate), KU_DIGITAL_SIGNATURE);
    ck_assert_uint_eq(X509_get_extended_key_usage(server.certificate), XKU_SSL_SERVER);
    ck_assert_uint_eq(X509_get_key_usage(authority.certificate), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    ck_assert(has_critical(authority.certificate, NID_basic_constraints));
    ck_assert_int_eq(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(server.certificate),
                                           X509_get0_subject_key_id(authority.certificate)),
                     0);
    ck_assert_ptr_nonnull(X509_get0_subject_key_id(server.certificate));
    done(&server);
    done(&authority);
}
END_TEST

START_TEST(names_and_addresses_become_alternative_names)
{
    const char *const names[] = {"localhost", "192.0.2.1", "2001:db8::1", "*.example.com", "a,DNS:b", NULL};
    struct pair server =
        make(ISSUE_EC_P256, (struct issue_wish){.purpose = ISSUE_SERVER, .common_name = "db1", .names = names}, NULL);
    struct certificate_text text;

    certificate_describe(server.certificate, &text);
    ck_assert_ptr_nonnull(strstr(text.names, "DNS:localhost, IP:192.0.2.1, IP:2001:db8::1, DNS:*.example.com"));
    ck_assert_int_eq(X509_check_host(server.certificate, "localhost", 0, 0, NULL), 1);
    ck_assert_int_eq(X509_check_host(server.certificate, "x.example.com", 0, 0, NULL), 1);
    ck_assert_int_eq(X509_check_host(server.certificate, "b", 0, 0, NULL), 0);
    ck_assert_int_eq(X509_check_ip_asc(server.certificate, "192.0.2.1", 0), 1);
    ck_assert_int_eq(X509_check_ip_asc(server.certificate, "2001:db8:0::1", 0), 1);
    ck_assert_int_eq(X509_check_ip_asc(server.certificate, "192.0.2.2", 0), 0);
    done(&server);
}
END_TEST

START_TEST(serial_numbers_are_random_and_positive)
{
    struct pair first = make_authority(ISSUE_EC_P256, "Lab CA");
    struct pair second = make_authority(ISSUE_EC_P256, "Lab CA");
    const ASN1_INTEGER *number = X509_get0_serialNumber(first.certificate);

    ck_assert_int_ne(ASN1_INTEGER_cmp(number, X509_get0_serialNumber(second.certificate)), 0);
    ck_assert_int_eq(ASN1_STRING_type(number), V_ASN1_INTEGER); /* else V_ASN1_NEG_INTEGER */
    ck_assert_int_ge(ASN1_STRING_length(number), 8);
    ck_assert_int_le(ASN1_STRING_length(number), 20);
    done(&second);
    done(&first);
}
END_TEST

START_TEST(dates_begin_an_hour_ago_and_never_outlive_the_issuer)
{
    struct pair authority = make_authority(ISSUE_EC_P256, "Lab CA");
    struct pair leaf = make(
        ISSUE_EC_P256, (struct issue_wish){.purpose = ISSUE_CLIENT, .common_name = "repl", .days = 30}, &authority);
    struct pair longer = make(
        ISSUE_EC_P256, (struct issue_wish){.purpose = ISSUE_CLIENT, .common_name = "repl", .days = 36500}, &authority);
    struct certificate_text text;

    certificate_describe(leaf.certificate, &text);
    int64_t since = (clock_now().microseconds - text.not_before.microseconds) / 1000000;
    ck_assert_int_ge(since, 3600);
    ck_assert_int_lt(since, 3660);
    ck_assert_int_eq(text.days_left, 29); /* and some hours */
    ck_assert_int_eq(
        ASN1_TIME_compare(X509_get0_notAfter(longer.certificate), X509_get0_notAfter(authority.certificate)), 0);
    ck_assert_int_eq(verify(&longer, &authority, X509_PURPOSE_SSL_CLIENT, NULL), X509_V_OK);
    done(&longer);
    done(&leaf);
    done(&authority);
}
END_TEST

START_TEST(dates_beyond_2050_are_written_right)
{
    struct pair authority =
        make(ISSUE_EC_P256, (struct issue_wish){.purpose = ISSUE_AUTHORITY, .common_name = "a", .days = 36500}, NULL);
    struct certificate_text text;

    certificate_describe(authority.certificate, &text);
    ck_assert_int_eq(text.days_left, 36499);
    ck_assert_int_eq(verify(&authority, &authority, X509_PURPOSE_ANY, NULL), X509_V_OK);
    done(&authority);
}
END_TEST

START_TEST(without_an_issuer_it_is_self_signed)
{
    struct pair pair = make(ISSUE_ED25519, (struct issue_wish){.purpose = ISSUE_CLIENT, .common_name = "nobody"}, NULL);

    ck_assert_int_eq(X509_self_signed(pair.certificate, 1), 1);
    ck_assert_uint_eq(X509_get_extended_key_usage(pair.certificate), XKU_SSL_CLIENT);
    done(&pair);
}
END_TEST

START_TEST(an_empty_revocation_list_lets_everybody_pass)
{
    enum issue_algorithm algorithms[] = {ISSUE_EC_P256, ISSUE_RSA_3072, ISSUE_ED25519};

    for (size_t i = 0; i < 3; i++) {
        struct pair authority = make_authority(algorithms[i], "Lab CA");
        struct pair leaf =
            make(ISSUE_EC_P256, (struct issue_wish){.purpose = ISSUE_CLIENT, .common_name = "repl"}, &authority);
        X509_CRL *list = NULL;
        struct error err;

        ck_assert_msg(issue_revocation_list(authority.certificate, authority.key, 10, &list, &err), "%s", err.message);
        ck_assert_int_eq(X509_CRL_get_version(list), X509_CRL_VERSION_2);
        ck_assert_int_eq(X509_CRL_verify(list, authority.key), 1);
        ck_assert_int_eq(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(list)), -1);
        ck_assert_int_eq(X509_cmp_current_time(X509_CRL_get0_nextUpdate(list)), 1);
        ck_assert_int_ge(X509_CRL_get_ext_by_NID(list, NID_authority_key_identifier, -1), 0);
        ck_assert_int_ge(X509_CRL_get_ext_by_NID(list, NID_crl_number, -1), 0);
        ck_assert_int_eq(verify(&leaf, &authority, X509_PURPOSE_SSL_CLIENT, list), X509_V_OK);
        X509_CRL_free(list);
        done(&leaf);
        done(&authority);
    }
}
END_TEST

START_TEST(what_openssl_refuses_is_an_error_with_its_reason)
{
    char name[65 + 1];
    struct pair pair = {0};
    struct error err;

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ck_assert(issue_key(ISSUE_EC_P256, &pair.key, &err));
    struct issue_wish wish = {.purpose = ISSUE_CLIENT, .common_name = name, .key = pair.key, .days = 1};
    ck_assert(!issue_certificate(&wish, &pair.certificate, &err));
    ck_assert_int_eq(err.kind, ERROR_TLS);
    ck_assert_ptr_nonnull(strstr(err.message, "string too long"));
    ck_assert_ptr_nonnull(strstr(err.message, name));
    ck_assert_ptr_null(pair.certificate);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    done(&pair);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("issue");

    tcase_add_test(tests, each_kind_of_key_signs_and_is_signed);
    tcase_add_test(tests, a_word_names_an_algorithm);
    tcase_add_test(tests, a_certificate_serves_its_own_purpose_only);
    tcase_add_test(tests, the_extensions_are_those_of_todays_certificates);
    tcase_add_test(tests, names_and_addresses_become_alternative_names);
    tcase_add_test(tests, serial_numbers_are_random_and_positive);
    tcase_add_test(tests, dates_begin_an_hour_ago_and_never_outlive_the_issuer);
    tcase_add_test(tests, dates_beyond_2050_are_written_right);
    tcase_add_test(tests, without_an_issuer_it_is_self_signed);
    tcase_add_test(tests, an_empty_revocation_list_lets_everybody_pass);
    tcase_add_test(tests, what_openssl_refuses_is_an_error_with_its_reason);
    return suite_run("issue", tests);
}
