#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/text.h"
#include "tls/diagnosis_internal.h"

/*
 * The gateway of a pgcofferd fails in the ways a PostgreSQL fails, but that it is asked for TLS by nothing but TLS. So
 * what comes before the handshake has words of its own here, and everything else those of PostgreSQL, translated.
 */

/* ---- the port ---- */

static void explain_unreachable(struct diagnosis *diagnosis)
{
    const struct tls_probe *probe = diagnosis->probe;
    const char *host = tls_host_name(diagnosis->server);
    long port = diagnosis->server->settings.port;
    struct finding *finding = diagnosis->finding;
    char setting[TLS_SETTING_NAME_SIZE];

    if (diagnosis_explain_unresolved(diagnosis, setting))
        return;
    finding_cause(finding, CHECK_ID_server_connect, "The port %ld of %s takes no connection: %s.", port, host,
                  probe->words);
    finding_fix(
        finding,
        "On the backup host let management and host in [pgcoffer] cover this address, start pgcofferd, and look "
        "at firewalls (nc -vz %s %ld); or correct %s.",
        host, port, setting);
}

/* The other side's first bytes were no TLS: OpenSSL's words for that. */
static bool is_plain(const char *words)
{
    static const char *const plain[] = {"wrong version number", "http request", "packet length too long",
                                        "record layer failure", "unsupported protocol version"};

    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (strstr(words, plain[i]) != NULL)
            return true;
    return false;
}

static void explain_cut(struct diagnosis *diagnosis)
{
    const struct tls_probe *probe = diagnosis->probe;
    const char *host = tls_host_name(diagnosis->server);
    long port = diagnosis->server->settings.port;
    struct finding *finding = diagnosis->finding;

    finding_seen(finding, "%s: %s", probe->address, probe->words);
    finding_cause(finding, CHECK_ID_protocol_handshake,
                  "What listens at %s port %ld takes the connection and does not finish the TLS handshake: %s.", host,
                  port, probe->words);
    finding_fix(finding,
                "Look at pgcofferd's log on the backup host for the same moment (journalctl -u pgcofferd); if there is "
                "nothing, something else listens there, or a firewall between swallows or ends connections.");
}

static void explain_plain(struct diagnosis *diagnosis)
{
    const struct tls_probe *probe = diagnosis->probe;
    const char *host = tls_host_name(diagnosis->server);
    long port = diagnosis->server->settings.port;
    struct finding *finding = diagnosis->finding;
    char setting[TLS_SETTING_NAME_SIZE];

    finding_seen(finding, "%s: %s", probe->address, probe->words);
    finding_cause(
        finding, CHECK_ID_protocol_handshake,
        "What listens at %s port %ld does not speak TLS, so it is no gateway (%s); nothing was sent to it but "
        "the beginning of a handshake.",
        host, port, probe->words);
    finding_fix(finding, "Correct %s: the port is that of management in [pgcoffer] on the backup host.",
                tls_setting_name(diagnosis->server, "host", setting));
}

bool diagnosis_explain_gateway(struct diagnosis *diagnosis)
{
    const struct tls_probe *probe = diagnosis->probe;

    if (probe->outcome == TLS_PROBE_UNREACHABLE)
        explain_unreachable(diagnosis);
    else if (probe->outcome == TLS_PROBE_BROKEN && probe->is_cut)
        explain_cut(diagnosis);
    else if (probe->outcome == TLS_PROBE_BROKEN && !probe->is_unprepared && is_plain(probe->words))
        explain_plain(diagnosis);
    else
        return false;
    return true;
}

/* ---- PostgreSQL's settings by the names they have here ---- */

static const struct {
    const char *there, *here;
} translations[] = {
    {", then SELECT pg_reload_conf();", "; it is read anew for each connection."},
    {" then SELECT pg_reload_conf();", " it is read anew for each connection."},
    {" and SELECT pg_reload_conf()", ""},
    {", and hostaddr to the address if the name does not lead there.", ", and see that it leads to the backup host."},
    {"ssl_min_protocol_version = 'TLSv1.2' and ssl_max_protocol_version = '' in postgresql.conf on the server",
     "tls_min_version = TLSv1.2 in [pgcoffer] on the backup host"},
    {"on the server into ssl_cert_file", "on the backup host into tls_cert_file of [pgcoffer]"},
    {"into ssl_cert_file on the server", "into tls_cert_file of [pgcoffer] on the backup host"},
    {"ssl_ca_file on the server", "tls_ca_file of [pgcoffer] on the backup host"},
    {"ssl_cert_file", "tls_cert_file of [pgcoffer]"},
    {"ssl_key_file", "tls_key_file of [pgcoffer]"},
    {"ssl_ca_file", "tls_ca_file"},
    {"ssl_crl_file", "tls_crl_file"},
    {"ssl_min_protocol_version", "tls_min_version"},
    {"postgresql.conf on the server", "[pgcoffer] on the backup host"},
    {"on the server", "on the backup host"},
    {"On the server", "On the backup host"},
    {"the server", "the gateway"},
    {"The server", "The gateway"},
    {"PostgreSQL", "a gateway"},
};

static const char *translate_at(const char *at, size_t *ret_taken)
{
    for (size_t i = 0; i < sizeof translations / sizeof translations[0]; i++) {
        if (text_starts_with(at, translations[i].there)) {
            *ret_taken = strlen(translations[i].there);
            return translations[i].here;
        }
    }
    return NULL;
}

/* What stands in quotation marks is a name, a file or somebody else's word. */
static void translate(char *text, size_t size)
{
    char translated[sizeof((struct finding *)0)->cause];
    bool is_quoted = false;
    size_t used = 0;

    for (const char *at = text; *at != '\0' && used + 1 < size;) {
        size_t taken = 1;
        const char *here = is_quoted ? NULL : translate_at(at, &taken);
        is_quoted ^= *at == '"';
        int put = snprintf(translated + used, size - used, "%.*s", here == NULL ? 1 : (int)strlen(here),
                           here == NULL ? at : here);
        used += (size_t)put;
        at += taken;
    }
    if (used >= size)
        used = size - 1;
    memcpy(text, translated, used);
    text[used] = '\0';
}

void diagnosis_translate_for_gateway(struct finding *finding)
{
    translate(finding->seen, sizeof finding->seen);
    translate(finding->cause, sizeof finding->cause);
    translate(finding->fix, sizeof finding->fix);
}
