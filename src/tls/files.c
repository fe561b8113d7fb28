#include "pgcoffer/tls/files.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "tls/files_internal.h"

#define SYSTEM_BUNDLE "/etc/ssl/certs/ca-certificates.crt"

static void scoped_bio(BIO **bio)
{
    BIO_free(*bio);
}

static void scoped_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

const char *tls_files_ca_path(const struct settings *settings)
{
    return strcmp(settings->tls_ca_file, "system") == 0 ? SYSTEM_BUNDLE : settings->tls_ca_file;
}

/* Never asks a terminal: a daemon has none. Notes that a passphrase was wanted. */
static int refuse_passphrase(char *buffer, int size, int is_for_writing, void *was_asked)
{
    (void)is_for_writing;
    if (size > 0)
        buffer[0] = '\0';
    *(bool *)was_asked = true;
    return 0;
}

static bool read_key(const struct configured_file *file, EVP_PKEY **ret_key, struct error *err)
{
    BIO *bio SCOPED(scoped_bio) = NULL;
    bool is_encrypted = false;

    errno = 0;
    bio = BIO_new_file(file->path, "r");
    if (bio == NULL) {
        ERR_clear_error();
        return error_set_kind_errno(err, ERROR_TLS, "could not open private key file \"%s\"", file->path);
    }
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &is_encrypted);
    if (key == NULL && !is_encrypted && BIO_reset(bio) == 0)
        key = d2i_PrivateKey_bio(bio, NULL);
    if (key != NULL) {
        ERR_clear_error();
        *ret_key = key;
        return true;
    }
    if (is_encrypted) {
        ERR_clear_error();
        error_set(err, ERROR_TLS, "private key file \"%s\" is protected by a passphrase", file->path);
        return error_hint(err,
                          "A daemon cannot type it. Make a copy without one: openssl pkey -in \"%s\" -out "
                          "\"%s.plain\", then chmod 0600 the copy and name it as tls_key_file in section [%s].",
                          file->path, file->path, file->server);
    }
    char words[256];
    certificate_openssl_words(words, sizeof words);
    error_set(err, ERROR_TLS, "could not read private key file \"%s\": it holds no private key (%s)", file->path,
              words);
    return error_hint(err, "Correct \"tls_key_file = ...\" in section [%s].", file->server);
}

static bool check_dates(const struct configured_file *file, X509 *certificate, struct error *err)
{
    struct certificate_text text;
    char phrase[CERTIFICATE_PHRASE_SIZE], not_before[TIMESTAMP_TEXT_SIZE];

    if (certificate_is_current(certificate))
        return true;
    certificate_describe(certificate, &text);
    certificate_phrase(certificate, phrase);
    timestamp_format(text.not_before, not_before);
    if (text.days_left < 0) {
        error_set(err, ERROR_TLS, "certificate in %s \"%s\" (subject \"%s\") expired on %s", file->setting, file->path,
                  text.subject, text.not_after_text);
        error_hint(err, "Renew it and put the new certificate into \"%s\"; no restart is needed.", file->path);
    } else {
        error_set(err, ERROR_TLS, "certificate in %s \"%s\" (subject \"%s\") is not valid before %s", file->setting,
                  file->path, text.subject, not_before);
        error_hint(err, "Compare this machine's clock (date -u) with the one that signed it, or wait until then.");
    }
    return error_detail(err, "%s", phrase);
}

/* A CA at the head of the file is the usual reason for a key that does not match. */
static void explain_mismatch(const struct configured_file *certificate_file, const struct configured_file *key_file,
                             STACK_OF(X509) * certificates, EVP_PKEY *key, struct error *err)
{
    for (int i = 1; i < sk_X509_num(certificates); i++)
        if (EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(certificates, i)), key) == 1) {
            error_hint(err,
                       "Put the client certificate first in \"%s\": the key belongs to certificate number %d there.",
                       certificate_file->path, i + 1);
            return;
        }
    if (X509_check_ca(sk_X509_value(certificates, 0)) == 1) {
        error_hint(err,
                   "\"%s\" begins with a CA certificate; put the client certificate there, and the CA into "
                   "tls_ca_file.",
                   certificate_file->path);
        return;
    }
    error_hint(err,
               "They were made for different keys; compare: openssl x509 -in \"%s\" -noout -pubkey; openssl pkey "
               "-in \"%s\" -pubout. After a renewal both files must be replaced.",
               certificate_file->path, key_file->path);
}

static bool check_pair(const struct configured_file *certificate_file, const struct configured_file *key_file,
                       struct error *err)
{
    STACK_OF(X509) * certificates SCOPED(scoped_certificates) = NULL;
    EVP_PKEY *key SCOPED(scoped_key) = NULL;

    if (!files_check_access(certificate_file, err) || !certificate_read_all(certificate_file->path, &certificates, err))
        return false;
    if (!files_check_access(key_file, err) || !files_check_key_mode(key_file, err) || !read_key(key_file, &key, err))
        return false;

    X509 *leaf = sk_X509_value(certificates, 0);
    if (EVP_PKEY_eq(X509_get0_pubkey(leaf), key) != 1) {
        char phrase[CERTIFICATE_PHRASE_SIZE];
        ERR_clear_error();
        certificate_phrase(leaf, phrase);
        error_set(err, ERROR_TLS, "private key file \"%s\" does not belong to the certificate in \"%s\"",
                  key_file->path, certificate_file->path);
        error_detail(err, "%s", phrase);
        explain_mismatch(certificate_file, key_file, certificates, key, err);
        return false;
    }
    return check_dates(certificate_file, leaf, err);
}

static bool check_authorities(const struct configured_file *file, struct error *err)
{
    STACK_OF(X509) * certificates SCOPED(scoped_certificates) = NULL;

    if (!files_check_access(file, err) || !certificate_read_all(file->path, &certificates, err))
        return false;
    /* A bundle may hold old roots beside the current one; only a file without any current one is useless. */
    for (int i = 0; i < sk_X509_num(certificates); i++)
        if (certificate_is_current(sk_X509_value(certificates, i)))
            return true;
    return check_dates(file, sk_X509_value(certificates, 0), err);
}

static bool check_revocation_list(const struct configured_file *file, const X509_CRL *list, struct error *err)
{
    char issuer[256], date[TIMESTAMP_TEXT_SIZE] = "";
    struct tm parts;

    certificate_name_format(X509_CRL_get_issuer(list), issuer, sizeof issuer);
    const ASN1_TIME *next = X509_CRL_get0_nextUpdate(list);
    if (next != NULL && ASN1_TIME_to_tm(next, &parts))
        timestamp_format((struct timestamp){.microseconds = (int64_t)timegm(&parts) * 1000000}, date);
    if (next != NULL && X509_cmp_current_time(next) < 0) {
        error_set(err, ERROR_TLS, "revocation list in tls_crl_file \"%s\" (of CA \"%s\") expired on %s", file->path,
                  issuer, date);
        return error_hint(err,
                          "Fetch or make the CA's current list and replace the file, for instance: openssl ca "
                          "-gencrl -out \"%s\".",
                          file->path);
    }
    if (X509_cmp_current_time(X509_CRL_get0_lastUpdate(list)) > 0) {
        error_set(err, ERROR_TLS, "revocation list in tls_crl_file \"%s\" (of CA \"%s\") is not valid yet", file->path,
                  issuer);
        return error_hint(err, "Compare this machine's clock (date -u) with the one of the CA.");
    }
    return true;
}

/* libpq goes on without any revocation check when the file is missing, and refuses everybody when it holds no list. */
static bool check_revocation_file(const struct configured_file *file, struct error *err)
{
    BIO *bio SCOPED(scoped_bio) = NULL;
    unsigned count = 0;

    if (!files_check_access(file, err))
        return false;
    errno = 0;
    bio = BIO_new_file(file->path, "r");
    if (bio == NULL) {
        ERR_clear_error();
        return error_set_kind_errno(err, ERROR_TLS, "could not open tls_crl_file \"%s\"", file->path);
    }
    for (X509_CRL *list; (list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL; count++) {
        bool is_good = check_revocation_list(file, list, err);
        X509_CRL_free(list);
        if (!is_good)
            return false;
    }
    ERR_clear_error();
    if (count > 0)
        return true;
    error_set(err, ERROR_TLS, "tls_crl_file \"%s\" holds no revocation list in PEM form", file->path);
    return error_hint(err, "Replace it, or convert a DER list: openssl crl -inform DER -in FILE -out \"%s\".",
                      file->path);
}

static bool check_mode_has_files(const struct server_config *server, struct error *err)
{
    const struct settings *settings = &server->settings;
    enum tls_mode mode = config_tls_mode(settings);
    bool is_verified = mode == TLS_VERIFY_FULL || mode == TLS_VERIFY_CA;

    if (is_verified && text_is_empty(settings->tls_ca_file)) {
        error_set(err, ERROR_TLS, "tls_mode %s needs tls_ca_file", settings->tls_mode);
        return error_hint(err, "Set tls_ca_file in section [%s] to the CA that signed PostgreSQL's certificate.",
                          server->name);
    }
    if (text_is_empty(settings->tls_cert_file) != text_is_empty(settings->tls_key_file)) {
        bool has_certificate = !text_is_empty(settings->tls_cert_file);
        error_set(err, ERROR_TLS, "%s is set without %s", has_certificate ? "tls_cert_file" : "tls_key_file",
                  has_certificate ? "tls_key_file" : "tls_cert_file");
        return error_hint(err, "Set both or none in section [%s].", server->name);
    }
    /* libpq takes a key's name with a colon for "engine:key". */
    if (strchr(settings->tls_key_file, ':') != NULL) {
        error_set(err, ERROR_TLS, "tls_key_file \"%s\" has a colon in its name", settings->tls_key_file);
        return error_hint(err, "libpq would take it for the name of an OpenSSL engine; rename the file.");
    }
    return true;
}

bool tls_files_check(const struct server_config *server, struct error *err)
{
    const struct settings *settings = &server->settings;
    struct configured_file authorities = {"tls_ca_file", tls_files_ca_path(settings), server->name};
    struct configured_file revocations = {"tls_crl_file", settings->tls_crl_file, server->name};
    struct configured_file certificate = {"tls_cert_file", settings->tls_cert_file, server->name};
    struct configured_file key = {"tls_key_file", settings->tls_key_file, server->name};

    if (config_tls_mode(settings) == TLS_DISABLE)
        return true;
    if (!check_mode_has_files(server, err))
        return false;
    if (!text_is_empty(authorities.path) && !check_authorities(&authorities, err))
        return false;
    if (!text_is_empty(revocations.path) && !check_revocation_file(&revocations, err))
        return false;
    return text_is_empty(certificate.path) || check_pair(&certificate, &key, err);
}
