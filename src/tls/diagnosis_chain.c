#include <openssl/x509v3.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"
#include "tls/diagnosis_internal.h"

#define PUT_ON_SERVER "put it on the server into ssl_cert_file, then SELECT pg_reload_conf();"

/* The server's chain as it came, the certificate that failed, and the CAs it was compared with. */
struct chain_fault {
    struct diagnosis *diagnosis;
    X509 *culprit;
    int depth;
    const char *ca_file;
    STACK_OF(X509) * trusted;
    struct certificate_text text; /* of the culprit */
    char who[640];                /* "The server's certificate" or which CA of its chain */
};

/* ---- dates ---- */

static void tell_early(struct chain_fault *fault, enum check_id check)
{
    char not_before[TIMESTAMP_TEXT_SIZE], clock[CERTIFICATE_CLOCK_SIZE];

    timestamp_format(fault->text.not_before, not_before);
    certificate_clock_format(fault->culprit, clock);
    finding_cause(fault->diagnosis->finding, check,
                  "%s is valid only from %s on: %s. This machine's clock is behind, or that of the CA was ahead.",
                  fault->who, not_before, clock);
    finding_fix(fault->diagnosis->finding,
                "Compare the clocks of this machine and of the one that signed it (date -u), "
                "or wait until then.");
}

static void tell_expired(struct chain_fault *fault, enum check_id check)
{
    struct finding *finding = fault->diagnosis->finding;

    if (fault->depth == 0) {
        finding_cause(finding, check, "The server's certificate expired on %s (subject \"%s\", issuer \"%s\").",
                      fault->text.not_after_text, fault->text.subject, fault->text.issuer);
        finding_fix(finding, "Renew the server's certificate and " PUT_ON_SERVER);
        return;
    }
    finding_cause(finding, check, "%s expired on %s.", fault->who, fault->text.not_after_text);
    if (check == CHECK_ID_expiry_ca)
        finding_fix(finding, "Replace the expired CA certificate in tls_ca_file \"%s\" by its renewed one.",
                    fault->ca_file);
    else
        finding_fix(finding, "Put the renewed certificate of this CA behind the server's own into ssl_cert_file on the "
                             "server, then SELECT pg_reload_conf();");
}

static void explain_dates(struct chain_fault *fault, bool has_expired)
{
    bool is_own = fault->depth > 0 && certificate_stands_in(fault->trusted, fault->culprit) &&
                  !certificate_stands_in(fault->diagnosis->probe->chain, fault->culprit);
    enum check_id check = is_own ? CHECK_ID_expiry_ca : CHECK_ID_expiry_server;

    if (has_expired)
        tell_expired(fault, check);
    else
        tell_early(fault, check);
}

/* ---- revocation ---- */

static void explain_revocation(struct chain_fault *fault, int error)
{
    struct finding *finding = fault->diagnosis->finding;
    const char *file = fault->diagnosis->server->settings.tls_crl_file;
    char setting[TLS_SETTING_NAME_SIZE];

    tls_setting_name(fault->diagnosis->server, "tls_crl_file", setting);
    if (error == X509_V_ERR_CERT_REVOKED) {
        finding_cause(finding, CHECK_ID_chain_revocation,
                      "%s was revoked by its CA, says the list in tls_crl_file \"%s\".", fault->who, file);
        finding_fix(finding, "Get a new certificate and key for the server, put them into ssl_cert_file and "
                             "ssl_key_file there, then SELECT pg_reload_conf();");
    } else if (error == X509_V_ERR_CRL_HAS_EXPIRED || error == X509_V_ERR_CRL_NOT_YET_VALID) {
        finding_cause(finding, CHECK_ID_expiry_crl, "The revocation list of CA \"%s\" in tls_crl_file \"%s\" %s.",
                      fault->text.issuer, file,
                      error == X509_V_ERR_CRL_HAS_EXPIRED ? "has expired" : "is not valid yet");
        finding_fix(finding, "Fetch or make the CA's current list (openssl ca -gencrl) and replace \"%s\".", file);
    } else if (error == X509_V_ERR_CRL_SIGNATURE_FAILURE) {
        finding_cause(
            finding, CHECK_ID_chain_revocation,
            "The revocation list of CA \"%s\" in tls_crl_file \"%s\" was signed by another key than the CA's.",
            fault->text.issuer, file);
        finding_fix(finding, "Fetch the CA's current list and replace \"%s\".", file);
    } else {
        finding_cause(finding, CHECK_ID_chain_revocation,
                      "tls_crl_file \"%s\" holds no list of CA \"%s\", which issued \"%s\"; once a list is configured, "
                      "every CA of the chain needs one.",
                      file, fault->text.issuer, fault->text.subject);
        finding_fix(
            finding,
            "Append the list of every CA of the chain, that of the root too, to tls_crl_file: cat CRL >> \"%s\"; or "
            "unset %s.",
            file, setting);
    }
}

/* ---- purposes ---- */

static void tell_usage(struct chain_fault *fault)
{
    struct finding *finding = fault->diagnosis->finding;

    if (fault->depth > 0) {
        finding_cause(
            finding, CHECK_ID_chain_server,
            "%s may not sign for servers: its own extended key usage lacks serverAuth, and that binds what it "
            "signs.",
            fault->who);
        finding_fix(finding, "Issue that CA without extendedKeyUsage, and the server's certificate anew.");
    } else if (!certificate_allows_usage(fault->culprit, NID_server_auth)) {
        finding_cause(finding, CHECK_ID_chain_server,
                      "%s may not be used by a server: its extended key usage lacks serverAuth.", fault->who);
        finding_fix(finding, "Issue it with extendedKeyUsage = serverAuth and " PUT_ON_SERVER);
    } else {
        finding_cause(finding, CHECK_ID_chain_server,
                      "%s may not be used by a server: its key usage lacks digitalSignature.", fault->who);
        finding_fix(finding, "Issue it with keyUsage = critical,digitalSignature and " PUT_ON_SERVER);
    }
}

static void tell_weak(struct chain_fault *fault, int error)
{
    struct finding *finding = fault->diagnosis->finding;

    finding_cause(finding, CHECK_ID_key_server, "%s is too weak for OpenSSL's security level here: %s.", fault->who,
                  X509_verify_cert_error_string(error));
    finding_fix(finding, "Have a certificate issued for a new key (openssl genpkey -algorithm EC -pkeyopt "
                         "ec_paramgen_curve:P-256), signed with SHA-256, and " PUT_ON_SERVER);
}

static void tell_other(struct chain_fault *fault, int error)
{
    struct finding *finding = fault->diagnosis->finding;

    if (error == X509_V_ERR_PATH_LENGTH_EXCEEDED) {
        finding_cause(finding, CHECK_ID_chain_server,
                      "\"%s\" may not sign a CA below itself: its basicConstraints have a pathlen that is too small.",
                      fault->text.subject);
        finding_fix(finding, "Issue that CA with a larger pathlen, or without one.");
    } else if (error == X509_V_ERR_PERMITTED_VIOLATION || error == X509_V_ERR_EXCLUDED_VIOLATION) {
        finding_cause(finding, CHECK_ID_chain_server,
                      "The name constraints of a CA in the chain do not permit the names of \"%s\" (%s).",
                      fault->text.subject, fault->text.names[0] == '\0' ? "none" : fault->text.names);
        finding_fix(finding, "Issue the server's certificate with names the CA may sign, and " PUT_ON_SERVER);
    } else {
        finding_cause(finding, CHECK_ID_chain_server, "%s is not acceptable: %s.", fault->who,
                      X509_verify_cert_error_string(error));
        finding_fix(finding, "Get a new certificate for the server and " PUT_ON_SERVER);
    }
}

static void explain_error(struct chain_fault *fault, int error)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        explain_dates(fault, error == X509_V_ERR_CERT_HAS_EXPIRED);
        return;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        diagnosis_explain_issuer(fault->diagnosis, fault->trusted);
        return;
    case X509_V_ERR_CERT_REVOKED:
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
        explain_revocation(fault, error);
        return;
    case X509_V_ERR_INVALID_PURPOSE:
        tell_usage(fault);
        return;
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        diagnosis_tell_no_authority(fault->diagnosis, fault->culprit,
                                    certificate_stands_in(fault->trusted, fault->culprit));
        return;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        tell_weak(fault, error);
        return;
    default:
        tell_other(fault, error);
    }
}

void diagnosis_explain_chain(struct diagnosis *diagnosis)
{
    const struct tls_probe *probe = diagnosis->probe;
    struct chain_fault fault = {.diagnosis = diagnosis, .culprit = probe->culprit, .depth = probe->verify_depth};
    char phrase[CERTIFICATE_PHRASE_SIZE];
    struct error ignored;

    if (fault.culprit == NULL || sk_X509_num(probe->chain) == 0) {
        finding_cause(diagnosis->finding, CHECK_ID_chain_server, "The server's certificate is not acceptable: %s.",
                      X509_verify_cert_error_string(probe->verify_error));
        finding_fix(diagnosis->finding, "Get a new certificate for the server and " PUT_ON_SERVER);
        return;
    }
    fault.ca_file = tls_files_ca_path(&diagnosis->server->settings);
    if (text_is_empty(fault.ca_file) || !certificate_read_all(fault.ca_file, &fault.trusted, &ignored))
        fault.trusted = NULL;
    certificate_describe(fault.culprit, &fault.text);
    certificate_phrase(fault.culprit, phrase);
    if (fault.depth == 0)
        snprintf(fault.who, sizeof fault.who, "The server's certificate (subject \"%s\", issuer \"%s\")",
                 fault.text.subject, fault.text.issuer);
    else
        snprintf(fault.who, sizeof fault.who, "The CA \"%s\" in the chain of the server's certificate",
                 fault.text.subject);
    finding_seen(diagnosis->finding, "%s (error %d at depth %d of the server's chain): %s; fingerprint %s; names %s",
                 X509_verify_cert_error_string(probe->verify_error), probe->verify_error, fault.depth, phrase,
                 fault.text.fingerprint, fault.text.names[0] == '\0' ? "none" : fault.text.names);
    explain_error(&fault, probe->verify_error);
    sk_X509_pop_free(fault.trusted, X509_free);
}

void diagnosis_explain_name(struct diagnosis *diagnosis)
{
    const char *host = diagnosis->server->settings.host;
    X509 *leaf = sk_X509_value(diagnosis->probe->chain, 0);
    struct finding *finding = diagnosis->finding;
    struct certificate_text text;
    char phrase[CERTIFICATE_PHRASE_SIZE], names[600], setting[TLS_SETTING_NAME_SIZE];
    bool is_address = tls_host_is_address(host);

    certificate_describe(leaf, &text);
    certificate_phrase(leaf, phrase);
    if (text.names[0] != '\0')
        snprintf(names, sizeof names, "its names are %s", text.names);
    else if (text.common_name[0] != '\0')
        snprintf(names, sizeof names, "its only name is the CN \"%s\"", text.common_name);
    else
        snprintf(names, sizeof names, "it has no name at all");
    finding_seen(finding, "%s; fingerprint %s", phrase, text.fingerprint);
    finding_cause(finding, CHECK_ID_name_match, "The server's certificate is not for host \"%s\": %s.%s%s%s", host,
                  names, is_address ? " An address counts only as IP:" : "", is_address ? host : "",
                  is_address ? "." : "");
    finding_fix(finding,
                "Issue the server's certificate with subjectAltName = %s:%s and " PUT_ON_SERVER
                " Or set %s to one of its names, and hostaddr to the address if the name does not lead there.",
                is_address ? "IP" : "DNS", host, tls_setting_name(diagnosis->server, "host", setting));
}
