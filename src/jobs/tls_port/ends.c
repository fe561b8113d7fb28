#include "jobs/tls_port/ends_internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"

struct nearest {
    struct timestamp at; /* 0: nothing ends */
    bool is_list;
    char name[256];
};

static void consider(struct nearest *nearest, const ASN1_TIME *end, bool is_list, const X509_NAME *name)
{
    struct timestamp at = certificate_time(end);

    if (at.microseconds == 0 || (nearest->at.microseconds != 0 && nearest->at.microseconds <= at.microseconds))
        return;
    nearest->at = at;
    nearest->is_list = is_list;
    certificate_name_format(name, nearest->name, sizeof nearest->name);
}

static void consider_authorities(struct nearest *nearest, const char *path)
{
    STACK_OF(X509) * authorities SCOPED(scoped_certificates) = NULL;
    struct error ignored;

    if (text_is_empty(path) || !certificate_read_all(path, &authorities, &ignored))
        return;
    for (int i = 0; i < sk_X509_num(authorities); i++) {
        X509 *authority = sk_X509_value(authorities, i);
        consider(nearest, X509_get0_notAfter(authority), false, X509_get_subject_name(authority));
    }
}

static void consider_lists(struct nearest *nearest, const char *path)
{
    BIO *bio SCOPED(scoped_bio) = text_is_empty(path) ? NULL : BIO_new_file(path, "r");

    while (bio != NULL) {
        X509_CRL *list = PEM_read_bio_X509_CRL(bio, NULL, certificate_refuse_passphrase, NULL);
        if (list == NULL)
            break;
        consider(nearest, X509_CRL_get0_nextUpdate(list), true, X509_CRL_get_issuer(list));
        X509_CRL_free(list);
    }
}

bool ends_find(const struct settings *view, const struct port_words *words, struct error *ret_warning)
{
    struct nearest nearest = {.is_list = false};
    char date[TIMESTAMP_TEXT_SIZE];

    consider_authorities(&nearest, view->tls_ca_file);
    consider_lists(&nearest, view->tls_crl_file);
    ERR_clear_error();
    if (nearest.at.microseconds == 0)
        return false;
    long days = certificate_days_left(nearest.at);
    if (days >= view->expiry_warn_days)
        return false;
    timestamp_format(nearest.at, date);
    const char *end = days < 0 ? "ended" : "ends";
    if (nearest.is_list) {
        error_set(ret_warning, ERROR_TLS,
                  "the revocation list of \"%s\" in %s of [pgcoffer], \"%s\", %s on %s (days left: %ld): "
                  "from then on %s lets in no client of that CA",
                  nearest.name, words->crl_file, view->tls_crl_file, end, date, days, words->owner);
        error_hint(ret_warning, "Replace it by the CA's current list; no restart is needed.");
    } else {
        error_set(ret_warning, ERROR_TLS,
                  "the CA \"%s\" in %s of [pgcoffer], \"%s\", %s on %s (days left: %ld): from then on %s lets in no "
                  "client of that CA",
                  nearest.name, words->ca_file, view->tls_ca_file, end, date, days, words->owner);
        error_hint(ret_warning, "Add its successor to the file, and give clients certificates of that one; no restart "
                                "is needed.");
    }
    return true;
}
