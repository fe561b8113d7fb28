#include <string.h>

#include "jobs/check/judgement_internal.h"
#include "pgcoffer/base/text.h"

#define PHRASE_SIZE 800

/* What an attempt that must be refused came to. */
enum reception {
    LET_IN,
    ASKED, /* for a password, or another proof */
    REFUSED,
    UNDECIDED
};

/* 28000 is pg_hba.conf's refusal; 57P03 or 53300 say nothing about who would be let in. */
static enum reception receive(const struct startup_answer *answer)
{
    switch (answer->kind) {
    case STARTUP_ADMITTED:
        return LET_IN;
    case STARTUP_SCRAM:
    case STARTUP_CLEARTEXT:
    case STARTUP_MD5:
    case STARTUP_OTHER:
        return ASKED;
    case STARTUP_REFUSED:
        return text_starts_with(answer->sqlstate, "28") || strcmp(answer->sqlstate, "F0000") == 0 ? REFUSED : UNDECIDED;
    case STARTUP_NO_ANSWER:
        return answer->probe.outcome == TLS_PROBE_REFUSED_BY_PEER ? REFUSED : UNDECIDED;
    case STARTUP_GARBAGE:
        break;
    }
    return UNDECIDED;
}

static const char *user_of(const struct answer_facts *facts)
{
    return facts->run->server->settings.user;
}

static void tell_answer(const struct answer_facts *facts, const struct startup_answer *answer, const char *attempt,
                        struct finding *ret_finding)
{
    char words[PHRASE_SIZE];

    *ret_finding = (struct finding){0};
    startup_answer_phrase(answer, words, sizeof words);
    finding_seen(ret_finding, "%s, %s: %s", facts->address, attempt, words);
}

enum judgement judge_plaintext(const struct answer_facts *facts, const struct startup_answer *answer,
                               struct finding *ret_finding)
{
    enum reception reception = receive(answer);

    if (reception == REFUSED || reception == UNDECIDED)
        return reception == REFUSED ? JUDGED_FINE : JUDGED_NOTHING;
    tell_answer(facts, answer, "without TLS", ret_finding);
    if (reception == LET_IN) {
        finding_cause(ret_finding, CHECK_ID_hba_plaintext,
                      "Through %s anybody is let in as \"%s\" for replication in plain text, with neither password nor "
                      "certificate: a line of pg_hba.conf says trust, such as initdb's own \"host replication all %s "
                      "trust\".",
                      facts->address, user_of(facts), strchr(facts->address, ':') ? "::1/128" : "127.0.0.1/32");
        finding_fix(ret_finding,
                    "Take that trust line out of pg_hba.conf on the server, or write in its place: %s; then SELECT "
                    "pg_reload_conf();",
                    facts->line);
    } else {
        finding_cause(
            ret_finding, CHECK_ID_hba_plaintext,
            "Through %s the server goes on without TLS and asks for a password: the line of pg_hba.conf begins "
            "with host instead of hostssl, so a client that does not insist on TLS sends everything in plain "
            "text.",
            facts->address);
        finding_fix(ret_finding,
                    "Write hostssl instead of host into that line of pg_hba.conf on the server: %s; then SELECT "
                    "pg_reload_conf();",
                    facts->line);
    }
    return JUDGED_WRONG;
}

enum judgement judge_certificate(const struct answer_facts *facts, const struct startup_answer *answer,
                                 struct finding *ret_finding)
{
    enum reception reception = receive(answer);

    if (reception == REFUSED || reception == UNDECIDED)
        return reception == REFUSED ? JUDGED_FINE : JUDGED_NOTHING;
    if (reception == ASKED && !facts->has_certificate)
        return JUDGED_FINE;
    tell_answer(facts, answer, "TLS without a client certificate", ret_finding);
    if (reception == LET_IN) {
        finding_cause(
            ret_finding, CHECK_ID_hba_certificate,
            "Through %s anybody is let in as \"%s\" for replication over TLS, without certificate and without "
            "password: a line of pg_hba.conf above the one that is meant says hostssl ... trust.",
            facts->address, user_of(facts));
        finding_fix(ret_finding,
                    "Take that line out of pg_hba.conf on the server, or write in its place: %s; then SELECT "
                    "pg_reload_conf();",
                    facts->line);
    } else {
        finding_cause(ret_finding, CHECK_ID_hba_certificate,
                      "Our client certificate is not enforced: through %s a password alone is enough to replicate as "
                      "\"%s\". The first line of pg_hba.conf that fits says nothing of clientcert.",
                      facts->address, user_of(facts));
        finding_fix(
            ret_finding,
            "Append clientcert=verify-full to that line of pg_hba.conf on the server, or put above it: %s; then "
            "SELECT pg_reload_conf();",
            facts->line);
    }
    return JUDGED_WRONG;
}

enum judgement judge_foreign(const struct answer_facts *facts, const struct startup_answer *answer,
                             struct finding *ret_finding)
{
    if (answer->kind == STARTUP_NO_ANSWER)
        return answer->probe.outcome == TLS_PROBE_REFUSED_BY_PEER ? JUDGED_FINE : JUDGED_NOTHING;
    if (!answer->probe.is_certificate_wanted || answer->kind == STARTUP_GARBAGE)
        return JUDGED_NOTHING;
    tell_answer(facts, answer, "with a certificate that signed itself a moment ago", ret_finding);
    finding_cause(
        ret_finding, CHECK_ID_identity_foreign,
        "The server took a client certificate of CN=%s that no CA signed. PostgreSQL never does: what ends TLS "
        "at %s is a proxy that asks for certificates and does not verify them.",
        user_of(facts), facts->address);
    finding_fix(
        ret_finding,
        "Connect to PostgreSQL itself (correct host and port), or make the proxy verify client certificates, for "
        "instance \"verify = 2\" with CAfile in stunnel.");
    return JUDGED_WRONG;
}

enum judgement judge_superuser(const struct answer_facts *facts, const struct startup_answer *answer,
                               struct finding *ret_finding)
{
    enum reception reception = receive(answer);

    if (reception == UNDECIDED)
        return JUDGED_NOTHING;
    if (reception != LET_IN)
        return JUDGED_FINE;
    tell_answer(facts, answer, "role postgres over TLS without a client certificate", ret_finding);
    finding_cause(ret_finding, CHECK_ID_hba_superuser,
                  "Through %s anybody is let in as the superuser postgres for replication, without certificate and "
                  "password, and may copy the whole cluster: a line of pg_hba.conf for postgres says trust.",
                  facts->address);
    finding_fix(ret_finding,
                "Find and remove that line of pg_hba.conf on the server (a trust line that names postgres and covers "
                "%s), then SELECT pg_reload_conf();",
                facts->client);
    return JUDGED_WRONG;
}

/* The refusal of a role that does not exist comes only after whoever asks was let in. */
static bool is_let_in_as(const struct startup_answer *answer, const char *role)
{
    return answer->kind == STARTUP_ADMITTED ||
           (answer->kind == STARTUP_REFUSED && strcmp(answer->sqlstate, "28000") == 0 &&
            strstr(answer->message, role) != NULL && strstr(answer->message, "does not exist") != NULL);
}

enum judgement judge_other_role(const struct answer_facts *facts, const struct startup_answer *answer, const char *role,
                                bool is_superuser, struct finding *ret_finding)
{
    char attempt[160];

    if (!is_let_in_as(answer, role))
        return receive(answer) == REFUSED ? JUDGED_FINE : JUDGED_NOTHING;
    snprintf(attempt, sizeof attempt, "our certificate (CN=%.64s) with the role %.63s", facts->common_name, role);
    tell_answer(facts, answer, attempt, ret_finding);
    if (is_superuser) {
        finding_cause(
            ret_finding, CHECK_ID_identity_other_role,
            "With the client certificate CN=%s one is let in as the superuser postgres: a map in pg_ident.conf "
            "gives this certificate, or every one, the role postgres.",
            facts->common_name);
        finding_fix(
            ret_finding,
            "Take the map line that ends in postgres and catches this certificate, for instance /^(.*)$ or /.*, "
            "out of pg_ident.conf on the server, and write each certificate's own: MAPNAME %s %s; then SELECT "
            "pg_reload_conf();",
            facts->common_name, facts->role);
    } else {
        finding_cause(
            ret_finding, CHECK_ID_identity_other_role,
            "With the client certificate CN=%s one is let in as any role, the superuser included: the line of "
            "pg_hba.conf says trust clientcert=verify-ca, which asks for a certificate of the CA and compares "
            "no name.",
            facts->common_name);
        finding_fix(ret_finding,
                    "Write cert (or scram-sha-256 clientcert=verify-full) instead of trust clientcert=verify-ca into "
                    "pg_hba.conf on the server: hostssl replication %s %s cert; then SELECT pg_reload_conf();",
                    facts->role, facts->client);
    }
    return JUDGED_WRONG;
}
