#include "pgcoffer/tls/files.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "tls/files_internal.h"

const char *tls_files_ca_path(const struct settings *settings)
{
    return strcmp(settings->tls_ca_file, "system") == 0 ? TLS_SYSTEM_BUNDLE : settings->tls_ca_file;
}

/* ---- protocol.mode: which files are configured ---- */

static bool has_mode_fault(const struct server_config *server, struct finding *ret_finding)
{
    const struct settings *settings = &server->settings;
    enum tls_mode mode = config_tls_mode(settings);
    bool is_verified = mode == TLS_VERIFY_FULL || mode == TLS_VERIFY_CA;
    bool has_certificate = !text_is_empty(settings->tls_cert_file), has_key = !text_is_empty(settings->tls_key_file);
    char setting[TLS_SETTING_NAME_SIZE];
    struct finding finding = {0};

    finding_seen(&finding, "tls_mode %s, tls_ca_file \"%s\", tls_cert_file \"%s\", tls_key_file \"%s\"",
                 settings->tls_mode, settings->tls_ca_file, settings->tls_cert_file, settings->tls_key_file);
    if (is_verified && text_is_empty(settings->tls_ca_file)) {
        finding_cause(&finding, CHECK_ID_protocol_mode,
                      "tls_mode %s needs tls_ca_file: without a CA nothing can be verified.", settings->tls_mode);
        finding_fix(&finding, "Set tls_ca_file (%s) to the CA that signed PostgreSQL's certificate.",
                    tls_setting_name(server, "tls_ca_file", setting));
    } else if (has_certificate != has_key) {
        const char *there = has_certificate ? "tls_cert_file" : "tls_key_file";
        const char *missing = has_certificate ? "tls_key_file" : "tls_cert_file";
        finding_cause(&finding, CHECK_ID_protocol_mode,
                      "%s is set without %s: a certificate is of use with its key only.", there, missing);
        finding_fix(&finding, "Set both or none: %s.", tls_setting_name(server, missing, setting));
    } else if (strchr(settings->tls_key_file, ':') != NULL && config_find_credential(settings->tls_key_file) == NULL) {
        /* libpq takes a key's name with a colon for "engine:key". */
        finding_cause(
            &finding, CHECK_ID_protocol_mode,
            "tls_key_file \"%s\" has a colon in its name, so libpq takes it for the name of an OpenSSL engine.",
            settings->tls_key_file);
        finding_fix(&finding, "Rename the file, and correct %s.", tls_setting_name(server, "tls_key_file", setting));
    } else {
        return false;
    }
    *ret_finding = finding;
    return true;
}

/* ---- certificates and their dates ---- */

/* How a file begins: enough to see what somebody put there instead. Text, whatever its bytes. */
#define HEAD_SIZE 8192
static void read_head(const char *path, char ret_head[HEAD_SIZE], bool *ret_is_der)
{
    int fd SCOPED(scoped_close) = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t size = fd < 0 ? -1 : read(fd, ret_head, HEAD_SIZE - 1);
    const unsigned char *bytes = (const unsigned char *)ret_head;

    if (size < 0)
        size = 0;
    ret_head[size] = '\0';
    X509 *certificate SCOPED(scoped_certificate) = size == 0 ? NULL : d2i_X509(NULL, &bytes, size);
    *ret_is_der = certificate != NULL;
    ERR_clear_error();
}

static void tell_no_certificate(const struct configured_file *file, const struct error *err,
                                struct finding *ret_finding)
{
    char head[HEAD_SIZE];
    bool is_der = false;

    read_head(file->path, head, &is_der);
    finding_seen(ret_finding, "%s", err->message);
    if (is_der) {
        finding_cause(ret_finding, file->check, "%s \"%s\" holds a certificate in DER form; PEM is read.",
                      file->setting, file->path);
        finding_fix(ret_finding, "Convert it: openssl x509 -inform DER -in \"%s\" -out \"%s.pem\"; and name that file.",
                    file->path, file->path);
    } else if (strstr(head, "CERTIFICATE REQUEST-----") != NULL) {
        finding_cause(ret_finding, file->check,
                      "%s \"%s\" holds a request for a certificate, not the certificate the CA makes of it.",
                      file->setting, file->path);
        finding_fix(ret_finding, "Let the CA sign the request, and put what it gives into \"%s\".", file->path);
    } else if (strstr(head, "PRIVATE KEY-----") != NULL && strstr(head, "-----BEGIN CERTIFICATE-----") == NULL) {
        finding_cause(ret_finding, file->check, "%s \"%s\" holds a private key where a certificate belongs.",
                      file->setting, file->path);
        finding_fix(ret_finding, "Put the certificate there; perhaps two files, or two settings, were exchanged.");
    } else if (strstr(head, "-----BEGIN CERTIFICATE-----") != NULL) {
        finding_cause(ret_finding, file->check, "%s \"%s\" holds a damaged certificate.", file->setting, file->path);
        finding_fix(ret_finding, "Copy it to \"%s\" again, whole, from -----BEGIN to -----END CERTIFICATE-----.",
                    file->path);
    } else {
        finding_cause(ret_finding, file->check, "%s \"%s\" %s.", file->setting, file->path,
                      head[0] == '\0' ? "is empty" : "holds no certificate in PEM form");
        finding_fix(ret_finding, "Replace \"%s\" by a PEM file, a text with -----BEGIN CERTIFICATE-----.", file->path);
    }
}

static bool has_certificate_fault(const struct configured_file *file, struct finding *ret_finding)
{
    STACK_OF(X509) * certificates SCOPED(scoped_certificates) = NULL;
    struct error err;

    if (files_access_fault(file, ret_finding))
        return true;
    if (certificate_read_all(file->path, &certificates, &err))
        return false;
    tell_no_certificate(file, &err, ret_finding);
    return true;
}

static void tell_dates(const struct configured_file *file, X509 *certificate, enum check_id check,
                       struct finding *ret_finding)
{
    const char *what = check == CHECK_ID_expiry_client ? "client certificate" : "CA certificate";
    struct certificate_text text;
    char phrase[CERTIFICATE_PHRASE_SIZE], not_before[TIMESTAMP_TEXT_SIZE], clock[CERTIFICATE_CLOCK_SIZE];

    certificate_describe(certificate, &text);
    certificate_clock_format(certificate, clock);
    certificate_phrase(certificate, phrase);
    timestamp_format(text.not_before, not_before);
    *ret_finding = (struct finding){0};
    finding_seen(ret_finding, "%s", phrase);
    if (text.days_left < 0) {
        finding_cause(ret_finding, check, "The %s in %s \"%s\" (subject \"%s\") expired on %s: %s.", what,
                      file->setting, file->path, text.subject, text.not_after_text, clock);
        finding_fix(ret_finding, "Renew the %s and put the new one into \"%s\"; no restart is needed.", what,
                    file->path);
    } else {
        finding_cause(
            ret_finding, check,
            "The %s in %s \"%s\" (subject \"%s\") is not valid before %s: %s. This machine's clock is behind, or "
            "the one of the CA was ahead.",
            what, file->setting, file->path, text.subject, not_before, clock);
        finding_fix(ret_finding, "Compare this machine's clock (date -u) with the one that signed it, or wait until "
                                 "then.");
    }
}

static bool has_client_date_fault(const struct configured_file *file, struct finding *ret_finding)
{
    X509 *leaf SCOPED(scoped_certificate) = NULL;
    struct error ignored;

    if (!certificate_read(file->path, &leaf, &ignored) || certificate_is_current(leaf))
        return false;
    tell_dates(file, leaf, CHECK_ID_expiry_client, ret_finding);
    return true;
}

/* A bundle may hold old roots beside the current one; only a file without any current one is useless. */
static bool has_authority_date_fault(const struct configured_file *file, struct finding *ret_finding)
{
    STACK_OF(X509) * certificates SCOPED(scoped_certificates) = NULL;
    struct error ignored;

    if (!certificate_read_all(file->path, &certificates, &ignored))
        return false;
    for (int i = 0; i < sk_X509_num(certificates); i++)
        if (certificate_is_current(sk_X509_value(certificates, i)))
            return false;
    tell_dates(file, sk_X509_value(certificates, 0), CHECK_ID_expiry_ca, ret_finding);
    return true;
}

/* ---- all of them ---- */

struct client_files {
    struct configured_file authorities, revocations, certificate, key;
};

/* `check` is one of order[]; the files it is about are configured. */
static bool has_fault(const struct server_config *server, const struct client_files *files, enum check_id check,
                      struct finding *ret_finding)
{
    if (check == CHECK_ID_protocol_mode)
        return has_mode_fault(server, ret_finding);
    if (check == CHECK_ID_file_ca)
        return has_certificate_fault(&files->authorities, ret_finding);
    if (check == CHECK_ID_expiry_ca)
        return has_authority_date_fault(&files->authorities, ret_finding);
    if (check == CHECK_ID_file_crl)
        return files_access_fault(&files->revocations, ret_finding) ||
               files_list_fault(&files->revocations, ret_finding);
    if (check == CHECK_ID_expiry_crl)
        return files_list_date_fault(&files->revocations, ret_finding);
    if (check == CHECK_ID_file_certificate)
        return has_certificate_fault(&files->certificate, ret_finding);
    if (check == CHECK_ID_expiry_client)
        return has_client_date_fault(&files->certificate, ret_finding);
    if (check == CHECK_ID_file_key)
        return files_access_fault(&files->key, ret_finding) || files_key_fault(&files->key, ret_finding);
    if (check == CHECK_ID_key_mode)
        return files_key_mode_fault(&files->key, ret_finding);
    return check == CHECK_ID_key_match && files_pair_fault(&files->certificate, &files->key, ret_finding);
}

static bool is_configured(const struct settings *settings, enum check_id check)
{
    if (check == CHECK_ID_protocol_mode)
        return true;
    if (check == CHECK_ID_file_ca || check == CHECK_ID_expiry_ca)
        return !text_is_empty(settings->tls_ca_file);
    if (check == CHECK_ID_file_crl || check == CHECK_ID_expiry_crl)
        return !text_is_empty(settings->tls_crl_file);
    if (check == CHECK_ID_file_certificate || check == CHECK_ID_expiry_client)
        return !text_is_empty(settings->tls_cert_file);
    return !text_is_empty(settings->tls_cert_file) && !text_is_empty(settings->tls_key_file);
}

bool tls_files_fault(const struct server_config *server, enum check_id check, struct finding *ret_finding)
{
    const struct settings *settings = &server->settings;
    bool is_metrics = server->is_metrics;
    const struct client_files files = {
        .authorities = {is_metrics ? "metrics_ca_file" : "tls_ca_file", tls_files_ca_path(settings), server,
                        CHECK_ID_file_ca},
        .revocations = {"tls_crl_file", settings->tls_crl_file, server, CHECK_ID_file_crl},
        .certificate = {is_metrics ? "metrics_cert_file" : "tls_cert_file", settings->tls_cert_file, server,
                        CHECK_ID_file_certificate},
        .key = {is_metrics ? "metrics_key_file" : "tls_key_file", settings->tls_key_file, server, CHECK_ID_file_key},
    };
    struct finding finding = {0};

    if (config_tls_mode(settings) == TLS_DISABLE || !is_configured(settings, check) ||
        !has_fault(server, &files, check, &finding)) {
        ERR_clear_error();
        return false;
    }
    *ret_finding = finding;
    return true;
}

bool tls_files_check(const struct server_config *server, struct error *err)
{
    static const enum check_id order[] = {
        CHECK_ID_protocol_mode,    CHECK_ID_file_ca,  CHECK_ID_expiry_ca, CHECK_ID_file_crl,  CHECK_ID_expiry_crl,
        CHECK_ID_file_certificate, CHECK_ID_file_key, CHECK_ID_key_mode,  CHECK_ID_key_match, CHECK_ID_expiry_client,
    };
    struct finding finding;

    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (tls_files_fault(server, order[i], &finding))
            return finding_to_plain_error(&finding, ERROR_TLS, err);
    return true;
}
