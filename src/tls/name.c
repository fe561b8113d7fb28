#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <strings.h>

#include "pgcoffer/base/text.h"
#include "tls/probe_internal.h"

/* What a certificate says about itself, compared with the host the operator wrote, by libpq's rules. */
struct wanted_name {
    const char *host;
    unsigned char address[16];
    int address_size; /* 0: a name */
};

bool tls_host_is_address(const char *host)
{
    struct in6_addr binary;

    return inet_pton(AF_INET, host, &binary) == 1 || inet_pton(AF_INET6, host, &binary) == 1;
}

/* "*.example.com" stands for one label, and only at the front. */
static bool fits_wildcard(const char *pattern, const char *host)
{
    size_t pattern_length = strlen(pattern), host_length = strlen(host);

    if (pattern_length < 3 || !text_starts_with(pattern, "*.") || pattern_length > host_length)
        return false;
    if (strcasecmp(pattern + 1, host + host_length - (pattern_length - 1)) != 0)
        return false;
    return strcspn(host, ".") >= host_length - (pattern_length - 1);
}

static bool fits_text(const ASN1_STRING *name, const char *host)
{
    unsigned char *utf8 = NULL;
    int length = ASN1_STRING_to_UTF8(&utf8, name);
    /* A NUL inside would end the name early: "db1\0.evil.example". */
    bool is_whole = length > 0 && strlen((const char *)utf8) == (size_t)length;
    bool fits = is_whole && (strcasecmp((const char *)utf8, host) == 0 || fits_wildcard((const char *)utf8, host));

    if (length >= 0)
        OPENSSL_free(utf8);
    return fits;
}

static bool fits_alternative(const GENERAL_NAME *name, const struct wanted_name *wanted)
{
    if (name->type == GEN_DNS)
        return fits_text(name->d.dNSName, wanted->host);
    return name->type == GEN_IPADD && wanted->address_size > 0 &&
           ASN1_STRING_length(name->d.iPAddress) == wanted->address_size &&
           memcmp(ASN1_STRING_get0_data(name->d.iPAddress), wanted->address, (size_t)wanted->address_size) == 0;
}

static bool fits_common_name(X509 *certificate, const char *host)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    return index >= 0 && fits_text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)), host);
}

bool tls_name_matches(X509 *certificate, const char *host)
{
    struct wanted_name wanted = {.host = host};
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool fits = false, may_be_common_name = true;

    if (inet_pton(AF_INET, host, wanted.address) == 1)
        wanted.address_size = 4;
    else if (inet_pton(AF_INET6, host, wanted.address) == 1)
        wanted.address_size = 16;
    int type = wanted.address_size > 0 ? GEN_IPADD : GEN_DNS;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !fits; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        fits = fits_alternative(name, &wanted);
        may_be_common_name = may_be_common_name && name->type != type;
    }
    GENERAL_NAMES_free(names);
    return fits || (may_be_common_name && fits_common_name(certificate, host));
}
