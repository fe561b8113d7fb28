#include "pgcoffer/tls/diagnosis.h"

#include <stdarg.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "tls/diagnosis_internal.h"

#define ALERT_PROTOCOL_VERSION 70
#define MOST_LISTED            4

void diagnosis_say(struct diagnosis *diagnosis, const char *format, ...)
{
    const struct settings *settings = &diagnosis->server->settings;
    char cause[1280];
    va_list args;

    va_start(args, format);
    vsnprintf(cause, sizeof cause, format, args);
    va_end(args);
    error_set(diagnosis->err, ERROR_TLS, "could not connect to server \"%s\" (%s port %ld): %s (libpq: %s)",
              diagnosis->server->name, text_is_empty(settings->host) ? settings->hostaddr : settings->host,
              settings->port, cause, diagnosis->libpq_words);
    text_make_printable(diagnosis->err->message);
}

void diagnosis_list_subjects(STACK_OF(X509) * certificates, char *ret_text, size_t size)
{
    int count = sk_X509_num(certificates);
    size_t used = 0;

    snprintf(ret_text, size, "nothing");
    for (int i = 0; i < count && i < MOST_LISTED && used < size; i++) {
        char subject[256];
        certificate_name_format(X509_get_subject_name(sk_X509_value(certificates, i)), subject, sizeof subject);
        used += (size_t)snprintf(ret_text + used, size - used, "%s\"%s\"", i == 0 ? "" : ", ", subject);
    }
    if (count > MOST_LISTED && used < size)
        snprintf(ret_text + used, size - used, " and %d more", count - MOST_LISTED);
}

/* OpenSSL prints an alert it received as "sslv3 alert certificate expired"; 3.2 and later say "ssl/tls alert". */
static int alert_of_words(const char *words)
{
    static const struct {
        const char *words;
        int alert;
    } alerts[] = {
        {"alert handshake failure", 40},     {"alert bad certificate", 42},     {"alert unsupported certificate", 43},
        {"alert certificate revoked", 44},   {"alert certificate expired", 45}, {"alert certificate unknown", 46},
        {"alert illegal parameter", 47},     {"alert unknown ca", 48},          {"alert access denied", 49},
        {"alert decode error", 50},          {"alert decrypt error", 51},       {"alert protocol version", 70},
        {"alert insufficient security", 71}, {"alert internal error", 80},      {"alert certificate required", 116},
    };

    for (size_t i = 0; i < sizeof alerts / sizeof *alerts; i++)
        if (strstr(words, alerts[i].words) != NULL)
            return alerts[i].alert;
    return -1;
}

static bool smells_of_tls(const char *words)
{
    static const char *const smells[] = {"SSL", "TLS", "certificate", "private key", "closed the connection"};

    if (strstr(words, "pg_hba.conf") != NULL)
        return false;
    for (size_t i = 0; i < sizeof smells / sizeof *smells; i++)
        if (strstr(words, smells[i]) != NULL)
            return true;
    return false;
}

static bool is_about_versions(const struct tls_probe *probe)
{
    return probe->alert == ALERT_PROTOCOL_VERSION || strstr(probe->words, "unsupported protocol") != NULL ||
           strstr(probe->words, "wrong version number") != NULL;
}

/* TLS 1.2 first: there the verdict on our certificate cannot be overtaken by a closed connection. */
static void look(struct diagnosis *diagnosis)
{
    struct tls_probe_request request = {
        .server = diagnosis->server,
        .most_version = TLS1_2_VERSION,
        .deadline = diagnosis->deadline,
    };

    tls_probe_run(&request, &diagnosis->probe);
    if (!is_about_versions(&diagnosis->probe))
        return;
    tls_probe_done(&diagnosis->probe);
    request.most_version = 0;
    tls_probe_run(&request, &diagnosis->probe);
}

void diagnosis_explain_version(struct diagnosis *diagnosis)
{
    struct tls_probe_request request = {
        .server = diagnosis->server,
        .least_version = TLS1_VERSION,
        .is_weak_allowed = true,
        .deadline = diagnosis->deadline,
    };
    struct tls_probe old;

    tls_probe_run(&request, &old);
    bool has_version = old.outcome == TLS_PROBE_ACCEPTED || old.chain != NULL;
    diagnosis_say(diagnosis, "the server speaks no TLS version from TLSv1.2 on%s%s", has_version ? ", only up to " : "",
                  has_version ? old.version : "");
    error_hint(diagnosis->err, "Set ssl_min_protocol_version = 'TLSv1.2' and ssl_max_protocol_version = '' in "
                               "postgresql.conf on the server, then SELECT pg_reload_conf();");
    tls_probe_done(&old);
}

static void explain_no_tls(struct diagnosis *diagnosis)
{
    const struct settings *settings = &diagnosis->server->settings;

    if (diagnosis->probe.outcome == TLS_PROBE_NO_TLS) {
        diagnosis_say(diagnosis, "the server answered that it does not speak TLS, and nothing was sent after that");
        error_hint(diagnosis->err, "Set ssl = on, ssl_cert_file, ssl_key_file and ssl_ca_file in postgresql.conf on "
                                   "the server, then SELECT pg_reload_conf();");
    } else {
        diagnosis_say(diagnosis, "what listens there is not PostgreSQL: it answered byte 0x%02x to the request for TLS",
                      (unsigned)diagnosis->probe.answer);
        error_hint(diagnosis->err, "Correct host and port in section [%s]; now they are %s and %ld.",
                   diagnosis->server->name, text_is_empty(settings->host) ? settings->hostaddr : settings->host,
                   settings->port);
    }
}

static void explain(struct diagnosis *diagnosis)
{
    const struct tls_probe *probe = &diagnosis->probe;
    const char *words = diagnosis->libpq_words;
    bool is_about_name =
        strstr(words, "does not match host name") != NULL || strstr(words, "could not get server's host name") != NULL;
    int alert = probe->alert >= 0 ? probe->alert : alert_of_words(words);

    /* An error in the clear, before TLS: nobody vouches for its words, so libpq's stay. */
    if (probe->outcome == TLS_PROBE_NOT_POSTGRES && probe->answer == 'E')
        return;
    if (probe->outcome == TLS_PROBE_NO_TLS || probe->outcome == TLS_PROBE_NOT_POSTGRES)
        explain_no_tls(diagnosis);
    else if (probe->outcome == TLS_PROBE_UNREACHABLE) {
        error_detail(diagnosis->err, "A second attempt, which only asked for TLS, ended too: %s.", probe->words);
        error_hint(diagnosis->err, "Look at the server's log; a port of another service, or a proxy that speaks TLS at "
                                   "once (stunnel, haproxy), closes like this too.");
    } else if (probe->outcome == TLS_PROBE_REFUSED_BY_US)
        diagnosis_explain_chain(diagnosis);
    else if (is_about_name && probe->chain != NULL)
        diagnosis_explain_name(diagnosis);
    else if (is_about_versions(probe))
        diagnosis_explain_version(diagnosis);
    else if (alert >= 0)
        diagnosis_explain_alert(diagnosis, alert);
    else if (probe->outcome == TLS_PROBE_BROKEN) {
        diagnosis_say(diagnosis, "the TLS handshake broke: %s", probe->words);
        error_hint(diagnosis->err, "Look at the server's log for the same moment; a proxy or firewall between may end "
                                   "connections too.");
    } else if (strstr(words, "SSL error") != NULL) {
        diagnosis_say(diagnosis, "TLS failed, though a second handshake succeeded");
        error_hint(diagnosis->err, "Try again; look at the server's log for the first moment.");
    }
}

bool tls_diagnose(const struct server_config *server, const char *libpq_words, struct error *err)
{
    struct diagnosis diagnosis = {.server = server, .libpq_words = libpq_words, .err = err};

    if (config_tls_mode(&server->settings) == TLS_DISABLE || !smells_of_tls(libpq_words))
        return false;
    diagnosis.deadline = clock_monotonic() + (int64_t)server->settings.connect_timeout * 1000000;
    look(&diagnosis);
    explain(&diagnosis);
    tls_probe_done(&diagnosis.probe);
    return false;
}
