#include "jobs/gateway/identity_internal.h"

#include <openssl/x509v3.h>
#include <string.h>

#include "pgcoffer/base/json.h"
#include "pgcoffer/tls/certificate.h"
#include "support/suite.h"

static X509 *certificate;

static void make_certificate(void)
{
    certificate = X509_new();
}

static void free_certificate(void)
{
    X509_free(certificate);
}

static void add_common_name(const char *bytes, int size)
{
    ck_assert_int_eq(X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, V_ASN1_UTF8STRING,
                                                (const unsigned char *)bytes, size, -1, 0),
                     1);
}

static void add_names(const char *names)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, (char *)names);

    ck_assert_ptr_nonnull(extension);
    ck_assert_int_eq(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static struct identity take(void)
{
    struct identity identity;

    identity_of_certificate(certificate, &identity);
    return identity;
}

START_TEST(a_common_name_and_alternative_names_of_every_kind_are_the_identity)
{
    char text[IDENTITY_TEXT_SIZE];

    add_common_name("db1", 3);
    add_names("DNS:db1.example.com,email:a@example.com,URI:spiffe://x/db1,RID:1.2.3,IP:192.0.2.1,IP:2001:db8::1");
    struct identity identity = take();
    ck_assert_str_eq(identity.common_name, "db1");
    ck_assert_uint_eq(identity.name_count, 5); /* an object identifier is no name */
    ck_assert_str_eq(identity.names[0], "db1.example.com");
    ck_assert_str_eq(identity.names[2], "spiffe://x/db1");
    ck_assert_str_eq(identity.names[3], "192.0.2.1");
    ck_assert_str_eq(identity.names[4], "2001:db8::1");
    identity_format(&identity, text);
    ck_assert_str_eq(text, "cert:db1");
    json_t *line SCOPED(scoped_json) = identity_to_json(&identity, "192.0.2.9:4000");
    ck_assert_str_eq(json_text_or_null(line, "command"), "on-behalf");
    ck_assert_str_eq(json_text_or_null(line, "cn"), "db1");
    ck_assert_str_eq(json_text_or_null(line, "address"), "192.0.2.9:4000");
    ck_assert_uint_eq(json_array_size(json_object_get(line, "san")), 5);
}
END_TEST

START_TEST(of_two_common_names_there_is_none)
{
    char text[IDENTITY_TEXT_SIZE];

    add_common_name("db1", 3);
    add_common_name("boss", 4);
    struct identity identity = take();
    ck_assert_str_eq(identity.common_name, "");
    identity_format(&identity, text);
    ck_assert_str_eq(text, "a certificate without a usable name");
}
END_TEST

START_TEST(a_name_that_ends_early_or_moves_a_cursor_is_none)
{
    static const struct {
        const char *bytes;
        int size;
    } names[] = {{"boss\0.example.com", 17}, {"boss\n", 5}, {"\x1b[2Jboss", 8}, {"boss\x7f", 5}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        X509_free(certificate);
        certificate = X509_new();
        add_common_name(names[i].bytes, names[i].size);
        ck_assert_str_eq(take().common_name, "");
    }
}
END_TEST

START_TEST(more_names_than_are_taken_and_longer_ones_are_left_out)
{
    char names[4000] = "", one[300];
    char text[IDENTITY_TEXT_SIZE];

    memset(one, 'x', sizeof one);
    snprintf(names, sizeof names, "DNS:%.256s", one);
    for (int i = 0; i < 40; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, ",DNS:n%d", i);
    }
    add_names(names);
    struct identity identity = take();
    ck_assert_uint_eq(identity.name_count, IDENTITY_MOST_NAMES);
    ck_assert_str_eq(identity.names[0], "n0");
    identity_format(&identity, text);
    ck_assert_str_eq(text, "san:n0");
}
END_TEST

START_TEST(a_certificate_without_a_subject_has_no_identity)
{
    struct identity identity = take();

    ck_assert_str_eq(identity.common_name, "");
    ck_assert_uint_eq(identity.name_count, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("gateway_identity");

    tcase_add_checked_fixture(tests, make_certificate, free_certificate);
    tcase_add_test(tests, a_common_name_and_alternative_names_of_every_kind_are_the_identity);
    tcase_add_test(tests, of_two_common_names_there_is_none);
    tcase_add_test(tests, a_name_that_ends_early_or_moves_a_cursor_is_none);
    tcase_add_test(tests, more_names_than_are_taken_and_longer_ones_are_left_out);
    tcase_add_test(tests, a_certificate_without_a_subject_has_no_identity);
    return suite_run("gateway_identity", tests);
}
