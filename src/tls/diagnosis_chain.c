#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"
#include "tls/diagnosis_internal.h"

#define RENEW_ON_SERVER "on the server into ssl_cert_file, then SELECT pg_reload_conf();"

/* The server's chain as it came, the certificate that failed, and the CAs it was compared with. */
struct chain_fault {
    struct diagnosis *diagnosis;
    X509 *culprit;
    int depth;
    const char *ca_file;
    STACK_OF(X509) * trusted;
    struct certificate_text text; /* of the culprit */
    char phrase[CERTIFICATE_PHRASE_SIZE];
    char who[640]; /* "the server's certificate" or which CA of its chain */
    char trusted_names[512];
};

static bool is_trusted(const struct chain_fault *fault, X509 *certificate)
{
    for (int i = 0; i < sk_X509_num(fault->trusted); i++)
        if (X509_cmp(sk_X509_value(fault->trusted, i), certificate) == 0)
            return true;
    return false;
}

static X509 *find_trusted_named(const struct chain_fault *fault, X509_NAME *name)
{
    for (int i = 0; i < sk_X509_num(fault->trusted); i++)
        if (X509_NAME_cmp(X509_get_subject_name(sk_X509_value(fault->trusted, i)), name) == 0)
            return sk_X509_value(fault->trusted, i);
    return NULL;
}

static void explain_dates(struct chain_fault *fault, bool has_expired)
{
    struct diagnosis *diagnosis = fault->diagnosis;
    char not_before[TIMESTAMP_TEXT_SIZE];

    if (!has_expired) {
        timestamp_format(fault->text.not_before, not_before);
        diagnosis_say(diagnosis, "%s is not valid before %s", fault->who, not_before);
        error_hint(diagnosis->err, "Compare the clocks of this machine and of the one that signed it (date -u), or "
                                   "wait until then.");
        return;
    }
    diagnosis_say(diagnosis, "%s expired on %s", fault->who, fault->text.not_after_text);
    if (fault->depth == 0)
        error_hint(diagnosis->err, "Renew the server's certificate and put it " RENEW_ON_SERVER);
    else if (is_trusted(fault, fault->culprit))
        error_hint(diagnosis->err, "Replace the expired CA certificate in tls_ca_file \"%s\" by its renewed one.",
                   fault->ca_file);
    else
        error_hint(diagnosis->err,
                   "Put the renewed certificate of this CA, after the server's own one, " RENEW_ON_SERVER);
}

/* A CA in our file has the wanted name but did not sign: an older or newer one of the same name. */
static void explain_other_key(struct chain_fault *fault, X509 *same_name)
{
    struct certificate_text text;

    certificate_describe(same_name, &text);
    diagnosis_say(fault->diagnosis,
                  "%s was signed by another key than that of \"%s\" in tls_ca_file \"%s\": the CA was made anew under "
                  "the same name, or this is another server",
                  fault->who, text.subject, fault->ca_file);
    error_detail(fault->diagnosis->err, "%s. The CA in the file: fingerprint %s, valid until %s.", fault->phrase,
                 text.fingerprint, text.not_after_text);
    error_hint(fault->diagnosis->err, "Fetch the CA's current certificate over a way you trust and put it into \"%s\".",
               fault->ca_file);
}

static void explain_self_signed(struct chain_fault *fault)
{
    struct diagnosis *diagnosis = fault->diagnosis;
    X509 *same_name = find_trusted_named(fault, X509_get_subject_name(fault->culprit));

    if (X509_self_signed(fault->culprit, 1) != 1) {
        diagnosis_say(diagnosis,
                      "%s has the same subject as the CA that signed it, so OpenSSL takes it for "
                      "self-signed",
                      fault->who);
        error_hint(diagnosis->err,
                   "Make a server certificate whose subject differs from the CA's and put it " RENEW_ON_SERVER);
    } else if (fault->depth > 0 && same_name != NULL)
        explain_other_key(fault, same_name);
    else if (fault->depth > 0) {
        diagnosis_say(diagnosis,
                      "the chain of the server's certificate ends at CA \"%s\", which is not in tls_ca_file \"%s\" (it "
                      "holds %s%s)",
                      fault->text.subject, fault->ca_file, fault->trusted_names,
                      is_trusted(fault, sk_X509_value(diagnosis->probe.chain, 0)) ? ", the server's own certificate"
                                                                                  : "");
        error_hint(diagnosis->err,
                   "If this is your CA, append its certificate to \"%s\"; if not, somebody else answers at this "
                   "address.",
                   fault->ca_file);
    } else {
        diagnosis_say(diagnosis, "%s is self-signed and not in tls_ca_file \"%s\" (it holds %s)", fault->who,
                      fault->ca_file, fault->trusted_names);
        error_hint(diagnosis->err, "Let the CA of \"%s\" sign the server's certificate and put it " RENEW_ON_SERVER,
                   fault->ca_file);
    }
}

static void explain_missing_intermediate(struct chain_fault *fault)
{
    struct diagnosis *diagnosis = fault->diagnosis;
    int sent = sk_X509_num(diagnosis->probe.chain);

    diagnosis_say(diagnosis,
                  "%s was issued by CA \"%s\", which the server does not send (%d certificate%s came) and which is "
                  "not in tls_ca_file \"%s\" (it holds %s): an intermediate is missing, or it is another CA",
                  fault->who, fault->text.issuer, sent, sent == 1 ? "" : "s", fault->ca_file, fault->trusted_names);
    error_hint(diagnosis->err,
               "If \"%s\" is an intermediate of your CA, append its certificate to ssl_cert_file on the server, after "
               "the server's own, then SELECT pg_reload_conf(); if it is the root that signed it, put that into "
               "\"%s\"; otherwise somebody else answers at this address.",
               fault->text.issuer, fault->ca_file);
}

static void explain_unknown_issuer(struct chain_fault *fault)
{
    struct diagnosis *diagnosis = fault->diagnosis;
    X509 *same_name = find_trusted_named(fault, X509_get_issuer_name(fault->culprit));

    if (is_trusted(fault, fault->culprit)) {
        bool is_server = fault->depth == 0;
        diagnosis_say(diagnosis, "tls_ca_file \"%s\" holds %s \"%s\" but not the root that signed it, \"%s\"",
                      fault->ca_file, is_server ? "the server's own certificate" : "the intermediate CA",
                      fault->text.subject, fault->text.issuer);
        error_hint(diagnosis->err, "Put the certificate of \"%s\" into \"%s\".", fault->text.issuer, fault->ca_file);
    } else if (same_name != NULL)
        explain_other_key(fault, same_name);
    else
        explain_missing_intermediate(fault);
}

static void explain_revocation(struct chain_fault *fault, int error)
{
    struct diagnosis *diagnosis = fault->diagnosis;
    const char *file = diagnosis->server->settings.tls_crl_file;

    if (error == X509_V_ERR_CERT_REVOKED) {
        diagnosis_say(diagnosis, "%s was revoked by its CA, says tls_crl_file \"%s\"", fault->who, file);
        error_hint(diagnosis->err, "Get a new certificate for the server and put it " RENEW_ON_SERVER);
    } else if (error == X509_V_ERR_UNABLE_TO_GET_CRL) {
        diagnosis_say(diagnosis, "tls_crl_file \"%s\" holds no revocation list of CA \"%s\", which issued %s", file,
                      fault->text.issuer, fault->who);
        error_hint(diagnosis->err,
                   "Append the list of every CA of the chain, that of the root too: cat CRL >> \"%s\"; "
                   "or unset tls_crl_file.",
                   file);
    } else {
        diagnosis_say(diagnosis, "the revocation list of CA \"%s\" in tls_crl_file \"%s\" is not usable: %s",
                      fault->text.issuer, file, X509_verify_cert_error_string(error));
        error_hint(diagnosis->err, "Fetch the CA's current list and replace the file.");
    }
}

static void explain_purpose(struct chain_fault *fault, int error)
{
    struct diagnosis *diagnosis = fault->diagnosis;

    if (error == X509_V_ERR_INVALID_PURPOSE && fault->depth == 0) {
        diagnosis_say(diagnosis, "%s may not be used by a server: its extended key usage lacks serverAuth", fault->who);
        error_hint(diagnosis->err, "Issue it with extendedKeyUsage = serverAuth and put it " RENEW_ON_SERVER);
    } else {
        diagnosis_say(diagnosis,
                      "%s may not sign certificates: it is no CA (basicConstraints CA:TRUE and keyUsage "
                      "keyCertSign are needed)",
                      fault->who);
        error_hint(diagnosis->err, "Issue this intermediate anew as a CA and put it, after the server's own "
                                   "certificate, " RENEW_ON_SERVER);
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
        explain_self_signed(fault);
        return;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        explain_unknown_issuer(fault);
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
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        explain_purpose(fault, error);
        return;
    default:
        diagnosis_say(fault->diagnosis, "%s is not acceptable: %s", fault->who, X509_verify_cert_error_string(error));
        error_hint(fault->diagnosis->err, "Get a new certificate for the server and put it " RENEW_ON_SERVER);
    }
}

void diagnosis_explain_chain(struct diagnosis *diagnosis)
{
    const struct tls_probe *probe = &diagnosis->probe;
    struct chain_fault fault = {.diagnosis = diagnosis, .culprit = probe->culprit, .depth = probe->verify_depth};
    struct error ignored;

    if (fault.culprit == NULL) {
        diagnosis_say(diagnosis, "the server's certificate is not acceptable: %s",
                      X509_verify_cert_error_string(probe->verify_error));
        return;
    }
    fault.ca_file = tls_files_ca_path(&diagnosis->server->settings);
    if (!certificate_read_all(fault.ca_file, &fault.trusted, &ignored))
        fault.trusted = NULL;
    certificate_describe(fault.culprit, &fault.text);
    certificate_phrase(fault.culprit, fault.phrase);
    diagnosis_list_subjects(fault.trusted, fault.trusted_names, sizeof fault.trusted_names);
    snprintf(fault.who, sizeof fault.who, "%s certificate (subject \"%s\", issuer \"%s\")",
             fault.depth == 0 ? "the server's" : "in the chain of the server's certificate the CA", fault.text.subject,
             fault.text.issuer);
    explain_error(&fault, probe->verify_error);
    if (diagnosis->err->detail[0] == '\0')
        error_detail(diagnosis->err, "At depth %d of the server's chain: %s; fingerprint %s; names %s", fault.depth,
                     fault.phrase, fault.text.fingerprint, fault.text.names[0] == '\0' ? "none" : fault.text.names);
    sk_X509_pop_free(fault.trusted, X509_free);
}

void diagnosis_explain_name(struct diagnosis *diagnosis)
{
    const char *host = diagnosis->server->settings.host;
    X509 *leaf = sk_X509_value(diagnosis->probe.chain, 0);
    struct certificate_text text;
    char phrase[CERTIFICATE_PHRASE_SIZE];

    certificate_describe(leaf, &text);
    certificate_phrase(leaf, phrase);
    diagnosis_say(diagnosis, "the server's certificate is not for host \"%s\": its names are %s%s%s", host,
                  text.names[0] == '\0' ? "only the CN \"" : text.names, text.names[0] == '\0' ? text.common_name : "",
                  text.names[0] == '\0' ? "\"" : "");
    error_detail(diagnosis->err, "%s; fingerprint %s", phrase, text.fingerprint);
    error_hint(diagnosis->err,
               "Set host in section [%s] to one of these names (and hostaddr to the address, if the name does not lead "
               "there), or issue the server's certificate with subjectAltName = %s:%s and put it " RENEW_ON_SERVER,
               diagnosis->server->name, strspn(host, "0123456789.") == strlen(host) || strchr(host, ':') ? "IP" : "DNS",
               host);
}
