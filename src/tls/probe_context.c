#include <openssl/err.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"
#include "tls/probe_internal.h"

/* As libpq does it: a CA file switches verification on, a CRL file the check of the whole chain. */
static bool load_trust(SSL_CTX *context, const struct settings *settings)
{
    const char *authorities = tls_files_ca_path(settings);

    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    if (text_is_empty(authorities))
        return true;
    if (SSL_CTX_load_verify_locations(context, authorities, NULL) != 1)
        return false;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (text_is_empty(settings->tls_crl_file))
        return true;
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    return X509_STORE_load_locations(store, settings->tls_crl_file, NULL) == 1 &&
           X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1;
}

/* Every certificate of the file is sent. Where it holds one only, OpenSSL completes the chain from tls_ca_file, as it
 * does for libpq: the server must see here what it sees from there. */
static bool load_certificate(SSL_CTX *context, const struct tls_probe_request *request)
{
    const struct settings *settings = &request->server->settings;
    bool is_own = request->certificate_path == NULL;
    const char *certificate = is_own ? settings->tls_cert_file : request->certificate_path;
    const char *key = is_own ? settings->tls_key_file : request->key_path;

    if (request->certificate != NULL)
        return SSL_CTX_use_certificate(context, request->certificate) == 1 &&
               SSL_CTX_use_PrivateKey(context, request->key) == 1 &&
               (request->chain == NULL || SSL_CTX_set1_chain(context, request->chain) == 1);
    if (text_is_empty(certificate))
        return true;
    SSL_CTX_set_default_passwd_cb(context, certificate_refuse_passphrase);
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
        return false;
    /* As libpq: what is no PEM may be DER. If it is neither, the first fault is the one that is told. */
    return SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 ||
           SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_ASN1) == 1;
}

static bool set_ciphers(SSL_CTX *context, const struct tls_probe_request *request)
{
    const char *list = request->ciphers != NULL ? request->ciphers : "ALL";
    char weak[512];

    if (request->ciphers == NULL && !request->is_weak_allowed)
        return true;
    snprintf(weak, sizeof weak, "%s%s", list, request->is_weak_allowed ? ":@SECLEVEL=0" : "");
    return SSL_CTX_set_cipher_list(context, weak) == 1;
}

bool probe_context_new(const struct tls_probe_request *request, SSL_CTX **ret_context, char *ret_words, size_t size)
{
    SSL_CTX *context SCOPED(scoped_context) = NULL;
    int least = request->least_version == 0 ? TLS1_2_VERSION : request->least_version;

    ERR_clear_error();
    context = SSL_CTX_new(TLS_client_method());
    /* The ciphers first: they carry the security level by which the certificate is judged. */
    if (context == NULL || SSL_CTX_set_min_proto_version(context, least) != 1 ||
        SSL_CTX_set_max_proto_version(context, request->most_version) != 1 || !set_ciphers(context, request) ||
        !load_trust(context, &request->server->settings) || !load_certificate(context, request)) {
        certificate_openssl_words(ret_words, size);
        return false;
    }
    *ret_context = TAKE(context);
    return true;
}
