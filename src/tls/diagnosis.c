#include "pgcoffer/tls/diagnosis.h"

#include <openssl/x509v3.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"
#include "tls/diagnosis_internal.h"

#define ALERT_RECORD     0x15
#define HANDSHAKE_RECORD 0x16

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
    static const char *const smells[] = {"SSL",          "TLS", "certificate", "private key", "closed the connection",
                                         "reset by peer"};

    if (strstr(words, "pg_hba.conf") != NULL)
        return false;
    for (size_t i = 0; i < sizeof smells / sizeof *smells; i++)
        if (strstr(words, smells[i]) != NULL)
            return true;
    return false;
}

static bool is_about_versions(const struct tls_probe *probe)
{
    return probe->alert == SSL_AD_PROTOCOL_VERSION || strstr(probe->words, "unsupported protocol") != NULL;
}

void diagnosis_explain_version(struct diagnosis *diagnosis)
{
    struct tls_probe_request request = {
        .server = diagnosis->server,
        .certificate_path = "",
        .key_path = "",
        .least_version = TLS1_VERSION,
        .is_weak_allowed = true,
        .deadline = diagnosis->deadline,
    };
    struct tls_probe old;

    tls_probe_run(&request, &old);
    bool has_version = old.outcome == TLS_PROBE_ACCEPTED || old.chain != NULL;
    finding_seen(diagnosis->finding, "alert or words: %s; a handshake with old versions allowed came to %s",
                 diagnosis->probe->words[0] == '\0' ? "protocol version" : diagnosis->probe->words,
                 has_version ? old.version : "nothing");
    finding_cause(diagnosis->finding, CHECK_ID_protocol_handshake,
                  "The server speaks no TLS version from TLSv1.2 on%s%s.", has_version ? ", only up to " : "",
                  has_version ? old.version : "");
    finding_fix(diagnosis->finding, "Set ssl_min_protocol_version = 'TLSv1.2' and ssl_max_protocol_version = '' in "
                                    "postgresql.conf on the server, then SELECT pg_reload_conf();");
    tls_probe_done(&old);
}

/* ---- before TLS ---- */

static void explain_no_tls(struct diagnosis *diagnosis)
{
    finding_seen(diagnosis->finding, "the answer 'N' to the request for TLS");
    finding_cause(diagnosis->finding, CHECK_ID_protocol_answer,
                  "The server answered that it does not speak TLS, and nothing was sent after that.");
    finding_fix(diagnosis->finding,
                "Set ssl = on, ssl_cert_file, ssl_key_file and ssl_ca_file in postgresql.conf on the "
                "server, then SELECT pg_reload_conf();");
}

static void explain_foreign(struct diagnosis *diagnosis)
{
    const struct tls_probe *probe = diagnosis->probe;
    const char *host = tls_host_name(diagnosis->server);
    long port = diagnosis->server->settings.port;
    char setting[TLS_SETTING_NAME_SIZE];

    tls_setting_name(diagnosis->server, "host", setting);
    finding_seen(diagnosis->finding, "answered byte 0x%02x to the request for TLS: %s", (unsigned)probe->answer,
                 probe->words);
    if (probe->answer == 'E') {
        finding_cause(diagnosis->finding, CHECK_ID_protocol_answer,
                      "The server answered the request for TLS with an error, in the clear: \"%s\".", probe->words);
        finding_fix(diagnosis->finding,
                    "Look at the server: it may be out of memory or processes, or a pooler answers; "
                    "its log says more.");
    } else if (probe->answer == 'S') {
        finding_cause(diagnosis->finding, CHECK_ID_protocol_answer,
                      "The TLS handshake broke before it began: behind its yes the server sent more in the clear (%s), "
                      "which PostgreSQL never does.",
                      probe->words);
        finding_fix(diagnosis->finding,
                    "Look at the server's log; if there is nothing, it is not PostgreSQL that answers: correct %s and "
                    "port.",
                    setting);
    } else if (probe->answer == ALERT_RECORD || probe->answer == HANDSHAKE_RECORD) {
        finding_cause(
            diagnosis->finding, CHECK_ID_protocol_answer,
            "What listens at %s port %ld is not PostgreSQL: it answered with a TLS record (0x%02x), so it speaks "
            "TLS from the first byte on.",
            host, port, (unsigned)probe->answer);
        finding_fix(
            diagnosis->finding,
            "A proxy that speaks TLS at once (stunnel, haproxy) does not serve PostgreSQL's clients: correct %s "
            "and port, so that they lead to PostgreSQL itself.",
            setting);
    } else {
        finding_cause(diagnosis->finding, CHECK_ID_protocol_answer,
                      "What listens at %s port %ld is not PostgreSQL: to the request for TLS it answered %s.", host,
                      port, probe->words);
        finding_fix(diagnosis->finding, "Correct %s and port; now they are %s and %ld.", setting, host, port);
    }
}

bool diagnosis_explain_unresolved(struct diagnosis *diagnosis, char ret_setting[TLS_SETTING_NAME_SIZE])
{
    const struct tls_probe *probe = diagnosis->probe;
    const char *host = tls_host_name(diagnosis->server);

    tls_setting_name(diagnosis->server, "host", ret_setting);
    finding_seen(diagnosis->finding, "%s%s%s", probe->address, probe->address[0] == '\0' ? "" : ": ", probe->words);
    if (!probe->is_unresolved)
        return false;
    finding_cause(diagnosis->finding, CHECK_ID_server_resolve, "The name \"%s\" has no address: %s.", host,
                  probe->words);
    finding_fix(diagnosis->finding, "Correct %s, or the name service: getent hosts %s", ret_setting, host);
    return true;
}

static void explain_unreachable(struct diagnosis *diagnosis)
{
    const struct tls_probe *probe = diagnosis->probe;
    const char *host = tls_host_name(diagnosis->server);
    long port = diagnosis->server->settings.port;
    struct finding *finding = diagnosis->finding;
    char setting[TLS_SETTING_NAME_SIZE];

    if (diagnosis_explain_unresolved(diagnosis, setting))
        return;
    if (probe->address[0] == '\0') {
        finding_cause(finding, CHECK_ID_server_connect, "The port %ld of %s takes no connection: %s.", port, host,
                      probe->words);
        finding_fix(finding,
                    "Start PostgreSQL there, let listen_addresses and port in its postgresql.conf cover this address, "
                    "look at firewalls (nc -vz %s %ld); or correct %s and port.",
                    host, port, setting);
    } else if (strstr(probe->words, "in time") != NULL) {
        finding_cause(finding, CHECK_ID_protocol_answer,
                      "What listens at %s port %ld takes the connection and does not answer the request for TLS: it is "
                      "stopped or overloaded, or no PostgreSQL, or a firewall swallows what is sent.",
                      host, port);
        finding_fix(finding,
                    "Look at the server and at the firewall between; or correct %s and port. connect_timeout says how "
                    "long to wait.",
                    setting);
    } else {
        finding_cause(finding, CHECK_ID_protocol_answer,
                      "What listens at %s port %ld closed the connection when it was asked for TLS (%s): it is not "
                      "PostgreSQL, or has no process left for us.",
                      host, port, probe->words);
        finding_fix(
            finding,
            "Look at the server's log; a proxy that speaks TLS at once (stunnel, haproxy) closes like this too: "
            "correct %s and port, so that they lead to PostgreSQL itself.",
            setting);
    }
}

/* ---- TLS ---- */

/* Our own files were not good enough for OpenSSL. */
static void explain_unprepared(struct diagnosis *diagnosis)
{
    struct finding *finding = diagnosis->finding;
    const char *words = diagnosis->probe->words;
    struct refusal refusal = {0};

    for (enum check_id check = 0; check < CHECK_COUNT && check_rows[check].level == CHECK_LEVEL_FILES; check++)
        if (tls_files_fault(diagnosis->server, check, finding))
            return;
    bool has_ours = diagnosis_read_ours(diagnosis, &refusal);
    finding_seen(finding, "OpenSSL: %s", words);
    if (!has_ours || !diagnosis_explain_weak(&refusal, "OpenSSL refuses")) {
        finding_cause(finding, CHECK_ID_protocol_handshake,
                      "The TLS files that are configured do not serve for a handshake: %s.", words);
        finding_fix(finding, "Replace the file that OpenSSL refuses; openssl.cnf on this machine may demand more than "
                             "usual.");
    }
    diagnosis_forget_ours(&refusal);
}

static void explain_broken(struct diagnosis *diagnosis)
{
    finding_seen(diagnosis->finding, "%s", diagnosis->probe->words);
    finding_cause(diagnosis->finding, CHECK_ID_protocol_handshake, "The TLS handshake broke: %s.",
                  diagnosis->probe->words);
    if (strstr(diagnosis->probe->words, "dh key too small") != NULL)
        finding_fix(diagnosis->finding,
                    "Set ssl_dh_params_file = '' in postgresql.conf on the server, or make a file of "
                    "2048 bits (openssl dhparam 2048), then SELECT pg_reload_conf();");
    else
        finding_fix(diagnosis->finding, "Look at the server's log for the same moment; if there is nothing, it is not "
                                        "PostgreSQL that answers, or a proxy or firewall between ends connections.");
}

/* The probe succeeded; libpq had failed before. */
static bool explain_accepted(struct diagnosis *diagnosis, int alert)
{
    const struct tls_probe *probe = diagnosis->probe;
    bool is_name_compared = config_tls_mode(&diagnosis->server->settings) == TLS_VERIFY_FULL;

    if (probe->is_name_wrong && is_name_compared) {
        diagnosis_explain_name(diagnosis);
        return true;
    }
    if (alert >= 0) {
        diagnosis_explain_alert(diagnosis, alert);
        return true;
    }
    if (strstr(diagnosis->libpq_words, "SSL error") == NULL)
        return false;
    finding_seen(diagnosis->finding, "a second handshake succeeded, with %s", probe->version);
    finding_cause(diagnosis->finding, CHECK_ID_protocol_handshake,
                  "TLS failed once, and a second handshake succeeded: something changed between, or the connection was "
                  "cut.");
    finding_fix(diagnosis->finding, "Try again; look at the server's log for the first moment.");
    return true;
}

static bool explain(struct diagnosis *diagnosis)
{
    const struct tls_probe *probe = diagnosis->probe;
    int alert = probe->alert >= 0 ? probe->alert : alert_of_words(diagnosis->libpq_words);

    switch (probe->outcome) {
    case TLS_PROBE_UNREACHABLE:
        explain_unreachable(diagnosis);
        return true;
    case TLS_PROBE_NO_TLS:
        explain_no_tls(diagnosis);
        return true;
    case TLS_PROBE_NOT_POSTGRES:
        explain_foreign(diagnosis);
        return true;
    case TLS_PROBE_REFUSED_BY_US:
        diagnosis_explain_chain(diagnosis);
        return true;
    case TLS_PROBE_REFUSED_BY_PEER:
        diagnosis_explain_alert(diagnosis, alert);
        return true;
    case TLS_PROBE_BROKEN:
        if (probe->is_unprepared)
            explain_unprepared(diagnosis);
        else if (is_about_versions(probe))
            diagnosis_explain_version(diagnosis);
        else if (alert >= 0)
            diagnosis_explain_alert(diagnosis, alert);
        else
            explain_broken(diagnosis);
        return true;
    case TLS_PROBE_ACCEPTED:
        break;
    }
    return explain_accepted(diagnosis, alert);
}

static int64_t deadline_of(const struct server_config *server)
{
    return clock_monotonic() + (int64_t)server->settings.connect_timeout * 1000000;
}

bool tls_explain(const struct server_config *server, const struct tls_probe *probe, const char *libpq_words,
                 struct finding *ret_finding)
{
    struct finding finding = {0};
    struct diagnosis diagnosis = {
        .server = server,
        .libpq_words = libpq_words,
        .probe = probe,
        .deadline = deadline_of(server),
        .finding = &finding,
    };

    bool is_told = (server->is_gateway && diagnosis_explain_gateway(&diagnosis)) || explain(&diagnosis);
    if (!is_told)
        return false;
    if (server->is_gateway)
        diagnosis_translate_for_gateway(&finding);
    *ret_finding = finding;
    return true;
}

/* TLS 1.2 first: there the verdict on our certificate cannot be overtaken by a closed connection. */
static void look(const struct server_config *server, int64_t deadline, struct tls_probe *ret_probe)
{
    struct tls_probe_request request = {.server = server, .most_version = TLS1_2_VERSION, .deadline = deadline};

    tls_probe_run(&request, ret_probe);
    if (!is_about_versions(ret_probe))
        return;
    tls_probe_done(ret_probe);
    request.most_version = 0;
    tls_probe_run(&request, ret_probe);
}

bool tls_diagnose(const struct server_config *server, const char *libpq_words, struct error *err)
{
    int64_t deadline = deadline_of(server);
    struct finding finding = {0};
    struct tls_probe probe;

    if (config_tls_mode(&server->settings) == TLS_DISABLE || !smells_of_tls(libpq_words))
        return false;
    look(server, deadline, &probe);
    struct diagnosis diagnosis = {
        .server = server, .libpq_words = libpq_words, .probe = &probe, .deadline = deadline, .finding = &finding};
    /* An error in the clear, before TLS: nobody vouches for its words, so libpq's stay. And what the network says now
     * does not explain what it said before. */
    bool is_of_use = !(probe.outcome == TLS_PROBE_NOT_POSTGRES && probe.answer == 'E') &&
                     !(probe.outcome == TLS_PROBE_UNREACHABLE && probe.address[0] == '\0');
    if (is_of_use && explain(&diagnosis))
        finding_to_error(&finding, server, probe.outcome == TLS_PROBE_UNREACHABLE ? ERROR_SERVER : ERROR_TLS,
                         libpq_words, err);
    tls_probe_done(&probe);
    return false;
}
