#include <openssl/x509v3.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"
#include "tls/diagnosis_internal.h"

#define LEAST_SECURITY_BITS 112
#define SECONDS_PER_DAY     INT64_C(86400)

/* Our own chain and what is known of the server's view of it. */
struct refusal {
    struct diagnosis *diagnosis;
    STACK_OF(X509) * ours;    /* tls_cert_file, the leaf first; NULL without one */
    STACK_OF(X509) * trusted; /* tls_ca_file: libpq completes our chain from it */
    struct certificate_text text;
    char phrase[CERTIFICATE_PHRASE_SIZE];
    char who[1536]; /* our certificate with file, subject, issuer and dates */
    char accepted[512];
};

static void list_accepted(STACK_OF(X509_NAME) * names, char *ret_text, size_t size)
{
    int count = sk_X509_NAME_num(names);
    size_t used = 0;

    snprintf(ret_text, size, "it named none");
    for (int i = 0; i < count && i < 4 && used < size; i++) {
        char name[256];
        certificate_name_format(sk_X509_NAME_value(names, i), name, sizeof name);
        used += (size_t)snprintf(ret_text + used, size - used, "%s\"%s\"", i == 0 ? "" : ", ", name);
    }
    if (count > 4 && used < size)
        snprintf(ret_text + used, size - used, " and %d more", count - 4);
}

static bool is_accepted(const struct refusal *refusal, X509_NAME *name)
{
    STACK_OF(X509_NAME) *names = refusal->diagnosis->probe.accepted;

    for (int i = 0; i < sk_X509_NAME_num(names); i++)
        if (X509_NAME_cmp(sk_X509_NAME_value(names, i), name) == 0)
            return true;
    return false;
}

static X509 *find_subject(STACK_OF(X509) * certificates, X509_NAME *name)
{
    for (int i = 0; i < sk_X509_num(certificates); i++)
        if (X509_NAME_cmp(X509_get_subject_name(sk_X509_value(certificates, i)), name) == 0)
            return sk_X509_value(certificates, i);
    return NULL;
}

/* Follows the issuers as far as certificates are at hand; gives the last one, whose issuer is unknown or itself. */
static X509 *find_top(const struct refusal *refusal, X509 *certificate)
{
    int most = sk_X509_num(refusal->ours) + sk_X509_num(refusal->trusted);

    for (int step = 0; step < most; step++) {
        X509_NAME *issuer = X509_get_issuer_name(certificate);
        X509 *next = find_subject(refusal->ours, issuer);
        if (next == NULL)
            next = find_subject(refusal->trusted, issuer);
        if (next == NULL || next == certificate)
            break;
        certificate = next;
    }
    return certificate;
}

static void explain_expired(struct refusal *refusal)
{
    struct diagnosis *diagnosis = refusal->diagnosis;

    for (int i = 0; i < sk_X509_num(refusal->ours); i++) {
        X509 *certificate = sk_X509_value(refusal->ours, i);
        if (X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0)
            continue;
        struct certificate_text text;
        certificate_describe(certificate, &text);
        diagnosis_say(diagnosis,
                      "the server refused our certificate as expired: in tls_cert_file \"%s\" \"%s\" expired "
                      "on %s",
                      diagnosis->server->settings.tls_cert_file, text.subject, text.not_after_text);
        error_hint(diagnosis->err, "Renew it and replace the file; no restart is needed.");
        return;
    }
    diagnosis_say(diagnosis,
                  "the server refused %s as expired, and it is not: the server's revocation list "
                  "(ssl_crl_file) has expired, or its clock is wrong",
                  refusal->who);
    error_hint(diagnosis->err, "On the server look at the list, openssl crl -in CRL -noout -nextupdate, and at date "
                               "-u; put the CA's current list into ssl_crl_file, then SELECT pg_reload_conf();");
}

static void explain_bad(struct refusal *refusal)
{
    struct diagnosis *diagnosis = refusal->diagnosis;
    X509 *leaf = sk_X509_value(refusal->ours, 0);
    int64_t age_seconds = (clock_now().microseconds - refusal->text.not_before.microseconds) / 1000000;
    char not_before[TIMESTAMP_TEXT_SIZE];

    timestamp_format(refusal->text.not_before, not_before);
    if (EVP_PKEY_get_security_bits(X509_get0_pubkey(leaf)) < LEAST_SECURITY_BITS) {
        diagnosis_say(diagnosis, "the server refused %s: its key has only %d bits", refusal->who,
                      EVP_PKEY_get_bits(X509_get0_pubkey(leaf)));
        error_hint(diagnosis->err, "Get a certificate with a new key: openssl genpkey -algorithm EC -pkeyopt "
                                   "ec_paramgen_curve:P-256");
    } else if (age_seconds < 2 * SECONDS_PER_DAY) {
        diagnosis_say(diagnosis,
                      "the server refused %s: it is valid only from %s on, and the server's clock is "
                      "probably behind",
                      refusal->who, not_before);
        error_hint(diagnosis->err, "Compare date -u on both machines.");
    } else {
        diagnosis_say(diagnosis,
                      "the server refused %s: it is not valid yet by the server's clock, or signed too "
                      "weakly for it",
                      refusal->who);
        error_hint(diagnosis->err, "Compare date -u on both machines; the server's log may name the reason.");
    }
}

static void explain_unsupported(struct refusal *refusal)
{
    struct diagnosis *diagnosis = refusal->diagnosis;

    if (certificate_allows_usage(sk_X509_value(refusal->ours, 0), NID_client_auth)) {
        diagnosis_say(diagnosis, "the server refused %s: a CA of its chain may not sign client certificates",
                      refusal->who);
        error_hint(diagnosis->err, "Look at the extended key usage of the intermediates: openssl x509 -noout -ext "
                                   "extendedKeyUsage -in FILE");
        return;
    }
    diagnosis_say(diagnosis,
                  "the server refused %s: it may not be used by a client, its extended key usage lacks "
                  "clientAuth",
                  refusal->who);
    error_hint(diagnosis->err,
               "Issue it with extendedKeyUsage = clientAuth; public CAs such as Let's Encrypt no longer "
               "do, so use your own CA.");
}

/* Is the CA of our certificate's issuer at hand under the same name, but with another key? */
static bool has_other_key(const struct refusal *refusal)
{
    X509 *leaf = sk_X509_value(refusal->ours, 0);
    X509 *issuer = find_subject(refusal->ours, X509_get_issuer_name(leaf));

    if (issuer == NULL)
        issuer = find_subject(refusal->trusted, X509_get_issuer_name(leaf));
    return issuer != NULL && X509_verify(leaf, X509_get0_pubkey(issuer)) != 1;
}

static void explain_known_authority(struct refusal *refusal, X509 *top)
{
    struct diagnosis *diagnosis = refusal->diagnosis;
    bool is_root_at_hand = X509_NAME_cmp(X509_get_subject_name(top), X509_get_issuer_name(top)) == 0;
    char issuer[256];

    certificate_name_format(X509_get_issuer_name(top), issuer, sizeof issuer);
    if (has_other_key(refusal)) {
        diagnosis_say(
            diagnosis,
            "the server refused %s: it accepts a CA of that name, but the one in tls_ca_file, and so probably "
            "the server's, has another key than the one that signed our certificate",
            refusal->who);
        error_hint(diagnosis->err,
                   "Get a new certificate from the present CA, or append the CA that signed this one to "
                   "ssl_ca_file on the server, then SELECT pg_reload_conf();");
        return;
    }
    if (is_accepted(refusal, X509_get_issuer_name(top))) {
        diagnosis_say(
            diagnosis,
            "the server refused %s as of an unknown CA, although it accepts \"%s\": a revocation list of a CA "
            "of the chain is missing in its ssl_crl_file, or it holds a CA of that name with another key%s",
            refusal->who, issuer, is_root_at_hand ? "" : ", or only this CA and not the root above it");
        error_hint(diagnosis->err, "On the server put the lists of all CAs of the chain into ssl_crl_file (or unset "
                                   "it), compare the CA in ssl_ca_file with the one that issued our certificate, then "
                                   "SELECT pg_reload_conf();");
        return;
    }
    diagnosis_say(
        diagnosis,
        "the server refused %s as of an unknown CA: its ssl_ca_file holds an intermediate CA but not the root "
        "\"%s\"",
        refusal->who, issuer);
    error_hint(diagnosis->err, "Append the root's certificate to ssl_ca_file on the server, then SELECT "
                               "pg_reload_conf();");
}

static void explain_unknown_authority(struct refusal *refusal)
{
    struct diagnosis *diagnosis = refusal->diagnosis;
    const char *file = diagnosis->server->settings.tls_cert_file;
    X509 *leaf = sk_X509_value(refusal->ours, 0);
    X509 *top = find_top(refusal, leaf);
    X509_NAME *top_issuer = X509_get_issuer_name(top);
    char issuer[256];
    bool is_self_signed = X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_issuer_name(leaf)) == 0;

    certificate_name_format(top_issuer, issuer, sizeof issuer);
    if (diagnosis->probe.accepted == NULL) {
        diagnosis_say(diagnosis, "the server refused %s: it does not know CA \"%s\"", refusal->who, issuer);
        error_hint(diagnosis->err,
                   "Append the certificate of \"%s\" to ssl_ca_file on the server, then SELECT "
                   "pg_reload_conf();",
                   issuer);
    } else if (is_accepted(refusal, top_issuer) || is_accepted(refusal, X509_get_issuer_name(leaf)))
        explain_known_authority(refusal, top);
    else if (is_self_signed) {
        diagnosis_say(diagnosis, "the server refused %s: it is self-signed; the server accepts certificates of %s",
                      refusal->who, refusal->accepted);
        error_hint(diagnosis->err, "Let one of these CAs sign the client certificate and put it into \"%s\".", file);
    } else {
        diagnosis_say(diagnosis,
                      "the server refused %s: it does not know CA \"%s\"; it accepts certificates of %s, so its "
                      "ssl_ca_file lacks that CA or tls_cert_file lacks the intermediate between",
                      refusal->who, issuer, refusal->accepted);
        error_hint(diagnosis->err,
                   "Append the certificate of \"%s\" to ssl_ca_file on the server, then SELECT pg_reload_conf(); or, "
                   "if it is an intermediate of a CA the server accepts, append it to \"%s\"; or get a certificate of "
                   "a CA the server accepts.",
                   issuer, file);
    }
}

static void explain_without_certificate(struct refusal *refusal, int alert)
{
    struct diagnosis *diagnosis = refusal->diagnosis;

    diagnosis_say(diagnosis, "the server ended the handshake with TLS alert %d (%s)", alert,
                  SSL_alert_desc_string_long(alert));
    if (alert == SSL_AD_CERTIFICATE_REQUIRED)
        error_hint(diagnosis->err, "Set tls_cert_file and tls_key_file in section [%s].", diagnosis->server->name);
    else
        error_hint(diagnosis->err,
                   "Compare ssl_ciphers, ssl_ecdh_curve and ssl_min_protocol_version on the server with "
                   "this machine's openssl.cnf; the server's log names the reason.");
}

static void explain(struct refusal *refusal, int alert)
{
    struct diagnosis *diagnosis = refusal->diagnosis;

    switch (alert) {
    case SSL_AD_CERTIFICATE_EXPIRED:
        explain_expired(refusal);
        return;
    case SSL_AD_BAD_CERTIFICATE:
        explain_bad(refusal);
        return;
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
        explain_unsupported(refusal);
        return;
    case SSL_AD_UNKNOWN_CA:
        explain_unknown_authority(refusal);
        return;
    case SSL_AD_CERTIFICATE_REVOKED:
        diagnosis_say(diagnosis, "the server refused %s: it was revoked, says the server's ssl_crl_file", refusal->who);
        error_hint(diagnosis->err,
                   "Get a new certificate and key, and replace \"%s\" and \"%s\"; no restart is needed.",
                   diagnosis->server->settings.tls_cert_file, diagnosis->server->settings.tls_key_file);
        return;
    case SSL_AD_DECRYPT_ERROR:
        diagnosis_say(diagnosis, "the server refused %s: the CA of that name in its ssl_ca_file has another key",
                      refusal->who);
        error_hint(diagnosis->err, "Put the CA that signed our certificate into ssl_ca_file on the server, then SELECT "
                                   "pg_reload_conf();");
        return;
    default:
        explain_without_certificate(refusal, alert);
    }
}

void diagnosis_explain_alert(struct diagnosis *diagnosis, int alert)
{
    const struct settings *settings = &diagnosis->server->settings;
    struct refusal refusal = {.diagnosis = diagnosis};
    struct error ignored;

    if (alert == SSL_AD_PROTOCOL_VERSION) {
        diagnosis_explain_version(diagnosis);
        return;
    }
    if (text_is_empty(settings->tls_cert_file) ||
        !certificate_read_all(settings->tls_cert_file, &refusal.ours, &ignored)) {
        explain_without_certificate(&refusal, alert);
        return;
    }
    if (!text_is_empty(settings->tls_ca_file) &&
        !certificate_read_all(tls_files_ca_path(settings), &refusal.trusted, &ignored))
        refusal.trusted = NULL;
    certificate_describe(sk_X509_value(refusal.ours, 0), &refusal.text);
    certificate_phrase(sk_X509_value(refusal.ours, 0), refusal.phrase);
    snprintf(refusal.who, sizeof refusal.who,
             "our certificate in tls_cert_file \"%s\" (subject \"%s\", issuer \"%s\", "
             "valid until %s)",
             settings->tls_cert_file, refusal.text.subject, refusal.text.issuer, refusal.text.not_after_text);
    list_accepted(diagnosis->probe.accepted, refusal.accepted, sizeof refusal.accepted);
    explain(&refusal, alert);
    error_detail(diagnosis->err, "Our certificate: %s. CAs the server accepts: %s.", refusal.phrase, refusal.accepted);
    sk_X509_pop_free(refusal.ours, X509_free);
    sk_X509_pop_free(refusal.trusted, X509_free);
}
