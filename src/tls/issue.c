#include "pgcoffer/tls/issue.h"

#include <arpa/inet.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "pgcoffer/tls/certificate.h"

#define RSA_BITS        3072
#define SERIAL_BITS     127 /* positive, and less than the 20 bytes that RFC 5280 allows */
#define EARLIER_SECONDS 3600
#define BUNDLE_ROUNDS   100000 /* of the derivation of its keys from the password */

static bool fail(struct error *err, const char *what)
{
    char words[256];

    certificate_openssl_words(words, sizeof words);
    return error_set(err, ERROR_TLS, "could not make %s: %s", what, words);
}

bool issue_algorithm_find(const char *word, enum issue_algorithm *ret_algorithm)
{
    static const char *const words[] = {[ISSUE_EC_P256] = "ec", [ISSUE_RSA_3072] = "rsa", [ISSUE_ED25519] = "ed25519"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i]) == 0) {
            *ret_algorithm = (enum issue_algorithm)i;
            return true;
        }
    return false;
}

bool issue_key(enum issue_algorithm algorithm, EVP_PKEY **ret_key, struct error *err)
{
    EVP_PKEY *key = NULL;

    switch (algorithm) {
    case ISSUE_EC_P256:
        key = EVP_EC_gen("P-256");
        break;
    case ISSUE_RSA_3072:
        key = EVP_RSA_gen(RSA_BITS);
        break;
    case ISSUE_ED25519:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    }
    if (key == NULL)
        return fail(err, "a private key");
    *ret_key = key;
    return true;
}

/* The Edwards curves hash by themselves. */
static const EVP_MD *digest_of(const EVP_PKEY *key)
{
    int type = EVP_PKEY_get_base_id(key);

    return type == EVP_PKEY_ED25519 || type == EVP_PKEY_ED448 ? NULL : EVP_sha256();
}

static bool set_serial(X509 *certificate)
{
    BIGNUM *number = BN_new();
    bool is_set = number != NULL && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
                  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;

    BN_free(number);
    return is_set;
}

/* Nothing outlives the one who signed it: a verifier would not take it any more. */
static bool set_dates(ASN1_TIME *begin, ASN1_TIME *end, long days, const X509 *issuer)
{
    time_t now = time(NULL);

    if (X509_time_adj_ex(begin, 0, -EARLIER_SECONDS, &now) == NULL || X509_time_adj_ex(end, (int)days, 0, &now) == NULL)
        return false;
    if (issuer == NULL || ASN1_TIME_compare(end, X509_get0_notAfter(issuer)) <= 0)
        return true;
    return ASN1_STRING_copy(end, X509_get0_notAfter(issuer)) == 1;
}

static bool set_subject(X509 *certificate, const char *common_name)
{
    X509_NAME *subject = X509_get_subject_name(certificate);

    return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) == 1;
}

static GENERAL_NAME *make_name(const char *text)
{
    unsigned char address[sizeof(struct in6_addr)];
    int size = inet_pton(AF_INET, text, address) == 1    ? (int)sizeof(struct in_addr)
               : inet_pton(AF_INET6, text, address) == 1 ? (int)sizeof(struct in6_addr)
                                                         : 0;
    bool is_address = size > 0;
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = ASN1_STRING_type_new(is_address ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);

    if (name == NULL || value == NULL ||
        ASN1_STRING_set(value, is_address ? (const void *)address : text, is_address ? size : -1) != 1) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return NULL;
    }
    GENERAL_NAME_set0_value(name, is_address ? GEN_IPADD : GEN_DNS, value);
    return name;
}

/* Not through OpenSSL's configuration text, in which a comma within a name would begin another one. */
static bool add_names(X509 *certificate, const char *const *names)
{
    GENERAL_NAMES *list = NULL;
    bool is_added = true;

    if (names == NULL || names[0] == NULL)
        return true;
    list = GENERAL_NAMES_new();
    for (size_t i = 0; list != NULL && is_added && names[i] != NULL; i++) {
        GENERAL_NAME *name = make_name(names[i]);
        is_added = name != NULL && sk_GENERAL_NAME_push(list, name) > 0;
        if (!is_added)
            GENERAL_NAME_free(name);
    }
    is_added = list != NULL && is_added && X509_add1_ext_i2d(certificate, NID_subject_alt_name, list, 0, 0) == 1;
    GENERAL_NAMES_free(list);
    return is_added;
}

static bool add_extension(X509V3_CTX *context, X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, nid, value);
    bool is_added = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;

    X509_EXTENSION_free(extension);
    return is_added;
}

static bool add_extensions(X509 *certificate, X509 *issuer, const struct issue_wish *wish)
{
    static const struct {
        const char *constraints, *usage, *extended_usage;
    } rows[] = {
        [ISSUE_AUTHORITY] = {"critical,CA:TRUE", "critical,keyCertSign,cRLSign", NULL},
        [ISSUE_SERVER] = {"critical,CA:FALSE", "critical,digitalSignature", "serverAuth"},
        [ISSUE_CLIENT] = {"critical,CA:FALSE", "critical,digitalSignature", "clientAuth"},
    };
    const char *extended_usage = rows[wish->purpose].extended_usage;
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    return add_extension(&context, certificate, NID_basic_constraints, rows[wish->purpose].constraints) &&
           add_extension(&context, certificate, NID_key_usage, rows[wish->purpose].usage) &&
           (extended_usage == NULL || add_extension(&context, certificate, NID_ext_key_usage, extended_usage)) &&
           add_extension(&context, certificate, NID_subject_key_identifier, "hash") &&
           add_extension(&context, certificate, NID_authority_key_identifier, "keyid:always") &&
           add_names(certificate, wish->names);
}

bool issue_certificate(const struct issue_wish *wish, X509 **ret_certificate, struct error *err)
{
    X509 *certificate SCOPED(scoped_certificate) = X509_new();
    X509 *issuer = wish->issuer == NULL ? certificate : wish->issuer;
    EVP_PKEY *signer = wish->issuer == NULL ? wish->key : wish->issuer_key;

    if (certificate == NULL || X509_set_version(certificate, X509_VERSION_3) != 1 || !set_serial(certificate) ||
        !set_dates(X509_getm_notBefore(certificate), X509_getm_notAfter(certificate), wish->days, wish->issuer) ||
        !set_subject(certificate, wish->common_name) ||
        X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) != 1 ||
        X509_set_pubkey(certificate, wish->key) != 1 || !add_extensions(certificate, issuer, wish) ||
        X509_sign(certificate, signer, digest_of(signer)) <= 0) {
        fail(err, "a certificate");
        return error_wrap(err, "CN=%s", wish->common_name);
    }
    *ret_certificate = TAKE(certificate);
    return true;
}

static bool add_list_extensions(X509_CRL *list, X509 *issuer)
{
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, NULL, NULL, list, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, NID_authority_key_identifier, "keyid:always");
    bool is_added = extension != NULL && X509_CRL_add_ext(list, extension, -1) == 1 && number != NULL &&
                    ASN1_INTEGER_set(number, 1) == 1 && X509_CRL_add1_ext_i2d(list, NID_crl_number, number, 0, 0) == 1;
    X509_EXTENSION_free(extension);
    ASN1_INTEGER_free(number);
    return is_added;
}

bool issue_revocation_list(X509 *issuer, EVP_PKEY *issuer_key, long days, X509_CRL **ret_list, struct error *err)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *begin = ASN1_TIME_new();
    ASN1_TIME *end = ASN1_TIME_new();
    bool is_made = list != NULL && begin != NULL && end != NULL && set_dates(begin, end, days, issuer) &&
                   X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1 &&
                   X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer)) == 1 &&
                   X509_CRL_set1_lastUpdate(list, begin) == 1 && X509_CRL_set1_nextUpdate(list, end) == 1 &&
                   add_list_extensions(list, issuer) && X509_CRL_sign(list, issuer_key, digest_of(issuer_key)) > 0;

    ASN1_TIME_free(begin);
    ASN1_TIME_free(end);
    if (is_made) {
        *ret_list = list;
        return true;
    }
    X509_CRL_free(list);
    return fail(err, "a revocation list");
}

bool issue_bundle(const struct issue_wish *wish, X509 *certificate, const char *name, const char *password,
                  struct buffer *out, struct error *err)
{
    STACK_OF(X509) *issuers = sk_X509_new_null();
    unsigned char *bytes = NULL;
    PKCS12 *bundle = NULL;
    int size = -1;

    /* Without its own idea of a MAC, which depends on the release of OpenSSL. */
    if (issuers != NULL && sk_X509_push(issuers, wish->issuer) > 0)
        bundle = PKCS12_create(password, name, wish->key, certificate, issuers, NID_aes_256_cbc, NID_aes_256_cbc,
                               BUNDLE_ROUNDS, -1, 0);
    if (bundle != NULL && PKCS12_set_mac(bundle, password, -1, NULL, 0, BUNDLE_ROUNDS, EVP_sha256()) == 1)
        size = i2d_PKCS12(bundle, &bytes);
    PKCS12_free(bundle);
    sk_X509_free(issuers);
    bool is_made = size > 0 ? buffer_append(out, bytes, (size_t)size, err) : fail(err, "a PKCS#12 file");
    OPENSSL_free(bytes);
    return is_made;
}
