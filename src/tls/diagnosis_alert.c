#include <openssl/x509v3.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"
#include "pgcoffer/tls/strength.h"
#include "tls/diagnosis_internal.h"

#define SECONDS_PER_DAY INT64_C(86400)
#define RELOAD          "then SELECT pg_reload_conf();"

static X509 *find_expired(const struct refusal *refusal)
{
    for (int i = 0; i < sk_X509_num(refusal->ours); i++)
        if (X509_cmp_current_time(X509_get0_notAfter(sk_X509_value(refusal->ours, i))) < 0)
            return sk_X509_value(refusal->ours, i);
    return NULL;
}

static void explain_expired(struct refusal *refusal)
{
    struct finding *finding = refusal->diagnosis->finding;
    X509 *expired = find_expired(refusal);

    if (expired == NULL) {
        finding_cause(
            finding, CHECK_ID_identity_revocation,
            "The server refused %s as expired, and it is not: the server's revocation list (ssl_crl_file) has "
            "expired, which refuses every client; or a CA certificate in its ssl_ca_file has, or its clock is "
            "ahead.",
            refusal->who);
        finding_fix(
            finding,
            "On the server look at the list, openssl crl -in CRL -noout -nextupdate, and at date -u; put the CA's "
            "current list into ssl_crl_file, " RELOAD);
        return;
    }
    struct certificate_text text;
    certificate_describe(expired, &text);
    finding_cause(finding, CHECK_ID_expiry_client,
                  "The server refused our certificate as expired: in tls_cert_file \"%s\" \"%s\" expired on %s.",
                  refusal->diagnosis->server->settings.tls_cert_file, text.subject, text.not_after_text);
    finding_fix(finding, "Renew the client certificate and replace the file; no restart is needed.");
}

bool diagnosis_explain_weak(struct refusal *refusal, const char *verb)
{
    struct finding *finding = refusal->diagnosis->finding;
    char words[128], subject[256];
    int weak = strength_find_weak(refusal->ours, words, sizeof words);

    if (weak < 0)
        return false;
    certificate_name_format(X509_get_subject_name(sk_X509_value(refusal->ours, weak)), subject, sizeof subject);
    finding_cause(finding, CHECK_ID_key_strength, "%s %s: \"%s\" is too weak for today's OpenSSL, it has %s.", verb,
                  refusal->who, subject, words);
    finding_fix(finding, "Get a certificate for a new key (openssl genpkey -algorithm EC -pkeyopt "
                         "ec_paramgen_curve:P-256), signed with SHA-256 (openssl x509 -req -sha256 ...).");
    return true;
}

static void explain_bad(struct refusal *refusal)
{
    struct finding *finding = refusal->diagnosis->finding;
    struct certificate_text text;
    char not_before[TIMESTAMP_TEXT_SIZE];

    certificate_describe(sk_X509_value(refusal->ours, 0), &text);
    timestamp_format(text.not_before, not_before);
    int64_t age_seconds = (clock_now().microseconds - text.not_before.microseconds) / 1000000;
    if (diagnosis_explain_weak(refusal, "The server refused"))
        return;
    if (age_seconds < 0) {
        finding_cause(finding, CHECK_ID_expiry_client,
                      "The server refused %s: it is not valid before %s, by the clock here too.", refusal->who,
                      not_before);
        finding_fix(finding, "Compare date -u here and on the machine that signed it, or wait until then.");
    } else if (age_seconds < 2 * SECONDS_PER_DAY) {
        finding_cause(finding, CHECK_ID_expiry_client,
                      "The server refused %s: it is valid only since %s, and the server's clock is probably behind.",
                      refusal->who, not_before);
        finding_fix(finding, "Compare date -u on both machines, and set the server's clock.");
    } else {
        finding_cause(finding, CHECK_ID_identity_accepted,
                      "The server refused %s as a bad certificate: by its clock it, or the revocation list in "
                      "ssl_crl_file, is not valid yet, or something in it is malformed.",
                      refusal->who);
        finding_fix(finding, "Compare date -u on both machines; the server's log may name the reason.");
    }
}

static void explain_unsupported(struct refusal *refusal)
{
    struct finding *finding = refusal->diagnosis->finding;
    X509 *leaf = sk_X509_value(refusal->ours, 0);

    if (!certificate_allows_usage(leaf, NID_client_auth)) {
        finding_cause(finding, CHECK_ID_identity_usage,
                      "The server refused %s: it may not be used by a client, its extended key usage lacks clientAuth.",
                      refusal->who);
        finding_fix(finding, "Issue it with extendedKeyUsage = clientAuth; public CAs such as Let's Encrypt no longer "
                             "do, so use your own CA.");
    } else if ((X509_get_key_usage(leaf) & (KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT)) == 0) {
        finding_cause(finding, CHECK_ID_identity_usage,
                      "The server refused %s: it may not be used by a client, its key usage lacks digitalSignature.",
                      refusal->who);
        finding_fix(finding, "Issue it with keyUsage = critical,digitalSignature.");
    } else {
        finding_cause(
            finding, CHECK_ID_identity_usage,
            "The server refused %s: a CA of its chain may not sign client certificates, its extended key usage "
            "lacks clientAuth.",
            refusal->who);
        finding_fix(finding, "Look at the extended key usage of the CAs above: openssl x509 -noout -ext "
                             "extendedKeyUsage -in CA.crt; issue that CA without one.");
    }
}

static void explain_revoked(struct refusal *refusal)
{
    const struct settings *settings = &refusal->diagnosis->server->settings;

    finding_cause(refusal->diagnosis->finding, CHECK_ID_identity_revocation,
                  "The server refused %s: it was revoked, says the server's ssl_crl_file.", refusal->who);
    finding_fix(refusal->diagnosis->finding,
                "Get a new certificate and key, and replace \"%s\" and \"%s\"; no restart is needed.",
                settings->tls_cert_file, settings->tls_key_file);
}

static void explain_signature(struct refusal *refusal)
{
    finding_cause(
        refusal->diagnosis->finding, CHECK_ID_identity_chain,
        "The server refused %s: it does accept a CA of the issuer's name, but that one has another key, so it "
        "did not sign our certificate.",
        refusal->who);
    finding_fix(
        refusal->diagnosis->finding,
        "Get a new certificate from the present CA, or append the CA that signed this one to ssl_ca_file on the "
        "server, " RELOAD);
}

/* ---- alerts that are about something else than our certificate, or about none of ours ---- */

static void tell_no_common_cipher(struct diagnosis *diagnosis)
{
    finding_cause(
        diagnosis->finding, CHECK_ID_protocol_handshake,
        "The two sides have no cipher in common, or none that fits the key of the server's certificate (an EC "
        "key needs ECDSA ciphers, an RSA key RSA ones), or no curve.");
    finding_fix(diagnosis->finding,
                "Set ssl_ciphers = 'HIGH:MEDIUM:+3DES:!aNULL' (the default) in postgresql.conf on the server, " RELOAD
                " Compare also ssl_ecdh_curve there and openssl.cnf on this machine.");
}

static void explain_other(struct diagnosis *diagnosis, int alert)
{
    struct finding *finding = diagnosis->finding;
    bool is_about_us = diagnosis->probe->is_certificate_wanted;
    enum check_id check = is_about_us ? CHECK_ID_identity_accepted : CHECK_ID_protocol_handshake;
    char setting[TLS_SETTING_NAME_SIZE];

    if (alert == SSL_AD_CERTIFICATE_REQUIRED) {
        finding_cause(finding, CHECK_ID_identity_accepted,
                      "The server ended the handshake because it came without a client certificate.");
        finding_fix(finding, "Set tls_cert_file and tls_key_file: %s.",
                    tls_setting_name(diagnosis->server, "tls_cert_file", setting));
    } else if (!is_about_us && (alert == SSL_AD_HANDSHAKE_FAILURE || alert == SSL_AD_INSUFFICIENT_SECURITY)) {
        tell_no_common_cipher(diagnosis);
    } else if (alert == SSL_AD_UNRECOGNIZED_NAME) {
        finding_cause(
            finding, CHECK_ID_protocol_handshake,
            "What ends TLS there does not know the name \"%s\" (alert unrecognized_name): PostgreSQL never says "
            "so, it is a proxy that chooses by name.",
            tls_host_name(diagnosis->server));
        finding_fix(finding, "Correct %s, or teach the proxy this name.",
                    tls_setting_name(diagnosis->server, "host", setting));
    } else {
        finding_cause(finding, check, "The server ended the handshake%s with TLS alert %d (%s).",
                      is_about_us ? " at our certificate" : "", alert, SSL_alert_desc_string_long(alert));
        finding_fix(finding, "Look at the server's log for the same moment, it names the reason; compare ssl_ciphers, "
                             "ssl_ecdh_curve and ssl_min_protocol_version there with this machine's openssl.cnf.");
    }
}

static void explain_refusal(struct refusal *refusal, int alert)
{
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
        diagnosis_explain_unknown(refusal);
        return;
    case SSL_AD_CERTIFICATE_REVOKED:
        explain_revoked(refusal);
        return;
    case SSL_AD_DECRYPT_ERROR:
        explain_signature(refusal);
        return;
    default:
        explain_other(refusal->diagnosis, alert);
    }
}

bool diagnosis_read_ours(struct diagnosis *diagnosis, struct refusal *ret_refusal)
{
    const struct settings *settings = &diagnosis->server->settings;
    struct certificate_text text;
    struct error ignored;

    *ret_refusal = (struct refusal){.diagnosis = diagnosis};
    if (text_is_empty(settings->tls_cert_file) ||
        !certificate_read_all(settings->tls_cert_file, &ret_refusal->ours, &ignored))
        return false;
    if (text_is_empty(settings->tls_ca_file) ||
        !certificate_read_all(tls_files_ca_path(settings), &ret_refusal->trusted, &ignored))
        ret_refusal->trusted = NULL;
    certificate_describe(sk_X509_value(ret_refusal->ours, 0), &text);
    snprintf(ret_refusal->who, sizeof ret_refusal->who,
             "our certificate in tls_cert_file \"%s\" (subject \"%s\", issuer \"%s\", valid until %s)",
             settings->tls_cert_file, text.subject, text.issuer, text.not_after_text);
    diagnosis_list_names(diagnosis->probe->accepted, "none by name", ret_refusal->accepted,
                         sizeof ret_refusal->accepted);
    return true;
}

void diagnosis_forget_ours(struct refusal *refusal)
{
    sk_X509_pop_free(refusal->ours, X509_free);
    sk_X509_pop_free(refusal->trusted, X509_free);
}

void diagnosis_explain_alert(struct diagnosis *diagnosis, int alert)
{
    char phrase[CERTIFICATE_PHRASE_SIZE];
    struct refusal refusal;

    if (alert == SSL_AD_PROTOCOL_VERSION) {
        diagnosis_explain_version(diagnosis);
        return;
    }
    if (!diagnosis_read_ours(diagnosis, &refusal)) {
        finding_seen(diagnosis->finding, "alert %d (%s)", alert, SSL_alert_desc_string_long(alert));
        explain_other(diagnosis, alert);
        return;
    }
    certificate_phrase(sk_X509_value(refusal.ours, 0), phrase);
    finding_seen(diagnosis->finding, "alert %d (%s). Our certificate: %s. CAs the server accepts: %s.", alert,
                 SSL_alert_desc_string_long(alert), phrase, refusal.accepted);
    explain_refusal(&refusal, alert);
    diagnosis_forget_ours(&refusal);
}
