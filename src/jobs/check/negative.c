#include <netdb.h>
#include <string.h>

#include "jobs/check/handshake_internal.h"
#include "jobs/check/judgement_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/issue.h"

/*
 * Attempts that must be refused. Each is one line in the server's log and none carries a password. Every address of the
 * host is a door of its own: pg_hba.conf may have another line for each family. A line that lets in by one door and for
 * one attempt lets in for the next attempt too: it is told once.
 */
#define SUPERUSER   "postgres"
#define NOBODY      "pgcoffer_check_other"
#define MOST_DOORS  8
#define PHRASE_SIZE 800
#define SEEN_SIZE   1000

struct door {
    const struct sockaddr *address; /* NULL: whichever address takes the connection */
    socklen_t size;
    struct answer_facts facts;
    bool is_plain_wrong;     /* hba.plaintext is at fault here */
    bool is_open;            /* lets our role in, without TLS or without certificate, and asks for nothing */
    bool is_superuser_open;  /* the same for postgres */
    enum check_id opened_by; /* which check told is_open */
};

struct negative {
    struct check_run *run;
    struct door doors[MOST_DOORS];
    size_t count;
};

/* What one check learns at the doors. */
struct outcome {
    struct finding finding;
    bool is_wrong, is_fine;
    bool is_same; /* wrong only where a fault that is told already explains it */
    enum check_id same_as;
    char seen[SEEN_SIZE]; /* "127.0.0.1: AuthenticationOk; ::1: 28000: ..." */
};

static void add_door(struct negative *negative, const struct addrinfo *address)
{
    struct door *door = &negative->doors[negative->count++];
    char name[64] = "";

    *door = (struct door){0};
    if (address != NULL) {
        door->address = address->ai_addr;
        door->size = address->ai_addrlen;
        getnameinfo(address->ai_addr, address->ai_addrlen, name, sizeof name, NULL, 0, NI_NUMERICHOST);
    }
    answer_facts_gather(negative->run, address == NULL ? negative->run->answer.probe.address : name, &door->facts);
}

static void find_doors(struct negative *negative)
{
    const struct check_run *run = negative->run;
    size_t number = 0;

    for (const struct addrinfo *address = run->addresses; address != NULL && number < MOST_DOORS;
         address = address->ai_next, number++)
        if (run->is_reached[number])
            add_door(negative, address);
    if (negative->count == 0)
        add_door(negative, NULL);
}

static struct startup_request attempt_at(const struct negative *negative, const struct door *door)
{
    const struct check_run *run = negative->run;

    return (struct startup_request){
        .tls = {.server = &run->prober,
                .deadline = clock_monotonic() + run->patience,
                .address = door->address,
                .address_size = door->size},
        .user = run->server->settings.user,
    };
}

static void note(struct outcome *outcome, const struct door *door, const struct startup_answer *answer)
{
    char words[PHRASE_SIZE];
    size_t used = strlen(outcome->seen);

    startup_answer_phrase(answer, words, sizeof words);
    snprintf(outcome->seen + used, sizeof outcome->seen - used, "%s%s: %s", used == 0 ? "" : "; ", door->facts.address,
             words);
}

static void keep(struct outcome *outcome, enum judgement judgement, const struct finding *finding, bool is_same,
                 enum check_id same_as)
{
    switch (judgement) {
    case JUDGED_FINE:
        outcome->is_fine = true;
        return;
    case JUDGED_WRONG:
        if (is_same) {
            outcome->is_same = true;
            outcome->same_as = same_as;
        } else if (!outcome->is_wrong) {
            outcome->is_wrong = true;
            outcome->finding = *finding;
        }
        return;
    case JUDGED_NOTHING:
        return;
    }
}

static void tell(struct check_run *run, enum check_id id, struct outcome *outcome, const char *fine)
{
    if (outcome->is_wrong) {
        finding_seen(&outcome->finding, "%s", outcome->seen);
        check_fail(run, &outcome->finding);
    } else if (outcome->is_same)
        check_skip(run, id, "the same line of pg_hba.conf: see %s", check_rows[outcome->same_as].name);
    else if (outcome->is_fine)
        check_pass(run, id, "%s%s", fine, outcome->seen);
    else
        check_skip(run, id, "the answers tell nothing: %s", outcome->seen);
}

static bool is_to_do(const struct negative *negative, enum check_id id)
{
    return check_is_needed(negative->run, id) && check_may(negative->run, id) && !check_is_interrupted(negative->run);
}

static void try_plaintext(struct negative *negative)
{
    struct outcome outcome = {0};

    if (!is_to_do(negative, CHECK_ID_hba_plaintext))
        return;
    for (size_t i = 0; i < negative->count && !check_is_interrupted(negative->run); i++) {
        struct door *door = &negative->doors[i];
        struct startup_answer answer SCOPED(startup_answer_done);
        struct startup_request request = attempt_at(negative, door);
        struct finding finding;

        request.tls.is_plain = true;
        startup_probe(&request, &answer);
        enum judgement judgement = judge_plaintext(&door->facts, &answer, &finding);
        door->is_plain_wrong = judgement == JUDGED_WRONG;
        door->is_open = answer.kind == STARTUP_ADMITTED;
        door->opened_by = CHECK_ID_hba_plaintext;
        note(&outcome, door, &answer);
        keep(&outcome, judgement, &finding, false, CHECK_ID_NOTHING);
    }
    tell(negative->run, CHECK_ID_hba_plaintext, &outcome, "");
}

static void try_without_certificate(struct negative *negative)
{
    struct outcome outcome = {0};

    if (!is_to_do(negative, CHECK_ID_hba_certificate))
        return;
    for (size_t i = 0; i < negative->count && !check_is_interrupted(negative->run); i++) {
        struct door *door = &negative->doors[i];
        struct startup_answer answer SCOPED(startup_answer_done);
        struct startup_request request = attempt_at(negative, door);
        struct finding finding;

        request.tls.certificate_path = request.tls.key_path = "";
        startup_probe(&request, &answer);
        note(&outcome, door, &answer);
        /* `host` covers TLS too, and treats both alike. */
        bool is_same = door->is_plain_wrong && door->is_open == (answer.kind == STARTUP_ADMITTED);
        keep(&outcome, judge_certificate(&door->facts, &answer, &finding), &finding, is_same, CHECK_ID_hba_plaintext);
        if (answer.kind == STARTUP_ADMITTED && !door->is_open) {
            door->is_open = true;
            door->opened_by = CHECK_ID_hba_certificate;
        }
    }
    tell(negative->run, CHECK_ID_hba_certificate, &outcome,
         sk_X509_num(negative->run->own) > 0 ? "" : "no client certificate is configured; ");
}

bool check_make_stranger(const char *common_name, EVP_PKEY **ret_key, X509 **ret_certificate, struct error *err)
{
    struct issue_wish wish = {.purpose = ISSUE_CLIENT, .common_name = common_name, .days = 1};

    if (!issue_key(ISSUE_EC_P256, ret_key, err))
        return false;
    wish.key = *ret_key;
    return issue_certificate(&wish, ret_certificate, err);
}

static void try_stranger(struct negative *negative)
{
    struct check_run *run = negative->run;
    const struct door *door = &negative->doors[0];
    struct outcome outcome = {0};
    struct startup_answer answer SCOPED(startup_answer_done) = {0};
    struct startup_request request = attempt_at(negative, door);
    EVP_PKEY *key SCOPED(scoped_key) = NULL;
    X509 *certificate SCOPED(scoped_certificate) = NULL;
    struct finding finding;
    struct error err;

    if (!is_to_do(negative, CHECK_ID_identity_foreign))
        return;
    if (run->has_bare && !run->bare.is_certificate_wanted) {
        check_skip(run, CHECK_ID_identity_foreign, "the server asks for no client certificate");
        return;
    }
    if (!check_make_stranger(run->server->settings.user, &key, &certificate, &err)) {
        check_skip(run, CHECK_ID_identity_foreign, "no certificate to try it with: %s", err.message);
        return;
    }
    request.tls.certificate = certificate;
    request.tls.key = key;
    startup_probe(&request, &answer);
    note(&outcome, door, &answer);
    keep(&outcome, judge_foreign(&door->facts, &answer, &finding), &finding, false, CHECK_ID_NOTHING);
    tell(run, CHECK_ID_identity_foreign, &outcome, "");
}

/* Also where only identity.other_role is wanted, which must not tell of a line that needs no certificate at all. */
static void try_superuser(struct negative *negative)
{
    struct check_run *run = negative->run;
    struct outcome outcome = {0};

    if (!is_to_do(negative, CHECK_ID_hba_superuser) && !is_to_do(negative, CHECK_ID_identity_other_role))
        return;
    if (strcmp(run->server->settings.user, SUPERUSER) == 0) {
        check_skip(run, CHECK_ID_hba_superuser, "postgres is the configured user: see hba.certificate");
        return;
    }
    for (size_t i = 0; i < negative->count && !check_is_interrupted(run); i++) {
        struct door *door = &negative->doors[i];
        struct startup_answer answer SCOPED(startup_answer_done);
        struct startup_request request = attempt_at(negative, door);
        struct finding finding;

        request.user = SUPERUSER;
        request.tls.certificate_path = request.tls.key_path = "";
        startup_probe(&request, &answer);
        door->is_superuser_open = answer.kind == STARTUP_ADMITTED;
        note(&outcome, door, &answer);
        keep(&outcome, judge_superuser(&door->facts, &answer, &finding), &finding, door->is_open, door->opened_by);
    }
    tell(run, CHECK_ID_hba_superuser, &outcome, "");
}

/* True when the role was let in, which is told. */
static bool try_role(struct negative *negative, const char *role, struct outcome *outcome)
{
    const struct door *door = &negative->doors[0];
    struct startup_answer answer SCOPED(startup_answer_done);
    struct startup_request request = attempt_at(negative, door);
    bool is_superuser = strcmp(role, SUPERUSER) == 0;
    struct finding finding;
    size_t used = strlen(outcome->seen);

    request.user = role;
    startup_probe(&request, &answer);
    note(outcome, door, &answer);
    snprintf(outcome->seen + strlen(outcome->seen), SEEN_SIZE - strlen(outcome->seen), " (role %s)", role);
    enum judgement judgement = judge_other_role(&door->facts, &answer, role, is_superuser, &finding);
    if (judgement == JUDGED_WRONG && is_superuser && door->is_superuser_open) {
        outcome->seen[used] = '\0';
        judgement = JUDGED_NOTHING;
    }
    keep(outcome, judgement, &finding, false, CHECK_ID_NOTHING);
    return judgement == JUDGED_WRONG;
}

static void try_other_roles(struct negative *negative)
{
    struct check_run *run = negative->run;
    const struct door *door = &negative->doors[0];
    struct outcome outcome = {0};

    if (!is_to_do(negative, CHECK_ID_identity_other_role))
        return;
    if (sk_X509_num(run->own) <= 0) {
        check_skip(run, CHECK_ID_identity_other_role, "no client certificate is configured");
        return;
    }
    if (door->is_open) {
        check_skip(run, CHECK_ID_identity_other_role, "the same line of pg_hba.conf: see %s",
                   check_rows[door->opened_by].name);
        return;
    }
    bool is_told = try_role(negative, NOBODY, &outcome);
    if (!is_told && strcmp(run->server->settings.user, SUPERUSER) != 0 && !check_is_interrupted(run))
        try_role(negative, SUPERUSER, &outcome);
    if (!outcome.is_wrong && !outcome.is_fine)
        check_skip(run, CHECK_ID_identity_other_role, "a password is asked for first, which tells nothing: %s",
                   outcome.seen);
    else
        tell(run, CHECK_ID_identity_other_role, &outcome, "");
}

void check_level_negative(struct check_run *run)
{
    struct negative negative = {.run = run};

    find_doors(&negative);
    try_plaintext(&negative);
    try_without_certificate(&negative);
    try_stranger(&negative);
    try_superuser(&negative);
    try_other_roles(&negative);
}
