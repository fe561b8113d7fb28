#include <string.h>

#include "jobs/check/client_internal.h"
#include "jobs/check/handshake_internal.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/issue.h"

/* What a gateway must refuse: each is a line in its log, and says nothing that a stranger may not know. */

#define STRANGER "pgcoffer check"

/* ---- asking ---- */

struct heard {
    char bytes[512];
    size_t size;
};

/* What a daemon answers to anybody: of TLS 1.3 the verdict comes behind the handshake, which so proves nothing. */
static void ask(void *context, struct tls_talk *talk)
{
    static const char question[] = "{\"v\":1,\"command\":\"ping\"}\n";
    struct heard *heard = context;

    (void)!tls_talk_write(talk, question, sizeof question - 1); /* a refusal is read all the same */
    heard->size = tls_talk_read(talk, heard->bytes, sizeof heard->bytes);
}

/* ---- over TLS ---- */

/* Who was answered was let in; an attempt that ended otherwise than by a refusal tells nothing. */
static void try_over_tls(struct check_run *run, enum check_id id, struct tls_probe_request request, const char *cause)
{
    struct finding finding = {.check = id};
    struct heard heard = {.size = 0};
    struct tls_probe probe;

    request.converse = ask;
    request.context = &heard;
    check_probe(run, request, &probe);
    if (probe.outcome == TLS_PROBE_REFUSED_BY_PEER) {
        check_pass(run, id, "refused: %s", probe.words);
    } else if (heard.size > 0) {
        finding_seen(&finding, "a request was answered over %s", probe.version);
        finding_cause(&finding, id, "%s", cause);
        finding_fix(&finding, "Let connect lead to the port of management itself; a proxy before it must pass TLS "
                              "through unopened.");
        check_fail(run, &finding);
    } else {
        check_skip(run, id, "the attempt tells nothing: %s", probe.words);
    }
    tls_probe_done(&probe);
}

static void try_without_certificate(struct check_run *run)
{
    try_over_tls(run, CHECK_ID_client_anonymous, (struct tls_probe_request){.certificate_path = "", .key_path = ""},
                 "What answers takes requests without a client certificate, which a gateway never does: something "
                 "between ends TLS, and speaks to the gateway with a certificate of its own, or to the daemon with "
                 "none.");
}

static void try_stranger(struct check_run *run)
{
    EVP_PKEY *key SCOPED(scoped_key) = NULL;
    X509 *certificate SCOPED(scoped_certificate) = NULL;
    struct error err;

    if (check_has_failed(run, CHECK_ID_client_anonymous))
        check_block(run, CHECK_ID_client_foreign, CHECK_ID_client_anonymous);
    else if (!check_make_stranger(STRANGER, &key, &certificate, &err))
        check_skip(run, CHECK_ID_client_foreign, "no certificate to try it with: %s", err.message);
    else
        try_over_tls(run, CHECK_ID_client_foreign, (struct tls_probe_request){.certificate = certificate, .key = key},
                     "What answers takes a client certificate that nobody signed, which a gateway never does: "
                     "something between ends TLS and does not verify who comes.");
}

/* ---- in the clear ---- */

static void try_plaintext(struct check_run *run)
{
    struct finding finding = {.check = CHECK_ID_client_plaintext};
    struct heard heard = {.size = 0};
    struct tls_probe probe;

    check_probe(run, (struct tls_probe_request){.is_plain = true, .converse = ask, .context = &heard}, &probe);
    if (probe.outcome == TLS_PROBE_UNREACHABLE) {
        check_skip(run, CHECK_ID_client_plaintext, "the attempt tells nothing: %s", probe.words);
    } else if (heard.size == 0) {
        check_pass(run, CHECK_ID_client_plaintext, "not answered: %s", probe.words);
    } else if (heard.bytes[0] == SSL3_RT_ALERT) {
        check_pass(run, CHECK_ID_client_plaintext, "answered by an alert of TLS");
    } else if (heard.bytes[0] != '{') {
        check_pass(run, CHECK_ID_client_plaintext, "answered, and not in the daemon's protocol");
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
