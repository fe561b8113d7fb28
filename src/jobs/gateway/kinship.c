#include "jobs/gateway/kinship_internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"

static bool is_same_file(const char *left, const char *right)
{
    struct stat left_status, right_status;

    return strcmp(left, right) == 0 ||
           (stat(left, &left_status) == 0 && stat(right, &right_status) == 0 &&
            left_status.st_dev == right_status.st_dev && left_status.st_ino == right_status.st_ino);
}

static bool has_signed(STACK_OF(X509) * authorities, X509 *certificate)
{
    for (int i = 0; i < sk_X509_num(authorities); i++) {
        X509 *authority = sk_X509_value(authorities, i);
        if (X509_check_issued(authority, certificate) == X509_V_OK &&
            X509_verify(certificate, X509_get0_pubkey(authority)) == 1)
            return true;
    }
    return false;
}

/* Also by an intermediate that stands in the certificate's file. */
static bool is_let_in(STACK_OF(X509) * authorities, const char *path, struct certificate_text *ret_text)
{
    STACK_OF(X509) * chain SCOPED(scoped_certificates) = NULL;
    struct error ignored;

    if (text_is_empty(path) || !certificate_read_all(path, &chain, &ignored))
        return false;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        if (has_signed(authorities, sk_X509_value(chain, i))) {
            certificate_describe(sk_X509_value(chain, 0), ret_text);
            return true;
        }
    }
    return false;
}

bool kinship_find(const struct config *config, struct error *ret_warning)
{
    STACK_OF(X509) * authorities SCOPED(scoped_certificates) = NULL;
    const char *own = config->settings.tls_ca_file;
    struct certificate_text text;
    bool is_found = false;

    if (!certificate_read_all(own, &authorities, ret_warning))
        return false;
    for (size_t i = 0; i < config->server_count && !is_found; i++) {
        const struct server_config *server = &config->servers[i];
        is_found = true;
        if (is_let_in(authorities, server->settings.tls_cert_file, &text))
            error_set(ret_warning, ERROR_TLS,
                      "the CA of the gateway's clients (tls_ca_file of [pgcoffer], \"%s\") signed PostgreSQL's client "
                      "certificate \"%s\" of [%s], too: every role with such a certificate is let in under its name",
                      own, text.subject, server->name);
        else if (is_same_file(own, server->settings.tls_ca_file))
            error_set(ret_warning, ERROR_TLS,
                      "tls_ca_file of [pgcoffer] and of [%s] are the same file, \"%s\": whoever has a certificate of "
                      "that CA is let in by the gateway",
                      server->name, own);
        else
            is_found = false;
    }
    ERR_clear_error();
    if (is_found)
        error_hint(ret_warning, "Give the gateway's clients a CA of their own, and name it in tls_ca_file of "
                                "[pgcoffer].");
    return is_found;
}
