#include <openssl/err.h>
#include <openssl/pem.h>

#include "pgcoffer/tls/certificate.h"
#include "tls/files_internal.h"

bool files_list_fault(const struct configured_file *file, struct finding *ret_finding)
{
    BIO *bio SCOPED(scoped_bio) = BIO_new_file(file->path, "r");
    X509_CRL *list SCOPED(scoped_revocations) = bio == NULL ? NULL : PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
    char words[256];

    if (list != NULL)
        return false;
    certificate_openssl_words(words, sizeof words);
    *ret_finding = (struct finding){0};
    finding_seen(ret_finding, "%s", words);
    finding_cause(ret_finding, CHECK_ID_file_crl, "tls_crl_file \"%s\" holds no revocation list in PEM form.",
                  file->path);
    finding_fix(ret_finding, "Replace it, or convert a DER list: openssl crl -inform DER -in FILE -out \"%s\".",
                file->path);
    return true;
}

static void format_date(const ASN1_TIME *time, char ret_text[TIMESTAMP_TEXT_SIZE])
{
    struct timestamp date = certificate_time(time);

    snprintf(ret_text, TIMESTAMP_TEXT_SIZE, "?");
    if (date.microseconds != 0)
        timestamp_format(date, ret_text);
}

static bool has_date_fault(const struct configured_file *file, const X509_CRL *list, struct finding *ret_finding)
{
    const ASN1_TIME *last = X509_CRL_get0_lastUpdate(list), *next = X509_CRL_get0_nextUpdate(list);
    char issuer[256], from[TIMESTAMP_TEXT_SIZE], until[TIMESTAMP_TEXT_SIZE];
    bool is_over = next != NULL && X509_cmp_current_time(next) < 0;

    if (!is_over && X509_cmp_current_time(last) <= 0)
        return false;
    certificate_name_format(X509_CRL_get_issuer(list), issuer, sizeof issuer);
    format_date(last, from);
    format_date(next, until);
    *ret_finding = (struct finding){0};
    finding_seen(ret_finding, "list of \"%s\": issued %s, next one due %s", issuer, from, until);
    if (is_over) {
        finding_cause(
            ret_finding, CHECK_ID_expiry_crl,
            "The revocation list in tls_crl_file \"%s\" (of CA \"%s\") expired on %s: with it every server of "
            "that CA is refused.",
            file->path, issuer, until);
        finding_fix(ret_finding,
                    "Fetch or make the CA's current list and replace the file, for instance: openssl ca -gencrl -out "
                    "\"%s\".",
                    file->path);
    } else {
        finding_cause(ret_finding, CHECK_ID_expiry_crl,
                      "The revocation list in tls_crl_file \"%s\" (of CA \"%s\") begins only on %s: it is not valid "
                      "yet.",
                      file->path, issuer, from);
        finding_fix(ret_finding, "Compare this machine's clock (date -u) with the one of the CA.");
    }
    return true;
}

bool files_list_date_fault(const struct configured_file *file, struct finding *ret_finding)
{
    BIO *bio SCOPED(scoped_bio) = BIO_new_file(file->path, "r");
    bool has_fault = false;

    while (bio != NULL && !has_fault) {
        X509_CRL *list SCOPED(scoped_revocations) = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
        if (list == NULL)
            break;
        has_fault = has_date_fault(file, list, ret_finding);
    }
    ERR_clear_error();
    return has_fault;
}
