#include <string.h>

#include "jobs/check/client_internal.h"
#include "jobs/check/handshake_internal.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/issue.h"

/* What a gateway must refuse: each is a line in its log, and says nothing that a stranger may not know. */

#define STRANGER "pgcoffer check"

/* True when it was refused; `words` says how. Nothing is told of an attempt that got no answer. */
static void judge(struct check_run *run, enum check_id id, const struct tls_probe *probe, const char *cause,
                  const char *fix)
{
    struct finding finding = {.check = id};

    if (probe->outcome == TLS_PROBE_REFUSED_BY_PEER) {
        check_pass(run, id, "refused: %s", probe->words);
    } else if (probe->outcome == TLS_PROBE_ACCEPTED) {
        finding_seen(&finding, "a handshake with %s succeeded", probe->version);
        finding_cause(&finding, id, "%s", cause);
        finding_fix(&finding, "%s", fix);
        check_fail(run, &finding);
    } else {
        check_skip(run, id, "the attempt tells nothing: %s", probe->words);
    }
}

static void try_without_certificate(struct check_run *run)
{
    struct tls_probe probe;

    check_probe(run, (struct tls_probe_request){.certificate_path = "", .key_path = ""}, &probe);
    judge(run, CHECK_ID_client_anonymous, &probe,
          "What answers takes connections without a client certificate, which a gateway never does: something between "
          "ends TLS, and speaks to the gateway with a certificate of its own, or to the daemon with none.",
          "Let connect lead to the port of management itself; a proxy before it must pass TLS through unopened.");
    tls_probe_done(&probe);
}

static void try_stranger(struct check_run *run)
{
    EVP_PKEY *key SCOPED(scoped_key) = NULL;
    X509 *certificate SCOPED(scoped_certificate) = NULL;
    struct tls_probe probe;
    struct error err;

    if (!check_make_stranger(STRANGER, &key, &certificate, &err)) {
        check_skip(run, CHECK_ID_client_foreign, "no certificate to try it with: %s", err.message);
        return;
    }
    if (check_has_failed(run, CHECK_ID_client_anonymous)) {
        check_block(run, CHECK_ID_client_foreign, CHECK_ID_client_anonymous);
        return;
    }
    check_probe(run, (struct tls_probe_request){.certificate = certificate, .key = key}, &probe);
    judge(run, CHECK_ID_client_foreign, &probe,
          "What answers takes a client certificate that nobody signed, which a gateway never does: something between "
          "ends TLS and does not verify who comes.",
          "Let connect lead to the port of management itself; a proxy before it must pass TLS through unopened.");
    tls_probe_done(&probe);
}

/* ---- in the clear ---- */

struct heard {
    char bytes[512];
    size_t size;
};

static void ask_in_clear(void *context, struct tls_talk *talk)
{
    static const char question[] = "{\"v\":1,\"command\":\"ping\"}\n";
    struct heard *heard = context;

    if (tls_talk_write(talk, question, sizeof question - 1))
        heard->size = tls_talk_read(talk, heard->bytes, sizeof heard->bytes);
}

static void try_plaintext(struct check_run *run)
{
    struct finding finding = {.check = CHECK_ID_client_plaintext};
    struct heard heard = {.size = 0};
    struct tls_probe probe;

    check_probe(run, (struct tls_probe_request){.is_plain = true, .converse = ask_in_clear, .context = &heard}, &probe);
    if (probe.outcome == TLS_PROBE_UNREACHABLE) {
        check_skip(run, CHECK_ID_client_plaintext, "the attempt tells nothing: %s", probe.words);
    } else if (heard.size == 0 || heard.bytes[0] != '{') {
        check_pass(run, CHECK_ID_client_plaintext, "%s",
                   heard.size > 0 ? "answered by an alert of TLS" : "the connection was closed without an answer");
    } else {
        finding_seen(&finding, "a request in the clear was answered");
        finding_cause(&finding, CHECK_ID_client_plaintext,
                      "What answers speaks the daemon's protocol without TLS too, which a gateway never does: whoever "
                      "reaches this port is let in, and everything can be read on the way.");
        finding_fix(&finding,
                    "End what passes the daemon's socket on at port %ld of %s (socat, a proxy), and let "
                    "management in [pgcoffer] have the port.",
                    run->server->settings.port, check_host(run));
        check_fail(run, &finding);
    }
    tls_probe_done(&probe);
}

void check_client_negative(struct check_run *run)
{
    const bool *is_wanted = run->request->options.is_wanted;

    if (is_wanted[CHECK_ID_client_anonymous] || is_wanted[CHECK_ID_client_foreign])
        try_without_certificate(run);
    if (is_wanted[CHECK_ID_client_foreign])
        try_stranger(run);
    if (is_wanted[CHECK_ID_client_plaintext])
        try_plaintext(run);
}
