#include "pgcoffer/tls/certificate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "pgcoffer/base/text.h"

#define DAY_MICROSECONDS INT64_C(86400000000)

/* What was printed into a memory BIO, cut to `size` and made printable. */
static void take_text(BIO *bio, char *ret_text, size_t size)
{
    const char *bytes = NULL;
    long length = BIO_get_mem_data(bio, &bytes);

    snprintf(ret_text, size, "%.*s", (int)length, bytes == NULL ? "" : bytes);
    text_make_printable(ret_text);
}

void certificate_name_format(const X509_NAME *name, char *ret_text, size_t size)
{
    BIO *bio SCOPED(scoped_bio) = BIO_new(BIO_s_mem());

    ret_text[0] = '\0';
    if (bio == NULL || name == NULL)
        return;
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
    take_text(bio, ret_text, size);
}

static void describe_common_name(const X509 *certificate, char *ret_text, size_t size)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    ret_text[0] = '\0';
    if (index < 0)
        return;
    unsigned char *utf8 = NULL;
    int length = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
    if (length >= 0)
        snprintf(ret_text, size, "%.*s", length, (const char *)utf8);
    OPENSSL_free(utf8);
    text_make_printable(ret_text);
}

static void print_address(BIO *bio, const ASN1_OCTET_STRING *address)
{
    int length = ASN1_STRING_length(address);
    char text[INET6_ADDRSTRLEN] = "?";

    if (length == 4 || length == 16)
        inet_ntop(length == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof text);
    BIO_printf(bio, "IP:%s", text);
}

static void describe_names(const X509 *certificate, char *ret_text, size_t size)
{
    BIO *bio SCOPED(scoped_bio) = BIO_new(BIO_s_mem());
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    ret_text[0] = '\0';
    if (bio != NULL) {
        for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
            GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
            if (i > 0)
                BIO_puts(bio, ", ");
            if (name->type == GEN_IPADD)
                print_address(bio, name->d.iPAddress);
            else
                GENERAL_NAME_print(bio, name);
        }
        take_text(bio, ret_text, size);
    }
    GENERAL_NAMES_free(names);
}

static void describe_fingerprint(const X509 *certificate, char *ret_text, size_t size)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    ret_text[0] = '\0';
    if (!X509_digest(certificate, EVP_sha256(), digest, &length))
        return;
    for (unsigned i = 0; i < length; i++) {
        size_t used = strlen(ret_text);
        snprintf(ret_text + used, size - used, "%s%02X", i == 0 ? "" : ":", digest[i]);
    }
}

struct timestamp certificate_time(const ASN1_TIME *time)
{
    struct tm parts;

    if (time == NULL || !ASN1_TIME_to_tm(time, &parts))
        return (struct timestamp){0};
    return (struct timestamp){.microseconds = (int64_t)timegm(&parts) * 1000000};
}

long certificate_days_left(struct timestamp end)
{
    int64_t left = end.microseconds - clock_now().microseconds;

    return (long)(left / DAY_MICROSECONDS) - (left < 0);
}

void certificate_describe(X509 *certificate, struct certificate_text *ret_text)
{
    certificate_name_format(X509_get_subject_name(certificate), ret_text->subject, sizeof ret_text->subject);
    certificate_name_format(X509_get_issuer_name(certificate), ret_text->issuer, sizeof ret_text->issuer);
    describe_common_name(certificate, ret_text->common_name, sizeof ret_text->common_name);
    describe_names(certificate, ret_text->names, sizeof ret_text->names);
    describe_fingerprint(certificate, ret_text->fingerprint, sizeof ret_text->fingerprint);
    ret_text->not_before = certificate_time(X509_get0_notBefore(certificate));
    ret_text->not_after = certificate_time(X509_get0_notAfter(certificate));
    timestamp_format(ret_text->not_after, ret_text->not_after_text);
    ret_text->days_left = certificate_days_left(ret_text->not_after);
}

void certificate_clock_format(X509 *certificate, char ret_words[CERTIFICATE_CLOCK_SIZE])
{
    struct timestamp now = clock_now();
    char text[TIMESTAMP_TEXT_SIZE], span[TEXT_DURATION_SIZE];
    int64_t early = certificate_time(X509_get0_notBefore(certificate)).microseconds - now.microseconds;
    int64_t late = now.microseconds - certificate_time(X509_get0_notAfter(certificate)).microseconds;

    ret_words[0] = '\0';
    if (early <= 0 && late <= 0)
        return;
    timestamp_format(now, text);
    text_format_duration((double)(early > 0 ? early : late) / 1e6, span);
    snprintf(ret_words, CERTIFICATE_CLOCK_SIZE, "it %s %s%s by this machine's clock, which says %s",
             early > 0 ? "begins in" : "ended", span, early > 0 ? "" : " ago", text);
}

void certificate_phrase(X509 *certificate, char ret_phrase[CERTIFICATE_PHRASE_SIZE])
{
    struct certificate_text text;
    char not_before[TIMESTAMP_TEXT_SIZE], left[64];

    certificate_describe(certificate, &text);
    timestamp_format(text.not_before, not_before);
    if (text.days_left < 0)
        snprintf(left, sizeof left, "expired %ld days ago", -text.days_left - 1);
    else if (text.not_before.microseconds > clock_now().microseconds)
        snprintf(left, sizeof left, "not valid yet");
    else
        snprintf(left, sizeof left, "%ld days left", text.days_left);
    snprintf(ret_phrase, CERTIFICATE_PHRASE_SIZE, "subject \"%s\", issuer \"%s\", valid from %s until %s (%s)",
             text.subject, text.issuer, not_before, text.not_after_text, left);
}

bool certificate_is_current(X509 *certificate)
{
    return X509_cmp_current_time(X509_get0_notBefore(certificate)) < 0 &&
           X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
}

bool certificate_is_self_issued(X509 *certificate)
{
    return X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
}

bool certificate_stands_in(STACK_OF(X509) * certificates, X509 *certificate)
{
    for (int i = 0; i < sk_X509_num(certificates); i++)
        if (X509_cmp(sk_X509_value(certificates, i), certificate) == 0)
            return true;
    return false;
}

X509 *certificate_find_subject(STACK_OF(X509) * certificates, const X509_NAME *name)
{
    for (int i = 0; i < sk_X509_num(certificates); i++)
        if (X509_NAME_cmp(X509_get_subject_name(sk_X509_value(certificates, i)), name) == 0)
            return sk_X509_value(certificates, i);
    return NULL;
}

bool certificate_name_stands_in(STACK_OF(X509_NAME) * names, const X509_NAME *name)
{
    for (int i = 0; i < sk_X509_NAME_num(names); i++)
        if (X509_NAME_cmp(sk_X509_NAME_value(names, i), name) == 0)
            return true;
    return false;
}

bool certificate_allows_usage(X509 *certificate, int nid)
{
    EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(certificate, NID_ext_key_usage, NULL, NULL);
    bool is_allowed = usages == NULL;

    for (int i = 0; i < sk_ASN1_OBJECT_num(usages); i++) {
        int usage = OBJ_obj2nid(sk_ASN1_OBJECT_value(usages, i));
        is_allowed = is_allowed || usage == nid; /* to OpenSSL anyExtendedKeyUsage does not include it */
    }
    EXTENDED_KEY_USAGE_free(usages);
    return is_allowed;
}

bool certificate_read_all(const char *path, STACK_OF(X509) * *ret_certificates, struct error *err)
{
    STACK_OF(X509) * certificates SCOPED(scoped_certificates) = sk_X509_new_null();
    BIO *bio SCOPED(scoped_bio) = NULL;

    errno = 0;
    bio = BIO_new_file(path, "r");
    if (bio == NULL) {
        ERR_clear_error();
        return error_set_kind_errno(err, ERROR_TLS, "could not open certificate file \"%s\"", path);
    }
    for (X509 *certificate; (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL;)
        if (certificates == NULL || !sk_X509_push(certificates, certificate)) {
            X509_free(certificate);
            return error_set(err, ERROR_TLS, "could not read certificate file \"%s\": no memory", path);
        }

    unsigned long reason = ERR_peek_last_error();
    bool is_end = ERR_GET_LIB(reason) == ERR_LIB_PEM && ERR_GET_REASON(reason) == PEM_R_NO_START_LINE;
    if (is_end && sk_X509_num(certificates) > 0) {
        ERR_clear_error();
        *ret_certificates = TAKE(certificates);
        return true;
    }
    char words[256];
    certificate_openssl_words(words, sizeof words);
    error_set(err, ERROR_TLS, "could not read certificate file \"%s\": %s", path,
              is_end ? "it holds no certificate in PEM form" : words);
    return error_hint(err,
                      "Replace it; a certificate in DER form is converted by: openssl x509 -inform DER -in FILE "
                      "-out \"%s\".",
                      path);
}

bool certificate_read(const char *path, X509 **ret_certificate, struct error *err)
{
    STACK_OF(X509) * certificates SCOPED(scoped_certificates) = NULL;

    if (!certificate_read_all(path, &certificates, err))
        return false;
    *ret_certificate = sk_X509_shift(certificates);
    return true;
}

int certificate_refuse_passphrase(char *buffer, int size, int is_for_writing, void *was_asked)
{
    (void)is_for_writing;
    if (size > 0)
        buffer[0] = '\0';
    if (was_asked != NULL)
        *(bool *)was_asked = true;
    return 0;
}

void certificate_openssl_words(char *ret_words, size_t size)
{
    unsigned long code = ERR_get_error();

    /* OpenSSL 3 has no text of its own for a system error: ERR_reason_error_string() would give NULL. */
    if (code == 0)
        snprintf(ret_words, size, "OpenSSL gives no reason");
    else if (ERR_SYSTEM_ERROR(code))
        snprintf(ret_words, size, "%s", strerror(ERR_GET_REASON(code)));
    else if (ERR_reason_error_string(code) != NULL)
        snprintf(ret_words, size, "%s", ERR_reason_error_string(code));
    else
        ERR_error_string_n(code, ret_words, size);
    ERR_clear_error();
    text_make_printable(ret_words);
}
