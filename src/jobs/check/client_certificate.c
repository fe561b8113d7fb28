#include <openssl/ssl.h>
#include <string.h>

#include "jobs/check/files_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/diagnosis.h"
#include "pgcoffer/tls/files.h"

#define ALERT_UNKNOWN_CA 48

static bool has_certificate(const struct check_run *run)
{
    return !text_is_empty(run->server->settings.tls_cert_file);
}

/* ---- identity.requested ---- */

static void judge_request(struct check_run *run)
{
    struct finding finding = {0};
    char issuer[256] = "";

    if (run->bare.is_certificate_wanted) {
        check_pass(run, CHECK_ID_identity_requested, "the server asks for a client certificate%s",
                   has_certificate(run) ? "" : "; none is configured");
        return;
    }
    if (!has_certificate(run)) {
        check_skip(run, CHECK_ID_identity_requested, "the server asks for none, and none is configured");
        return;
    }
    if (run->own != NULL)
        certificate_name_format(X509_get_issuer_name(sk_X509_value(run->own, 0)), issuer, sizeof issuer);
    finding_seen(&finding, "the handshake has no CertificateRequest");
    finding_cause(
        &finding, CHECK_ID_identity_requested,
        "The server does not ask for a client certificate, because its ssl_ca_file is not set, or a proxy ends "
        "TLS in front of it: the one in tls_cert_file \"%s\" is never looked at and keeps nobody out.",
        run->server->settings.tls_cert_file);
    finding_fix(&finding,
                "Set ssl_ca_file in postgresql.conf on the server to the CA that issued the client certificate%s%s%s, "
                "then SELECT pg_reload_conf(); and let the line in pg_hba.conf demand it, with the method cert or "
                "with clientcert=verify-full. If it is set, connect to PostgreSQL itself.",
                issuer[0] == '\0' ? "" : " (\"", issuer, issuer[0] == '\0' ? "" : "\")");
    check_fail(run, &finding);
}

/* ---- identity.authorities ---- */

static void warn_of_many(struct check_run *run, int count, int public_count)
{
    struct finding finding = {0};
    const char *user = run->server->settings.user;

    finding_seen(&finding, "%d CAs accepted, %d of them of the distribution's bundle", count, public_count);
    if (public_count > 0)
        finding_cause(&finding, CHECK_ID_identity_authorities,
                      "The server takes client certificates of %d CAs, %d of them public CAs: every certificate of "
                      "theirs with CN=%s is a login.",
                      count, public_count, user);
    else
        finding_cause(&finding, CHECK_ID_identity_authorities,
                      "The server takes client certificates of %d CAs: every certificate of any of them with CN=%s is "
                      "a login.",
                      count, user);
    finding_fix(&finding, "Leave only the CA that signs your client certificates in ssl_ca_file on the server, then "
                          "SELECT pg_reload_conf();");
    check_warn(run, &finding);
}

/* Could the key of the server's certificate sign client certificates that the server takes? */
static bool signs_logins(const struct check_run *run)
{
    X509 *leaf = sk_X509_value(run->bare.chain, 0);

    if (leaf == NULL || !check_is_authority(leaf))
        return false;
    if (certificate_name_stands_in(run->bare.accepted, X509_get_subject_name(leaf)))
        return true;
    for (int i = 0; i < sk_X509_num(run->bare.chain); i++)
        if (certificate_name_stands_in(run->bare.accepted, X509_get_issuer_name(sk_X509_value(run->bare.chain, i))))
            return true;
    return false;
}

static void warn_of_signing_leaf(struct check_run *run)
{
    struct finding finding = {0};
    char subject[256];

    certificate_name_format(X509_get_subject_name(sk_X509_value(run->bare.chain, 0)), subject, sizeof subject);
    finding_seen(&finding, "\"%s\" is served and may sign", subject);
    finding_cause(&finding, CHECK_ID_identity_authorities,
                  "The server's certificate \"%s\" may itself sign certificates (CA:TRUE), and the server takes such "
                  "client certificates: every copy of server.key makes logins for every role.",
                  subject);
    finding_fix(&finding, "Issue the server's certificate anew with basicConstraints = critical,CA:FALSE, from a CA "
                          "whose key lies elsewhere, and keep it out of ssl_ca_file; then SELECT pg_reload_conf();");
    check_warn(run, &finding);
}

static void judge_authorities(struct check_run *run)
{
    int count = sk_X509_NAME_num(run->bare.accepted);
    int public_count = 0;
    char first[256];

    if (!run->bare.is_certificate_wanted) {
        check_skip(run, CHECK_ID_identity_authorities, "the server asks for no client certificate");
        return;
    }
    if (count > 0)
        public_count = check_count_public(run->bare.accepted);
    bool is_told = check_is_set(run, CHECK_ID_chain_ca) && run->results[CHECK_ID_chain_ca].state == CHECK_WARN;
    if (public_count > 0 || count > TLS_MOST_OWN_AUTHORITIES) {
        warn_of_many(run, count, public_count);
    } else if (!is_told && signs_logins(run)) {
        warn_of_signing_leaf(run);
    } else if (count <= 0) {
        check_pass(run, CHECK_ID_identity_authorities, "the server names none");
    } else {
        certificate_name_format(sk_X509_NAME_value(run->bare.accepted, 0), first, sizeof first);
        if (count == 1)
            check_pass(run, CHECK_ID_identity_authorities, "the server takes certificates of \"%s\"", first);
        else
            check_pass(run, CHECK_ID_identity_authorities, "the server takes certificates of \"%s\" and %d more", first,
                       count - 1);
    }
}

/* ---- identity.accepted, .chain, .revocation ---- */

static bool are_current(STACK_OF(X509) * certificates)
{
    for (int i = 0; i < sk_X509_num(certificates); i++)
        if (!certificate_is_current(sk_X509_value(certificates, i)))
            return false;
    return true;
}

/* What keeps our certificate at home; CHECK_ID_NOTHING: nothing. */
static enum check_id find_own_obstacle(const struct check_run *run)
{
    static const enum check_id needed[] = {CHECK_ID_protocol_mode, CHECK_ID_file_certificate, CHECK_ID_file_key,
                                           CHECK_ID_key_mode,      CHECK_ID_key_match,        CHECK_ID_key_strength,
                                           CHECK_ID_identity_usage};

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (check_has_failed(run, needed[i]))
            return needed[i];
    if (check_has_failed(run, CHECK_ID_expiry_client) && !are_current(run->own))
        return CHECK_ID_expiry_client;
    return CHECK_ID_NOTHING;
}

/* What another server asks for or accepts says nothing of ours; and ours is shown to no other. */
static bool is_server_proved(struct check_run *run)
{
    static const enum check_id proofs[] = {CHECK_ID_chain_server, CHECK_ID_name_match};

    for (size_t i = 0; i < sizeof proofs / sizeof *proofs; i++)
        if (!check_is_set(run, proofs[i]) || check_has_failed(run, proofs[i])) {
            check_block(run, CHECK_ID_identity_requested,
                        run->is_blocked[proofs[i]] ? run->blocked_by[proofs[i]] : proofs[i]);
            return false;
        }
    return true;
}

static void fail_shown(struct check_run *run, const struct tls_probe *probe)
{
    struct finding finding = {0};

    if (!tls_explain(run->server, probe, "", &finding)) {
        finding_seen(&finding, "%s", probe->words);
        finding_cause(&finding, CHECK_ID_identity_accepted,
                      "The handshake with the client certificate did not succeed, though one without did: %s.",
                      probe->words);
        finding_fix(&finding, "Look at the server's log for the same moment.");
    }
    check_fail(run, &finding);
    if (finding.check != CHECK_ID_identity_accepted)
        check_block(run, CHECK_ID_identity_accepted, finding.check);
}

/* Is there nobody in the certificate's chain whose issuer the server accepts? */
static bool is_unknown(const struct check_run *run)
{
    X509 *at = sk_X509_value(run->own, 0);
    int most = sk_X509_num(run->own) + sk_X509_num(run->trusted);

    for (int step = 0; at != NULL && step <= most; step++) {
        if (certificate_name_stands_in(run->bare.accepted, X509_get_issuer_name(at)))
            return false;
        X509 *next = check_find_issuer(run->own, at);
        /* OpenSSL completes a lone certificate from the CA file. */
        if (next == NULL && sk_X509_num(run->own) == 1)
            next = check_find_issuer(run->trusted, at);
        at = next == at ? NULL : next;
    }
    return sk_X509_NAME_num(run->bare.accepted) > 0;
}

/* A certificate that cannot be shown is still compared with the CAs the server names. */
static void predict(struct check_run *run)
{
    struct tls_probe refused = run->bare;
    struct finding finding = {0};

    if (run->own == NULL || !is_unknown(run))
        return;
    refused.outcome = TLS_PROBE_REFUSED_BY_PEER;
    refused.alert = ALERT_UNKNOWN_CA;
    if (tls_explain(run->server, &refused, "", &finding) && finding.check == CHECK_ID_identity_chain)
        check_fail(run, &finding);
}

/*
 * A server that speaks 1.3 alone refuses the version; one whose ciphers or curves for 1.2 do not fit our key, or its
 * own, refuses that. Neither keeps anybody from 1.3, which is what libpq then uses.
 */
static bool is_only_for_older(const struct tls_probe *older)
{
    static const int alerts[] = {SSL_AD_PROTOCOL_VERSION, SSL_AD_ILLEGAL_PARAMETER, SSL_AD_HANDSHAKE_FAILURE,
                                 SSL_AD_INSUFFICIENT_SECURITY};

    for (size_t i = 0; i < sizeof alerts / sizeof *alerts; i++)
        if (older->alert == alerts[i])
            return true;
    return older->chain == NULL;
}

/* TLS 1.2 first: there the verdict belongs to the handshake. */
static void show(struct check_run *run)
{
    bool is_newer = strcmp(run->bare.version, "TLSv1.3") == 0;
    struct tls_probe older;
    char versions[48] = "";

    check_probe(run, (struct tls_probe_request){.most_version = TLS1_2_VERSION}, &older);
    bool is_left_out = is_newer && older.outcome != TLS_PROBE_ACCEPTED && is_only_for_older(&older);
    if (!is_left_out && older.outcome != TLS_PROBE_ACCEPTED) {
        fail_shown(run, &older);
        tls_probe_done(&older);
        return;
    }
    if (!is_newer) {
        run->shown = older;
    } else {
        if (!is_left_out)
            snprintf(versions, sizeof versions, "%s and ", older.version);
        tls_probe_done(&older);
        if (check_is_interrupted(run))
            return;
        check_probe(run, (struct tls_probe_request){.least_version = TLS1_3_VERSION}, &run->shown);
    }
    run->has_shown = true;
    if (run->shown.outcome != TLS_PROBE_ACCEPTED) {
        fail_shown(run, &run->shown);
        return;
    }
    check_pass(run, CHECK_ID_identity_accepted, "with %s%s", versions, run->shown.version);
    check_pass(run, CHECK_ID_identity_chain, "the server accepted the chain of the client certificate");
    check_pass(run, CHECK_ID_identity_revocation, "the server did not find the client certificate revoked");
}

void check_level_client_certificate(struct check_run *run)
{
    static const enum check_id shown[] = {CHECK_ID_identity_chain, CHECK_ID_identity_accepted,
                                          CHECK_ID_identity_revocation};

    if (!check_may(run, CHECK_ID_identity_requested) || !is_server_proved(run))
        return;
    judge_request(run);
    if (check_may(run, CHECK_ID_identity_authorities))
        judge_authorities(run);
    if (!check_may(run, CHECK_ID_identity_accepted) || check_is_interrupted(run))
        return;
    if (!has_certificate(run)) {
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
            check_skip(run, shown[i], "no client certificate is configured");
        return;
    }
    enum check_id obstacle = find_own_obstacle(run);
    if (obstacle != CHECK_ID_NOTHING) {
        check_block(run, CHECK_ID_identity_accepted, obstacle);
        predict(run);
    } else {
        show(run);
    }
}
