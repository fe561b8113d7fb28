#include <openssl/objects.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/issue.h"
#include "tls/diagnosis_internal.h"

/* A key of the kind that signed the certificate: an issuer with another kind of key would not be found. */
static EVP_PKEY *make_key_like_issuers(const X509 *certificate)
{
    int kind = NID_undef;

    OBJ_find_sigid_algs(X509_get_signature_nid(certificate), NULL, &kind);
    if (kind == EVP_PKEY_RSA)
        return EVP_RSA_gen(2048);
    if (kind == EVP_PKEY_EC)
        return EVP_EC_gen("P-256");
    return kind == EVP_PKEY_ED25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : NULL;
}

static void remove_extension(X509 *certificate, int nid)
{
    int at = X509_get_ext_by_NID(certificate, nid, -1);

    if (at >= 0)
        X509_EXTENSION_free(X509_delete_ext(certificate, at));
}

/* The same certificate for another key, signed by another key, and without the identifiers of either. */
static X509 *forge(X509 *original, EVP_PKEY *key, EVP_PKEY *signer)
{
    X509 *forged SCOPED(scoped_certificate) = X509_dup(original);
    const EVP_MD *digest = EVP_PKEY_get_base_id(signer) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();

    if (forged == NULL)
        return NULL;
    remove_extension(forged, NID_authority_key_identifier);
    remove_extension(forged, NID_subject_key_identifier);
    if (X509_set_pubkey(forged, key) != 1 || X509_sign(forged, signer, digest) <= 0)
        return NULL;
    return TAKE(forged);
}

static bool forge_chain(STACK_OF(X509) * path, EVP_PKEY *leaf_key, STACK_OF(X509) * ret_chain)
{
    EVP_PKEY *key SCOPED(scoped_key) = leaf_key;

    EVP_PKEY_up_ref(leaf_key);
    for (int i = 0; i < sk_X509_num(path); i++) {
        EVP_PKEY *signer = make_key_like_issuers(sk_X509_value(path, i));
        X509 *forged = signer == NULL ? NULL : forge(sk_X509_value(path, i), key, signer);
        EVP_PKEY_free(key);
        key = signer;
        if (forged == NULL || !sk_X509_push(ret_chain, forged)) {
            X509_free(forged);
            return false;
        }
    }
    return true;
}

static enum forgery_verdict show(struct diagnosis *diagnosis, EVP_PKEY *key, STACK_OF(X509) * forged)
{
    X509 *leaf SCOPED(scoped_certificate) = sk_X509_shift(forged);
    const struct tls_probe_request request = {
        .server = diagnosis->server,
        .deadline = diagnosis->deadline,
        .certificate = leaf,
        .key = key,
        .chain = forged,
    };
    enum forgery_verdict verdict = FORGERY_UNTOLD;
    struct tls_probe probe;

    tls_probe_run(&request, &probe);
    if (probe.outcome == TLS_PROBE_REFUSED_BY_PEER && probe.alert == SSL_AD_UNKNOWN_CA)
        verdict = FORGERY_UNKNOWN_CA;
    else if (probe.outcome == TLS_PROBE_REFUSED_BY_PEER && probe.alert == SSL_AD_DECRYPT_ERROR)
        verdict = FORGERY_BAD_SIGNATURE;
    tls_probe_done(&probe);
    return verdict;
}

enum forgery_verdict diagnosis_show_forgery(struct diagnosis *diagnosis, STACK_OF(X509) * path)
{
    STACK_OF(X509) * forged SCOPED(scoped_certificates) = sk_X509_new_null();
    EVP_PKEY *key SCOPED(scoped_key) = EVP_EC_gen("P-256");

    if (forged == NULL || key == NULL || sk_X509_num(path) == 0 || !forge_chain(path, key, forged))
        return FORGERY_UNTOLD;
    return show(diagnosis, key, forged);
}
