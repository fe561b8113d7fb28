#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/issue.h"
#include "tls/files_internal.h"

/* NULL with OpenSSL's words when there is none to be read. */
static EVP_PKEY *read_key(const char *path, bool *ret_is_encrypted, char *ret_words, size_t size)
{
    ERR_clear_error();
    BIO *bio SCOPED(scoped_bio) = BIO_new_file(path, "r");
    EVP_PKEY *key = NULL;

    *ret_is_encrypted = false;
    if (bio != NULL)
        key = PEM_read_bio_PrivateKey(bio, NULL, certificate_refuse_passphrase, ret_is_encrypted);
    if (bio != NULL && key == NULL && !*ret_is_encrypted && BIO_reset(bio) == 0)
        key = d2i_PrivateKey_bio(bio, NULL);
    if (key == NULL)
        certificate_openssl_words(ret_words, size);
    ERR_clear_error();
    return key;
}

bool files_key_fault(const struct configured_file *file, struct finding *ret_finding)
{
    char words[256], setting[TLS_SETTING_NAME_SIZE];
    bool is_encrypted = false;
    EVP_PKEY *key SCOPED(scoped_key) = read_key(file->path, &is_encrypted, words, sizeof words);

    if (key != NULL)
        return false;
    *ret_finding = (struct finding){0};
    tls_setting_name(file->server, file->setting, setting);
    finding_seen(ret_finding, "%s", is_encrypted ? "the key is encrypted" : words);
    if (is_encrypted) {
        finding_cause(ret_finding, CHECK_ID_file_key,
                      "The private key in %s \"%s\" is protected by a passphrase, which a daemon cannot type.",
                      file->setting, file->path);
        finding_fix(ret_finding,
                    "Make a copy without one: openssl pkey -in \"%s\" -out \"%s.plain\"; then chmod 0600 the copy and "
                    "name it in %s.",
                    file->path, file->path, setting);
    } else {
        finding_cause(ret_finding, CHECK_ID_file_key, "%s \"%s\" holds no private key (%s).", file->setting, file->path,
                      words);
        finding_fix(ret_finding,
                    "Put the key there, a text that begins with -----BEGIN PRIVATE KEY-----, or correct %s.", setting);
    }
    return true;
}

/* A CA at the head of the file is the usual reason for a key that does not match. */
static void explain_mismatch(const struct configured_file *certificate_file, const struct configured_file *key_file,
                             STACK_OF(X509) * certificates, EVP_PKEY *key, struct finding *finding)
{
    const char *path = certificate_file->path;
    struct certificate_text first;

    certificate_describe(sk_X509_value(certificates, 0), &first);
    for (int i = 1; i < sk_X509_num(certificates); i++)
        if (EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(certificates, i)), key) == 1) {
            finding_cause(finding, CHECK_ID_key_match,
                          "The key in %s \"%s\" belongs to certificate number %d in %s \"%s\", and the first one "
                          "there, \"%s\", is "
                          "another.",
                          key_file->setting, key_file->path, i + 1, certificate_file->setting, path, first.subject);
            finding_fix(finding, "Put the client certificate first in \"%s\", its issuer after it.", path);
            return;
        }
    if (X509_check_ca(sk_X509_value(certificates, 0)) == 1) {
        finding_cause(finding, CHECK_ID_key_match,
                      "%s \"%s\" begins with a CA certificate, \"%s\", to which the key in %s \"%s\" does not belong.",
                      certificate_file->setting, path, first.subject, key_file->setting, key_file->path);
        finding_fix(finding, "Put the client certificate into \"%s\", and the CA into tls_ca_file.", path);
        return;
    }
    finding_cause(finding, CHECK_ID_key_match,
                  "The certificate in %s \"%s\" and the key in %s \"%s\" were made for different keys: perhaps one of "
                  "the two was not replaced at a renewal.",
                  certificate_file->setting, path, key_file->setting, key_file->path);
    finding_fix(finding,
                "Put the key of this certificate into \"%s\", or the certificate of this key into \"%s\"; compare: "
                "openssl x509 -in \"%s\" -noout -pubkey; openssl pkey -in \"%s\" -pubout",
                key_file->path, path, path, key_file->path);
}

bool files_pair_fault(const struct configured_file *certificate_file, const struct configured_file *key_file,
                      struct finding *ret_finding)
{
    STACK_OF(X509) * certificates SCOPED(scoped_certificates) = NULL;
    bool is_encrypted = false;
    char words[256];
    struct error ignored;

    if (!certificate_read_all(certificate_file->path, &certificates, &ignored))
        return false;
    EVP_PKEY *key SCOPED(scoped_key) = read_key(key_file->path, &is_encrypted, words, sizeof words);
    X509 *leaf = sk_X509_value(certificates, 0);
    if (key == NULL || EVP_PKEY_eq(X509_get0_pubkey(leaf), key) == 1)
        return false;
    char phrase[CERTIFICATE_PHRASE_SIZE];
    ERR_clear_error();
    certificate_phrase(leaf, phrase);
    *ret_finding = (struct finding){0};
    finding_seen(ret_finding, "first certificate: %s", phrase);
    explain_mismatch(certificate_file, key_file, certificates, key, ret_finding);
    return true;
}
