#include <ctype.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

#include "pgcoffer/tls/certificate.h"
#include "tls/diagnosis_internal.h"

#define MOST_LISTED 4

STACK_OF(X509_NAME) * diagnosis_subjects(STACK_OF(X509) * certificates)
{
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();

    for (int i = 0; names != NULL && i < sk_X509_num(certificates); i++)
        sk_X509_NAME_push(names, X509_get_subject_name(sk_X509_value(certificates, i)));
    return names;
}

void diagnosis_list_names(STACK_OF(X509_NAME) * names, const char *nothing, char *ret_text, size_t size)
{
    int count = sk_X509_NAME_num(names);
    size_t used = 0;

    snprintf(ret_text, size, "%s", nothing);
    for (int i = 0; i < count && i < MOST_LISTED && used < size; i++) {
        char name[256];
        certificate_name_format(sk_X509_NAME_value(names, i), name, sizeof name);
        used += (size_t)snprintf(ret_text + used, size - used, "%s\"%s\"", i == 0 ? "" : ", ", name);
    }
    if (count > MOST_LISTED && used < size)
        snprintf(ret_text + used, size - used, " and %d more", count - MOST_LISTED);
}

/* The authority key identifier may name the issuer's own issuer. */
static bool has_known_grandparent(X509 *below, STACK_OF(X509_NAME) * known, bool *ret_is_root)
{
    const GENERAL_NAMES *names = X509_get0_authority_issuer(below);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DIRNAME)
            continue;
        *ret_is_root = X509_NAME_cmp(name->d.directoryName, X509_get_issuer_name(below)) == 0;
        return !*ret_is_root && certificate_name_stands_in(known, name->d.directoryName);
    }
    return false;
}

/* Public CAs write where the issuer's certificate can be fetched; it is never a root. */
static bool says_where_issuer_is(X509 *certificate)
{
    AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(certificate, NID_info_access, NULL, NULL);
    bool is_said = false;

    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(access); i++)
        is_said = is_said || OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(access, i)->method) == NID_ad_ca_issuers;
    AUTHORITY_INFO_ACCESS_free(access);
    return is_said;
}

/* Is one of the words, digits aside, in the CN, or in the whole name when it has none? */
static bool has_word(const X509_NAME *name, const char *const *words)
{
    char text[256] = "";

    if (X509_NAME_get_text_by_NID(name, NID_commonName, text, sizeof text) < 0)
        certificate_name_format(name, text, sizeof text);
    for (const char *at = text; *at != '\0';) {
        size_t length = 0;
        while (isalpha((unsigned char)at[length]))
            length++;
        for (size_t i = 0; length > 0 && words[i] != NULL; i++)
            if (strlen(words[i]) == length && strncasecmp(words[i], at, length) == 0)
                return true;
        at += length > 0 ? length : 1;
    }
    return false;
}

enum kinship diagnosis_find_kinship(X509 *below, bool is_alone, STACK_OF(X509_NAME) * known, STACK_OF(X509) * at_hand)
{
    static const char *const of_intermediates[] = {"intermediate", "intermediary", "issuing", "issuer", "subordinate",
                                                   "sub",          "subca",        "signing", "inter",  NULL};
    static const char *const of_roots[] = {"root", "rootca", NULL};
    const X509_NAME *issuer = X509_get_issuer_name(below);
    X509 *found = certificate_find_subject(at_hand, issuer);
    bool is_root = false;

    if (found != NULL && !certificate_is_self_issued(found) &&
        certificate_name_stands_in(known, X509_get_issuer_name(found)))
        return KINSHIP_INTERMEDIATE;
    if (has_known_grandparent(below, known, &is_root))
        return KINSHIP_INTERMEDIATE;
    if (!is_root && has_word(issuer, of_intermediates))
        return KINSHIP_INTERMEDIATE;
    if (is_root || has_word(issuer, of_roots))
        return KINSHIP_FOREIGN;
    if (is_alone && says_where_issuer_is(below))
        return KINSHIP_INTERMEDIATE;
    return KINSHIP_UNKNOWN;
}
