#include <string.h>

#include "jobs/check/judgement_internal.h"
#include "pgcoffer/base/clock.h"

/*
 * One startup packet over verified TLS, with our certificate and without a password: what pg_hba.conf decides about us.
 */
static void ask(struct check_run *run)
{
    const struct startup_request request = {
        .tls = {.server = &run->prober, .deadline = clock_monotonic() + run->patience},
        .user = run->server->settings.user,
    };

    startup_probe(&request, &run->answer);
    run->has_answer = true;
}

static void tell_password(struct check_run *run, const struct answer_facts *facts)
{
    struct finding finding;
    bool is_tolerated = false;

    if (judge_password(facts, &run->answer, &finding, &is_tolerated) == JUDGED_FINE)
        check_pass(run, CHECK_ID_hba_password, "%s",
                   run->answer.kind == STARTUP_SCRAM ? "the server asks for the password by SCRAM"
                                                     : "the server asks for no password");
    else if (is_tolerated)
        check_warn(run, &finding);
    else
        check_fail(run, &finding);
}

static void tell_binding(struct check_run *run, const struct answer_facts *facts)
{
    struct finding finding;
    bool is_tolerated = false;

    switch (judge_binding(facts, &run->answer, &finding, &is_tolerated)) {
    case JUDGED_FINE:
        check_pass(run, CHECK_ID_protocol_binding, "the server offers SCRAM-SHA-256-PLUS");
        return;
    case JUDGED_WRONG:
        if (is_tolerated)
            check_warn(run, &finding);
        else
            check_fail(run, &finding);
        return;
    case JUDGED_NOTHING:
        check_skip(run, CHECK_ID_protocol_binding, "the server does not ask for SCRAM: there is nothing to bind");
    }
}

/* A CN that is the role's name was told by the level of the files. */
static void tell_common_name(struct check_run *run, const struct answer_facts *facts)
{
    struct finding finding;
    const char *user = run->server->settings.user;

    switch (judge_common_name(facts, &run->answer, &finding)) {
    case JUDGED_FINE:
        if (facts->common_name[0] == '\0')
            check_pass(run, CHECK_ID_identity_common_name,
                       "no CN; the server lets the certificate in as \"%s\", by another part of its subject", user);
        else
            check_pass(run, CHECK_ID_identity_common_name, "CN \"%s\" is mapped: the server lets it in as \"%s\"",
                       facts->common_name, user);
        return;
    case JUDGED_WRONG:
        check_warn(run, &finding);
        return;
    case JUDGED_NOTHING:
        return;
    }
}

/* No certificate, no password, and in: that needs no negative probe to be known. */
static void tell_open_door(struct check_run *run, const struct answer_facts *facts)
{
    struct finding finding;

    if (run->request->options.is_passive && !facts->has_certificate && run->answer.kind == STARTUP_ADMITTED &&
        judge_certificate(facts, &run->answer, &finding) == JUDGED_WRONG)
        check_fail(run, &finding);
}

void check_level_startup(struct check_run *run)
{
    struct answer_facts facts;
    struct finding finding;
    char words[800];

    if (!check_may(run, CHECK_ID_hba_replication))
        return;
    ask(run);
    answer_facts_gather(run, run->answer.probe.address, &facts);
    if (judge_replication(&facts, &run->answer, &finding) == JUDGED_WRONG) {
        check_fail(run, &finding);
        if (finding.check != CHECK_ID_hba_replication)
            check_block(run, CHECK_ID_hba_replication, finding.check);
        return;
    }
    startup_answer_phrase(&run->answer, words, sizeof words);
    check_pass(run, CHECK_ID_hba_replication, "%s answers \"%s\": %s", facts.address, run->server->settings.user,
               words);
    tell_password(run, &facts);
    tell_binding(run, &facts);
    tell_common_name(run, &facts);
    tell_open_door(run, &facts);
}
