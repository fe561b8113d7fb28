#ifndef PGCOFFER_TEST_TLS_PKI_H
#define PGCOFFER_TEST_TLS_PKI_H

#include <check.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/config/config.h"

/* Certificates made on the spot, in a scratch folder of the test. */

#define PKI_DAY 86400L

struct pki_pair {
    X509 *certificate;
    EVP_PKEY *key;
};

struct pki_wish {
    const char *common_name;       /* NULL: no CN, only O=Lab */
    const char *names;             /* "DNS:localhost,IP:127.0.0.1" */
    const char *usage;             /* "serverAuth", "clientAuth" */
    const struct pki_pair *issuer; /* NULL: self-signed */
    bool is_authority;
    bool is_tied;               /* has an authority key identifier: only this key's issuer will do */
    const char *extra;          /* authorityInfoAccess: "caIssuers;URI:http://pki.example/ca.crt" */
    const EVP_MD *digest;       /* of the signature; NULL: SHA-256, none for Ed25519 */
    EVP_PKEY *key;              /* taken over; NULL: a new EC key */
    long from_days, until_days; /* from now; both 0: yesterday until in 100 days */
};

static char pki_folder[64];

static inline void pki_remove_folder(void)
{
    struct error ignored;

    if (!file_remove_tree(pki_folder, &ignored))
        fprintf(stderr, "%s\n", ignored.message);
}

/* Goes away with the process of the test. */
static inline void pki_scratch(char path[64])
{
    snprintf(path, 64, "/tmp/pgcoffer-tls-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    snprintf(pki_folder, sizeof pki_folder, "%s", path);
    atexit(pki_remove_folder);
}

static inline void pki_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    ck_assert_ptr_nonnull(extension);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

static inline struct pki_pair pki_make(struct pki_wish wish)
{
    static long serial;
    struct pki_pair pair = {.certificate = X509_new(), .key = wish.key != NULL ? wish.key : EVP_EC_gen("P-256")};
    X509 *certificate = pair.certificate;
    X509 *issuer = wish.issuer == NULL ? certificate : wish.issuer->certificate;
    bool is_usual = wish.from_days == 0 && wish.until_days == 0;
    X509_NAME *subject = X509_get_subject_name(certificate);

    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), (is_usual ? -1 : wish.from_days) * PKI_DAY);
    X509_gmtime_adj(X509_getm_notAfter(certificate), (is_usual ? 100 : wish.until_days) * PKI_DAY);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)"Lab", -1, -1, 0);
    if (wish.common_name != NULL)
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)wish.common_name, -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    X509_set_pubkey(certificate, pair.key);
    pki_add_extension(certificate, issuer, NID_basic_constraints, wish.is_authority ? "critical,CA:TRUE" : "CA:FALSE");
    pki_add_extension(certificate, issuer, NID_subject_key_identifier, "hash");
    if (wish.names != NULL)
        pki_add_extension(certificate, issuer, NID_subject_alt_name, wish.names);
    if (wish.usage != NULL)
        pki_add_extension(certificate, issuer, NID_ext_key_usage, wish.usage);
    if (wish.is_tied)
        pki_add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always");
    if (wish.extra != NULL)
        pki_add_extension(certificate, issuer, NID_info_access, wish.extra);
    EVP_PKEY *signer = wish.issuer == NULL ? pair.key : wish.issuer->key;
    bool has_own_digest = EVP_PKEY_get_base_id(signer) == EVP_PKEY_ED25519;
    const EVP_MD *digest = wish.digest != NULL ? wish.digest : EVP_sha256();
    ck_assert_int_gt(X509_sign(certificate, signer, has_own_digest ? NULL : digest), 0);
    return pair;
}

static inline struct pki_pair pki_authority(const char *common_name)
{
    return pki_make((struct pki_wish){.common_name = common_name, .is_authority = true});
}

static inline void pki_done(struct pki_pair *pair)
{
    X509_free(pair->certificate);
    EVP_PKEY_free(pair->key);
}

/* Appends to the file, so that a chain is written by calling it again. */
static inline void pki_write_certificate(const char *path, const struct pki_pair *pair)
{
    FILE *file = fopen(path, "a");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(PEM_write_X509(file, pair->certificate), 1);
    fclose(file);
}

/* With a passphrase when one is given. */
static inline void pki_write_key(const char *path, const struct pki_pair *pair, const char *passphrase)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(PEM_write_PKCS8PrivateKey(file, pair->key, passphrase == NULL ? NULL : EVP_aes_128_cbc(), NULL, 0,
                                               NULL, (void *)(uintptr_t)passphrase),
                     1);
    fclose(file);
    ck_assert_int_eq(chmod(path, 0600), 0);
}

static inline void pki_write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

/* A list of `issuer` that revokes `revoked` (may be NULL) and is due again in `days`. */
static inline void pki_write_list(const char *path, const struct pki_pair *issuer, X509 *revoked, long days)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *last = ASN1_TIME_adj(NULL, time(NULL), days < 0 ? (int)days - 1 : -1, 0);
    ASN1_TIME *next = ASN1_TIME_adj(NULL, time(NULL), (int)days, 0);
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    X509_CRL_set_version(list, 1);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->certificate));
    X509_CRL_set1_lastUpdate(list, last);
    X509_CRL_set1_nextUpdate(list, next);
    if (revoked != NULL) {
        X509_REVOKED *entry = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked));
        X509_REVOKED_set_revocationDate(entry, last);
        X509_CRL_add0_revoked(list, entry);
    }
    ck_assert_int_gt(X509_CRL_sign(list, issuer->key, EVP_sha256()), 0);
    ck_assert_int_eq(PEM_write_X509_CRL(file, list), 1);
    fclose(file);
    ASN1_TIME_free(last);
    ASN1_TIME_free(next);
    X509_CRL_free(list);
}

#endif
