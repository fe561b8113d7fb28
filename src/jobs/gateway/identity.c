#include "jobs/gateway/identity_internal.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "pgcoffer/control/stream.h"

static bool take_name(const unsigned char *bytes, int size, char ret_name[IDENTITY_NAME_SIZE])
{
    if (bytes == NULL || size <= 0 || size >= IDENTITY_NAME_SIZE)
        return false;
    for (int i = 0; i < size; i++)
        if (bytes[i] < ' ' || bytes[i] == 0x7f)
            return false;
    memcpy(ret_name, bytes, (size_t)size);
    ret_name[size] = '\0';
    return true;
}

static void take_common_name(X509 *certificate, struct identity *identity)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int index = X509_NAME_get_index_by_NID((X509_NAME *)subject, NID_commonName, -1);
    unsigned char *utf8 = NULL;

    /* Of two, every program reads another one. */
    if (index < 0 || X509_NAME_get_index_by_NID((X509_NAME *)subject, NID_commonName, index) >= 0)
        return;
    int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
    if (!take_name(utf8, size, identity->common_name))
        identity->common_name[0] = '\0';
    OPENSSL_free(utf8);
}

static bool take_address(const ASN1_OCTET_STRING *address, char ret_name[IDENTITY_NAME_SIZE])
{
    int size = ASN1_STRING_length(address);

    return (size == 4 || size == 16) && inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address),
                                                  ret_name, IDENTITY_NAME_SIZE) != NULL;
}

static void take_alternative_names(X509 *certificate, struct identity *identity)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && identity->name_count < IDENTITY_MOST_NAMES; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char *place = identity->names[identity->name_count];
        bool is_text = name->type == GEN_DNS || name->type == GEN_EMAIL || name->type == GEN_URI;
        if (is_text && take_name(ASN1_STRING_get0_data(name->d.ia5), ASN1_STRING_length(name->d.ia5), place))
            identity->name_count++;
        else if (name->type == GEN_IPADD && take_address(name->d.iPAddress, place))
            identity->name_count++;
    }
    GENERAL_NAMES_free(names);
}

void identity_of_certificate(X509 *certificate, struct identity *ret_identity)
{
    *ret_identity = (struct identity){.name_count = 0};
    take_common_name(certificate, ret_identity);
    take_alternative_names(certificate, ret_identity);
}

json_t *identity_to_json(const struct identity *identity, const char *address)
{
    json_t *names = json_array();

    for (size_t i = 0; i < identity->name_count; i++)
        json_array_append_new(names, control_text(identity->names[i]));
    return json_pack("{s:s, s:o, s:o, s:s}", "command", "on-behalf", "cn", control_text(identity->common_name), "san",
                     names, "address", address);
}

void identity_format(const struct identity *identity, char ret_text[IDENTITY_TEXT_SIZE])
{
    if (identity->common_name[0] != '\0')
        snprintf(ret_text, IDENTITY_TEXT_SIZE, "cert:%s", identity->common_name);
    else if (identity->name_count > 0)
        snprintf(ret_text, IDENTITY_TEXT_SIZE, "san:%s", identity->names[0]);
    else
        snprintf(ret_text, IDENTITY_TEXT_SIZE, "a certificate without a usable name");
}
