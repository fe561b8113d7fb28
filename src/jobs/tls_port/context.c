#include "jobs/tls_port/context_internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <string.h>

#include "pgcoffer/base/text.h"

static bool PRINTF_LIKE(2, 3) fail(struct error *err, const char *format, ...)
{
    char what[512], words[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    certificate_openssl_words(words, sizeof words);
    return error_set(err, ERROR_TLS, "%s: %s", what, words);
}

/* ---- what is served ---- */

static bool check_dates(const struct port_words *words, X509 *leaf, const struct certificate_text *text,
                        struct error *err)
{
    char not_before[TIMESTAMP_TEXT_SIZE];

    if (certificate_is_current(leaf))
        return true;
    if (text->days_left < 0) {
        error_set(err, ERROR_TLS, "%s's certificate in %s (subject \"%s\") expired on %s", words->owner,
                  words->cert_file, text->subject, text->not_after_text);
        return error_hint(err, "Renew it; no restart is needed.");
    }
    timestamp_format(text->not_before, not_before);
    error_set(err, ERROR_TLS, "%s's certificate in %s (subject \"%s\") is not valid before %s", words->owner,
              words->cert_file, text->subject, not_before);
    return error_hint(err, "Compare this machine's clock (date -u) with the one of the CA.");
}

static bool use_leaf(SSL_CTX *context, const struct port_words *words, X509 *leaf,
                     struct certificate_text *ret_certificate, struct error *err)
{
    certificate_describe(leaf, ret_certificate);
    if (!check_dates(words, leaf, ret_certificate, err))
        return false;
    if (!certificate_allows_usage(leaf, NID_server_auth)) {
        error_set(err, ERROR_TLS, "%s's certificate in %s (subject \"%s\") is not for a server", words->owner,
                  words->cert_file, ret_certificate->subject);
        return error_hint(err, "Let the CA sign it with extendedKeyUsage=serverAuth.");
    }
    return SSL_CTX_use_certificate(context, leaf) == 1 || fail(err, "%s's certificate cannot be used", words->owner);
}

static bool use_certificate(SSL_CTX *context, const struct port_words *words, const char *pem,
                            struct certificate_text *ret_certificate, struct error *err)
{
    BIO *bio SCOPED(scoped_bio) = BIO_new_mem_buf(pem, -1);
    X509 *leaf SCOPED(scoped_certificate) = PEM_read_bio_X509_AUX(bio, NULL, certificate_refuse_passphrase, NULL);

    if (leaf == NULL)
        return fail(err, "%s holds no certificate", words->cert_file);
    if (!use_leaf(context, words, leaf, ret_certificate, err))
        return false;
    for (;;) {
        X509 *next = PEM_read_bio_X509(bio, NULL, certificate_refuse_passphrase, NULL);
        if (next == NULL)
            break;
        if (SSL_CTX_add0_chain_cert(context, next) != 1) {
            X509_free(next);
            return fail(err, "a certificate that follows the first in %s cannot be used", words->cert_file);
        }
    }
    bool is_at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    return is_at_end ||
           error_set(err, ERROR_TLS, "a certificate that follows the first in %s is damaged", words->cert_file);
}

static bool use_key(SSL_CTX *context, const struct port_words *words, const char *pem, struct error *err)
{
    BIO *bio SCOPED(scoped_bio) = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key SCOPED(scoped_key) = PEM_read_bio_PrivateKey(bio, NULL, certificate_refuse_passphrase, NULL);

    if (key == NULL)
        return fail(err, "%s holds no key that can be read", words->key_file);
    if (SSL_CTX_use_PrivateKey(context, key) != 1 || SSL_CTX_check_private_key(context) != 1)
        return fail(err, "the key of %s does not belong to the certificate of %s", words->key_file, words->cert_file);
    return true;
}

/* ---- who is let in ---- */

static bool add_authorities(SSL_CTX *context, const struct port_words *words, const char *pem, struct error *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    BIO *bio SCOPED(scoped_bio) = BIO_new_mem_buf(pem, -1);
    size_t count = 0;

    for (;; count++) {
        X509 *authority SCOPED(scoped_certificate) =
            PEM_read_bio_X509_AUX(bio, NULL, certificate_refuse_passphrase, NULL);
        if (authority == NULL)
            break;
        /* The names are told to clients, which may have several certificates to choose from. */
        if (X509_STORE_add_cert(store, authority) != 1 || SSL_CTX_add_client_CA(context, authority) != 1)
            return fail(err, "a certificate of %s cannot be used", words->ca_file);
    }
    bool is_at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (count == 0)
        return fail(err, "%s holds no certificate", words->ca_file);
    ERR_clear_error();
    return is_at_end || error_set(err, ERROR_TLS, "a certificate of %s is damaged", words->ca_file);
}

static bool add_revocations(SSL_CTX *context, const struct port_words *words, const char *pem, struct error *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    BIO *bio SCOPED(scoped_bio) = BIO_new_mem_buf(pem, -1);
    size_t count = 0;

    for (;; count++) {
        X509_CRL *list = PEM_read_bio_X509_CRL(bio, NULL, certificate_refuse_passphrase, NULL);
        if (list == NULL)
            break;
        int added = X509_STORE_add_crl(store, list);
        X509_CRL_free(list);
        if (added != 1)
            return fail(err, "a list of %s cannot be used", words->crl_file);
    }
    bool is_at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (count == 0)
        return fail(err, "%s holds no list of revoked certificates", words->crl_file);
    ERR_clear_error();
    if (!is_at_end)
        return error_set(err, ERROR_TLS, "a list of %s is damaged", words->crl_file);
    return X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1 ||
           fail(err, "revoked certificates cannot be checked");
}

static bool demand_client(SSL_CTX *context, const struct port_words *words, const struct port_files *files,
                          struct error *err)
{
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return add_authorities(context, words, files->authorities, err) &&
           (files->revocations == NULL || add_revocations(context, words, files->revocations, err));
}

static bool harden(SSL_CTX *context, const char *least_version, struct error *err)
{
    int least = strcmp(least_version, "TLSv1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;

    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_set_num_tickets(context, 0) != 1 || SSL_CTX_set_min_proto_version(context, least) != 1 ||
        SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) != 1)
        return fail(err, "could not set the versions of TLS");
    return true;
}

bool port_context_new(const struct port_files *files, const struct port_words *words, const char *least_version,
                      SSL_CTX **ret_context, struct certificate_text *ret_certificate, struct error *err)
{
    ERR_clear_error();
    SSL_CTX *context SCOPED(scoped_context) = SSL_CTX_new(TLS_server_method());

    if (context == NULL)
        return fail(err, "could not make a TLS context");
    if (!harden(context, least_version, err) ||
        !use_certificate(context, words, files->certificate, ret_certificate, err) ||
        !use_key(context, words, files->key, err))
        return false;
    if (files->authorities != NULL && !demand_client(context, words, files, err))
        return false;
    *ret_context = TAKE(context);
    return true;
}

bool port_context_trusts(SSL_CTX *context, SSL *connected, const char **ret_fault)
{
    X509 *leaf = SSL_get0_peer_certificate(connected);
    bool is_trusted = false;

    if (SSL_CTX_get_verify_mode(context) == SSL_VERIFY_NONE)
        return true;
    X509_STORE_CTX *verification = X509_STORE_CTX_new();
    *ret_fault = "it cannot be verified again";
    if (verification != NULL && leaf != NULL &&
        X509_STORE_CTX_init(verification, SSL_CTX_get_cert_store(context), leaf, SSL_get_peer_cert_chain(connected)) ==
            1 &&
        X509_STORE_CTX_set_default(verification, "ssl_client") == 1) { /* as a handshake does it */
        is_trusted = X509_verify_cert(verification) == 1;
        *ret_fault = X509_verify_cert_error_string(X509_STORE_CTX_get_error(verification));
    }
    X509_STORE_CTX_free(verification);
    ERR_clear_error();
    return is_trusted;
}
