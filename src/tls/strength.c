#include "pgcoffer/tls/strength.h"

#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define LEAST_SECURITY_BITS 112

bool strength_has_weak_key(X509 *certificate)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);

    return key == NULL || EVP_PKEY_get_security_bits(key) < LEAST_SECURITY_BITS;
}

static bool is_self_signed(X509 *certificate)
{
    return X509_self_signed(certificate, 0) == 1;
}

/* Ed25519 has no digest of its own choice; its strength is that of its key. */
static bool has_weak_signature(X509 *certificate, int *ret_digest)
{
    int digest = NID_undef, algorithm = NID_undef, bits = 0;
    uint32_t flags = 0;

    if (is_self_signed(certificate) || !X509_get_signature_info(certificate, &digest, &algorithm, &bits, &flags))
        return false;
    *ret_digest = digest;
    return bits >= 0 && bits < LEAST_SECURITY_BITS;
}

static const char *name_key(X509 *certificate)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);

    switch (key == NULL ? NID_undef : EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        return "an RSA key";
    case EVP_PKEY_EC:
        return "an EC key";
    case EVP_PKEY_ED25519:
        return "an Ed25519 key";
    case EVP_PKEY_ED448:
        return "an Ed448 key";
    case EVP_PKEY_DSA:
        return "a DSA key";
    default:
        return "a key";
    }
}

static int count_bits(X509 *certificate)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);

    return key == NULL ? 0 : EVP_PKEY_get_bits(key);
}

static const char *name_digest(int digest)
{
    switch (digest) {
    case NID_sha1:
        return "SHA-1";
    case NID_md5:
        return "MD5";
    case NID_md4:
        return "MD4";
    default:
        return OBJ_nid2ln(digest) == NULL ? "an unknown digest" : OBJ_nid2ln(digest);
    }
}

int strength_find_weak(STACK_OF(X509) * certificates, char *ret_words, size_t size)
{
    for (int i = 0; i < sk_X509_num(certificates); i++) {
        X509 *certificate = sk_X509_value(certificates, i);
        int digest = NID_undef;
        if (strength_has_weak_key(certificate)) {
            snprintf(ret_words, size, "%s of %d bits", name_key(certificate), count_bits(certificate));
            return i;
        }
        if (has_weak_signature(certificate, &digest)) {
            snprintf(ret_words, size, "a signature by %s", name_digest(digest));
            return i;
        }
    }
    return -1;
}

void strength_describe(X509 *certificate, char *ret_words, size_t size)
{
    const char *signature = OBJ_nid2ln(X509_get_signature_nid(certificate));

    snprintf(ret_words, size, "%s of %d bits, signed with %s", name_key(certificate), count_bits(certificate),
             signature == NULL ? "an unknown algorithm" : signature);
}
