#include <openssl/x509v3.h>
#include <string.h>

#include "jobs/check/files_internal.h"
#include "jobs/check/handshake_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/diagnosis.h"
#include "pgcoffer/tls/strength.h"

#define ALERT_CERTIFICATE_REQUIRED 116
#define PUT_ON_SERVER              "put it into ssl_cert_file on the server, then SELECT pg_reload_conf();"

/* ---- the handshake itself ---- */

void check_probe_unverified(const struct check_run *run, struct tls_probe_request request, struct tls_probe *ret_probe)
{
    struct server_config blind = run->prober;

    blind.settings.tls_ca_file[0] = '\0';
    blind.settings.tls_crl_file[0] = '\0';
    request.server = &blind;
    request.certificate_path = request.key_path = "";
    check_probe(run, request, ret_probe);
}

/* The finding of a handshake that failed; `otherwise` when the probe explains nothing. */
static void fail_with_probe(struct check_run *run, enum check_id otherwise)
{
    struct finding finding = {0};

    if (!tls_explain(run->server, &run->bare, "", &finding)) {
        finding_seen(&finding, "%s", run->bare.words);
        finding_cause(&finding, otherwise, "The TLS handshake with %s did not succeed: %s.", check_host(run),
                      run->bare.words);
        finding_fix(&finding, "Look at the server's log for the same moment.");
    }
    check_fail(run, &finding);
    if (finding.check != otherwise)
        check_block(run, otherwise, finding.check);
}

/* A proxy may demand a certificate in the handshake already: what this one was to tell is told, and whether ours is
 * good enough the next will show. */
static bool has_missed_ours(const struct check_run *run)
{
    return run->bare.outcome == TLS_PROBE_REFUSED_BY_PEER && run->bare.is_certificate_wanted && run->own != NULL &&
           (run->bare.alert == ALERT_CERTIFICATE_REQUIRED || run->bare.alert == SSL_AD_HANDSHAKE_FAILURE);
}

static void judge_outcome(struct check_run *run)
{
    if (has_missed_ours(run))
        run->bare.outcome = TLS_PROBE_ACCEPTED;
    switch (run->bare.outcome) {
    case TLS_PROBE_ACCEPTED:
        break;
    case TLS_PROBE_REFUSED_BY_US:
        fail_with_probe(run, CHECK_ID_chain_server);
        break;
    case TLS_PROBE_UNREACHABLE:
    case TLS_PROBE_NO_TLS:
    case TLS_PROBE_NOT_POSTGRES:
        return; /* told by protocol.answer */
    case TLS_PROBE_REFUSED_BY_PEER:
    case TLS_PROBE_BROKEN:
        fail_with_probe(run, CHECK_ID_protocol_handshake);
        return;
    }
    check_pass(run, CHECK_ID_protocol_handshake, "%s%s%s", run->bare.version,
               run->bare.cipher[0] == '\0' ? "" : " with ", run->bare.cipher);
}

/* ---- the chain ---- */

static void judge_chain(struct check_run *run)
{
    char root[256];

    if (run->bare.outcome == TLS_PROBE_REFUSED_BY_US)
        return;
    if (run->trusted == NULL) {
        check_block(run, CHECK_ID_chain_server,
                    check_has_failed(run, CHECK_ID_protocol_mode) ? CHECK_ID_protocol_mode : CHECK_ID_file_ca);
        return;
    }
    X509 *top = sk_X509_value(run->bare.chain, sk_X509_num(run->bare.chain) - 1);
    certificate_name_format(X509_get_issuer_name(top), root, sizeof root);
    check_pass(run, CHECK_ID_chain_server, "the chain leads to \"%s\"", root);
}

static void warn_of_stranger(struct check_run *run, int at)
{
    struct certificate_text text, leaf;
    struct finding finding = {0};

    certificate_describe(sk_X509_value(run->bare.chain, at), &text);
    certificate_describe(sk_X509_value(run->bare.chain, 0), &leaf);
    finding_seen(&finding, "number 1 is \"%s\", number %d is \"%s\"", leaf.subject, at + 1, text.subject);
    finding_cause(
        &finding, CHECK_ID_chain_sent,
        "The server sends a certificate, number %d, \"%s\", that signed none of the others: it does not belong "
        "into ssl_cert_file.",
        at + 1, text.subject);
    finding_fix(&finding,
                "Write ssl_cert_file on the server anew, its own certificate first, then each issuer in turn; then "
                "SELECT pg_reload_conf();");
    check_warn(run, &finding);
}

static void warn_of_borrowed(struct check_run *run, X509 *intermediate)
{
    struct finding finding = {0};
    char subject[256];

    certificate_name_format(X509_get_subject_name(intermediate), subject, sizeof subject);
    finding_seen(&finding, "%d certificates sent", sk_X509_num(run->bare.chain));
    finding_cause(
        &finding, CHECK_ID_chain_sent,
        "The server leaves out its intermediate CA \"%s\"; this works only because tls_ca_file \"%s\" holds it, "
        "and not for clients that know the root alone.",
        subject, run->server->settings.tls_ca_file);
    finding_fix(&finding,
                "Add the certificate of \"%s\" to ssl_cert_file on the server, behind the server's own, then "
                "SELECT pg_reload_conf();",
                subject);
    check_warn(run, &finding);
}

static X509 *find_borrowed(const struct check_run *run, X509 *top)
{
    X509 *issuer = NULL;

    for (int i = 0; i < sk_X509_num(run->trusted); i++) {
        X509 *candidate = sk_X509_value(run->trusted, i);
        if (!check_has_signed(candidate, top))
            continue;
        if (X509_self_signed(candidate, 0) == 1)
            return NULL;
        issuer = candidate;
    }
    return issuer;
}

static void judge_sent(struct check_run *run)
{
    int count = sk_X509_num(run->bare.chain);
    bool is_good = run->bare.outcome == TLS_PROBE_ACCEPTED;

    if (count == 0 || check_has_failed(run, CHECK_ID_chain_sent))
        return;
    int stranger = check_find_stranger(run->bare.chain);
    if (stranger >= 0) {
        if (is_good)
            warn_of_stranger(run, stranger);
        return;
    }
    /* OpenSSL, and so libpq, finds its way through any order behind the first. */
    if (!check_is_in_order(run->bare.chain)) {
        if (is_good)
            check_pass(run, CHECK_ID_chain_sent, "%d certificates, not in order; OpenSSL finds its way", count);
        return;
    }
    X509 *top = sk_X509_value(run->bare.chain, count - 1);
    X509 *borrowed = X509_self_signed(top, 0) == 1 ? NULL : find_borrowed(run, top);
    if (is_good && borrowed != NULL)
        warn_of_borrowed(run, borrowed);
    else if (is_good || X509_self_signed(top, 0) == 1 || check_find_issuer(run->trusted, top) != NULL)
        check_pass(run, CHECK_ID_chain_sent, "%d certificate%s, in order", count, count == 1 ? "" : "s");
}

static void judge_revocation(struct check_run *run)
{
    if (!check_may(run, CHECK_ID_chain_revocation))
        return;
    if (text_is_empty(run->server->settings.tls_crl_file))
        check_skip(run, CHECK_ID_chain_revocation, "tls_crl_file is not configured");
    else if (!text_is_empty(run->prober.settings.tls_crl_file))
        check_pass(run, CHECK_ID_chain_revocation, "no certificate of the chain is revoked");
    else
        check_block(run, CHECK_ID_chain_revocation,
                    check_has_failed(run, CHECK_ID_file_crl) ? CHECK_ID_file_crl : CHECK_ID_expiry_crl);
}

/* ---- dates, names, keys ---- */

/* A root that is sent along is judged in tls_ca_file; one of the others that is over did not matter if the chain was
 * found good without it. */
STACK_OF(X509) * check_choose_dated(const struct check_run *run)
{
    STACK_OF(X509) *chosen = sk_X509_new_null();

    for (int i = 0; chosen != NULL && i < sk_X509_num(run->bare.chain); i++) {
        X509 *certificate = sk_X509_value(run->bare.chain, i);
        bool is_spare = i > 0 && (X509_self_signed(certificate, 0) == 1 ||
                                  (run->bare.outcome == TLS_PROBE_ACCEPTED && !certificate_is_current(certificate)));
        if (!is_spare)
            sk_X509_push(chosen, certificate);
    }
    return chosen;
}

static void judge_dates(struct check_run *run)
{
    STACK_OF(X509) *chosen = check_choose_dated(run);

    if (check_ends_with_authority(run, sk_X509_value(run->bare.chain, 0)))
        check_pass(run, CHECK_ID_expiry_server, "the server's certificate ends with its CA");
    else
        check_expiry(run, CHECK_ID_expiry_server, chosen, "the server's certificate",
                     "Renew the server's certificate and " PUT_ON_SERVER);
    sk_X509_free(chosen);
}

static bool has_alternative(X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool has_any = false;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type = sk_GENERAL_NAME_value(names, i)->type;
        has_any = has_any || type == GEN_DNS || type == GEN_IPADD;
    }
    GENERAL_NAMES_free(names);
    return has_any;
}

static void fail_name(struct check_run *run, const struct certificate_text *text)
{
    struct finding finding = {0};

    if (!tls_explain(run->server, &run->bare, "", &finding)) {
        finding_seen(&finding, "names: %s; CN=%s", text->names[0] == '\0' ? "none" : text->names, text->common_name);
        finding_cause(&finding, CHECK_ID_name_match, "The server's certificate is not for host \"%s\".",
                      check_host(run));
        finding_fix(&finding, "Set host to a name that stands in the certificate.");
    }
    check_fail(run, &finding);
    if (finding.check != CHECK_ID_name_match)
        check_block(run, CHECK_ID_name_match, finding.check);
}

static void judge_name(struct check_run *run, const struct certificate_text *text)
{
    const char *names = text->names[0] == '\0' ? text->common_name : text->names;

    if (!check_may(run, CHECK_ID_name_match))
        return;
    if (config_tls_mode(&run->server->settings) != TLS_VERIFY_FULL)
        check_skip(run, CHECK_ID_name_match, "tls_mode %s compares no name (%s: %s)", run->server->settings.tls_mode,
                   run->bare.is_name_wrong ? "it would not match" : "it would match", names);
    else if (run->bare.is_name_wrong)
        fail_name(run, text);
    else
        check_pass(run, CHECK_ID_name_match, "\"%s\" is among %s", check_host(run), names);
}

static void judge_alternative(struct check_run *run, X509 *leaf, const struct certificate_text *text)
{
    struct finding finding = {0};
    bool is_address = tls_host_is_address(check_host(run));

    if (has_alternative(leaf)) {
        check_pass(run, CHECK_ID_name_alternative, "%s", text->names);
        return;
    }
    if (check_has_failed(run, CHECK_ID_name_match)) { /* its fix is this one's too */
        check_block(run, CHECK_ID_name_alternative, CHECK_ID_name_match);
        return;
    }
    finding_seen(&finding, "subject \"%s\", no subject alternative name", text->subject);
    finding_cause(&finding, CHECK_ID_name_alternative,
                  "The server's certificate has its name \"%s\" only as CN: libpq still takes that, Go programs and "
                  "browsers do not.",
                  text->common_name);
    finding_fix(&finding, "Issue it anew with subjectAltName = %s:%s and " PUT_ON_SERVER, is_address ? "IP" : "DNS",
                check_host(run));
    check_warn(run, &finding);
}

static void judge_key(struct check_run *run)
{
    struct certificate_text text;
    struct finding finding = {0};
    char words[160];
    int weak = strength_find_weak(run->bare.chain, words, sizeof words);

    if (weak < 0) {
        strength_describe(sk_X509_value(run->bare.chain, 0), words, sizeof words);
        check_pass(run, CHECK_ID_key_server, "%s", words);
        return;
    }
    certificate_describe(sk_X509_value(run->bare.chain, weak), &text);
    finding_seen(&finding, "\"%s\": %s", text.subject, words);
    finding_cause(&finding, CHECK_ID_key_server,
                  "The %s \"%s\" that the server sends has %s, which is too weak for OpenSSL's security level 2.",
                  weak == 0 ? "certificate" : "CA", text.subject, words);
    finding_fix(&finding, "Have a certificate issued for a new key (openssl genpkey -algorithm EC -pkeyopt "
                          "ec_paramgen_curve:P-256), signed with SHA-256, and " PUT_ON_SERVER);
    check_fail(run, &finding);
}

void check_level_handshake(struct check_run *run)
{
    X509 *leaf;
    struct certificate_text text;

    if (!check_may(run, CHECK_ID_protocol_handshake) || !run->has_bare)
        return;
    judge_outcome(run);
    leaf = sk_X509_value(run->bare.chain, 0);
    if (leaf == NULL || !check_may(run, CHECK_ID_chain_server))
        return;
    certificate_describe(leaf, &text);
    judge_chain(run);
    judge_sent(run);
    check_authorities_served(run);
    judge_revocation(run);
    judge_dates(run);
    judge_name(run, &text);
    judge_alternative(run, leaf, &text);
    judge_key(run);
    check_offers(run);
}
