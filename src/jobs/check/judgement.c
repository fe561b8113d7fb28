#include "jobs/check/judgement_internal.h"

#include <openssl/x509v3.h>
#include <string.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/diagnosis.h"

#define PHRASE_SIZE 800

static const char *user_of(const struct answer_facts *facts)
{
    return facts->run->server->settings.user;
}

static const char *phrase(const struct startup_answer *answer, char ret_phrase[PHRASE_SIZE])
{
    startup_answer_phrase(answer, ret_phrase, PHRASE_SIZE);
    return ret_phrase;
}

static enum judgement wrong_answer(const struct answer_facts *facts, const struct startup_answer *answer,
                                   struct finding *ret_finding)
{
    const struct settings *settings = &facts->run->server->settings;

    if (answer->kind == STARTUP_REFUSED && startup_explain(facts->run->server, answer, ret_finding))
        return JUDGED_WRONG;
    if (answer->kind == STARTUP_NO_ANSWER && tls_explain(facts->run->server, &answer->probe, "", ret_finding))
        return JUDGED_WRONG;
    if (answer->kind == STARTUP_OTHER) {
        finding_cause(ret_finding, CHECK_ID_hba_replication,
                      "The line of pg_hba.conf that fits asks for authentication method number %d (Kerberos, SSPI or "
                      "another), which pgcoffer does not speak.",
                      answer->method);
        finding_fix(ret_finding, "Put above it on the server: %s; then SELECT pg_reload_conf();", facts->line);
    } else if (answer->kind == STARTUP_REFUSED) {
        finding_cause(ret_finding, CHECK_ID_hba_replication, "The server refuses the startup packet: %s",
                      answer->message);
        finding_fix(ret_finding, "Look at the server's log for the same moment; it says why.");
    } else if (answer->kind == STARTUP_GARBAGE) {
        finding_cause(ret_finding, CHECK_ID_hba_replication,
                      "What answers behind TLS at %s port %ld does not speak PostgreSQL's protocol: %s.",
                      facts->address, settings->port, answer->words);
        finding_fix(ret_finding, "Correct host and port, so that they lead to PostgreSQL itself.");
    } else {
        finding_cause(ret_finding, CHECK_ID_hba_replication,
                      "The server said nothing to the startup packet after a handshake that went well: %s.",
                      answer->words);
        finding_fix(ret_finding, "Look at the server's log for the same moment, and for a proxy in between.");
    }
    return JUDGED_WRONG;
}

enum judgement judge_replication(const struct answer_facts *facts, const struct startup_answer *answer,
                                 struct finding *ret_finding)
{
    char words[PHRASE_SIZE];

    switch (answer->kind) {
    case STARTUP_ADMITTED:
    case STARTUP_SCRAM:
    case STARTUP_CLEARTEXT:
    case STARTUP_MD5:
        return JUDGED_FINE;
    case STARTUP_OTHER:
    case STARTUP_REFUSED:
    case STARTUP_NO_ANSWER:
    case STARTUP_GARBAGE:
        break;
    }
    *ret_finding = (struct finding){.check = CHECK_ID_hba_replication};
    wrong_answer(facts, answer, ret_finding);
    if (ret_finding->seen[0] == '\0')
        finding_seen(ret_finding, "%s: %s", facts->address, phrase(answer, words));
    return JUDGED_WRONG;
}

enum judgement judge_password(const struct answer_facts *facts, const struct startup_answer *answer,
                              struct finding *ret_finding, bool *ret_is_tolerated)
{
    bool is_md5 = answer->kind == STARTUP_MD5;

    if (answer->kind == STARTUP_ADMITTED || answer->kind == STARTUP_SCRAM)
        return JUDGED_FINE;
    if (answer->kind != STARTUP_CLEARTEXT && !is_md5)
        return JUDGED_NOTHING;

    *ret_is_tolerated = facts->run->server->settings.allow_weak_password;
    *ret_finding = (struct finding){0};
    finding_seen(ret_finding, "%s asks for the password %s; it was not sent", facts->address,
                 is_md5 ? "by MD5" : "in clear text");
    if (is_md5) {
        finding_cause(ret_finding, CHECK_ID_hba_password,
                      "The server asks for the password by MD5, which can be computed anew from the hash alone: the "
                      "line of pg_hba.conf has the method md5, and the role's password was stored as MD5.");
        finding_fix(
            ret_finding,
            "On the server: SET password_encryption = 'scram-sha-256'; ALTER ROLE %s PASSWORD '...'; then write "
            "scram-sha-256 instead of md5 into pg_hba.conf and SELECT pg_reload_conf();",
            facts->role);
    } else {
        finding_cause(ret_finding, CHECK_ID_hba_password,
                      "The server asks for the password in clear text: the line of pg_hba.conf has the method password "
                      "(or ldap, pam, radius), or an impostor answers. Whoever asks so learns the password.");
        finding_fix(ret_finding,
                    "Write scram-sha-256 into the line of pg_hba.conf on the server, so that it reads: %s; then SELECT "
                    "pg_reload_conf();",
                    facts->line);
    }
    return JUDGED_WRONG;
}

/* libpq binds to the hash of the certificate, with the digest of its signature; Ed25519 and Ed448 name none. */
static bool has_digest(X509 *certificate)
{
    int digest = NID_undef;

    return X509_get_signature_info(certificate, &digest, NULL, NULL, NULL) == 1 && digest != NID_undef;
}

enum judgement judge_binding(const struct answer_facts *facts, const struct startup_answer *answer,
                             struct finding *ret_finding, bool *ret_is_tolerated)
{
    X509 *leaf = sk_X509_num(answer->probe.chain) > 0 ? sk_X509_value(answer->probe.chain, 0) : NULL;
    char words[PHRASE_SIZE];

    if (answer->kind != STARTUP_SCRAM)
        return JUDGED_NOTHING;
    *ret_is_tolerated = false;
    if (!answer->has_scram_plus) {
        *ret_finding = (struct finding){0};
        finding_seen(ret_finding, "%s offers %s over TLS", facts->address, phrase(answer, words));
        finding_cause(
            ret_finding, CHECK_ID_protocol_binding,
            "The server offers SCRAM without channel binding although the connection is TLS: a proxy or a "
            "pooler ends TLS before PostgreSQL, or somebody between us strips it. What is sent is read there.");
        finding_fix(ret_finding,
                    "Connect to PostgreSQL itself: correct host and port; replication does not pass through a pooler.");
        *ret_is_tolerated = facts->run->server->settings.allow_weak_password;
        return JUDGED_WRONG;
    }
    if (leaf == NULL || has_digest(leaf))
        return JUDGED_FINE;
    *ret_finding = (struct finding){0};
    finding_seen(ret_finding, "%s offers %s; its certificate is signed with %s", facts->address, phrase(answer, words),
                 OBJ_nid2ln(X509_get_signature_nid(leaf)));
    finding_cause(
        ret_finding, CHECK_ID_protocol_binding,
        "The server's certificate is signed by an Ed25519 (or Ed448) key, for which libpq and PostgreSQL know "
        "no channel binding: \"could not find digest for NID UNDEF\" ends every login by SCRAM.");
    finding_fix(
        ret_finding,
        "Let a CA with an ECDSA or RSA key sign the server's certificate; or use the method cert, which needs no "
        "SCRAM: hostssl replication %s %s cert",
        facts->role, facts->client);
    return JUDGED_WRONG;
}

enum judgement judge_common_name(const struct answer_facts *facts, const struct startup_answer *answer,
                                 struct finding *ret_finding)
{
    const char *user = user_of(facts);
    char setting[CHECK_SETTING_SIZE];

    if (!facts->has_certificate || strcmp(facts->common_name, user) == 0)
        return JUDGED_NOTHING;
    if (answer->kind == STARTUP_ADMITTED)
        return JUDGED_FINE;
    if (answer->kind != STARTUP_SCRAM && answer->kind != STARTUP_CLEARTEXT && answer->kind != STARTUP_MD5)
        return JUDGED_NOTHING;
    *ret_finding = (struct finding){0};
    if (facts->common_name[0] == '\0') {
        finding_seen(ret_finding, "the client certificate has no CN, the role is \"%s\"", user);
        finding_cause(ret_finding, CHECK_ID_identity_common_name,
                      "The client certificate names no role (it has no CN), and this connection works only because the "
                      "line of pg_hba.conf compares no name: it says clientcert=verify-ca, or nothing about "
                      "certificates.");
    } else {
        finding_seen(ret_finding, "CN \"%s\", role \"%s\"", facts->common_name, user);
        finding_cause(
            ret_finding, CHECK_ID_identity_common_name,
            "The CN of the client certificate is \"%s\" while the role is \"%s\". That works only because the "
            "line of pg_hba.conf compares no name: it says clientcert=verify-ca, or nothing about "
            "certificates, so a certificate of that CA serves for every role whose password is known.",
            facts->common_name, user);
    }
    finding_fix(ret_finding,
                "Get a certificate with the subject CN=%s (%s), then tie role and certificate in pg_hba.conf: hostssl "
                "replication %s %s scram-sha-256 clientcert=verify-full",
                user, check_setting(facts->run, "tls_cert_file", setting), facts->role, facts->client);
    return JUDGED_WRONG;
}
