#include <string.h>

#include "jobs/check/client_internal.h"
#include "pgcoffer/base/text.h"

/* What the daemon behind the gateway allows, as its answer to `ping` has it: {"caller":TEXT|null,"rights":[...]}. */

#define LIST_SIZE 512

struct allowed {
    enum right best, named; /* over any server, over the one that was named */
    char words[LIST_SIZE];  /* "restorer of [primary], monitor of [db2]" */
};

static void take(struct allowed *allowed, const char *server, enum right right, const char *named)
{
    size_t used = strlen(allowed->words);

    if (right > allowed->best)
        allowed->best = right;
    if (strcmp(server, named) == 0)
        allowed->named = right;
    else if (named[0] != '\0')
        return;
    snprintf(allowed->words + used, LIST_SIZE - used, "%s%s of [%s]", used == 0 ? "" : ", ", right_word(right), server);
}

static void read_rights(const json_t *answer, const char *named, struct allowed *ret_allowed)
{
    const json_t *row;
    enum right right;
    size_t i;

    *ret_allowed = (struct allowed){0};
    json_array_foreach(json_object_get(answer, "rights"), i, row)
    {
        const char *server = json_text_or_null(row, "server"), *word = json_text_or_null(row, "right");
        if (server != NULL && word != NULL && right_find(word, &right))
            take(ret_allowed, server, right, named);
    }
}

static void fail_nameless(struct check_run *run)
{
    struct finding finding = {.check = CHECK_ID_client_right};

    finding_seen(&finding, "the certificate has neither a CN nor an alternative name that could stand in a list");
    finding_cause(
        &finding, CHECK_ID_client_right,
        "The client certificate \"%s\" gives no name that the daemon could know: it has no CN, or several, or "
        "one with a blank or a comma.",
        run->server->settings.tls_cert_file);
    finding_fix(&finding, "Let the CA issue one with one CN, a name of letters, digits, \"-\", \".\" and \"_\".");
    check_fail(run, &finding);
}

static void fail_right(struct check_run *run, const struct check_client_request *request, const char *caller,
                       const struct allowed *allowed)
{
    struct finding finding = {.check = CHECK_ID_client_right};
    const char *list = request->needed >= RIGHT_RESTORER ? "restorers" : "monitors";
    const char *what = request->needed >= RIGHT_RESTORER ? "restore" : "ask for the state of";
    const char *section = request->server[0] != '\0' ? request->server : "SERVER";

    if (allowed->words[0] != '\0')
        finding_seen(&finding, "%s: %s", caller, allowed->words);
    else if (request->server[0] != '\0')
        finding_seen(&finding, "%s: no right over [%s]", caller, request->server);
    else
        finding_seen(&finding, "%s: no right over any server", caller);
    if (request->server[0] != '\0')
        finding_cause(&finding, CHECK_ID_client_right,
                      "The daemon knows this host's certificate as %s, and does not let it %s \"%s\": %s of that "
                      "section does not name it, or there is no such section.",
                      caller, what, request->server, list);
    else
        finding_cause(&finding, CHECK_ID_client_right,
                      "The daemon knows this host's certificate as %s, and does not let it %s any server: %s of no "
                      "section names it.",
                      caller, what, list);
    finding_fix(&finding,
                "On the backup host, in section [%s] of the daemon's configuration, add it to the line %s = ..., %s; "
                "then give there: pgcoffer reload",
                section, list, caller);
    check_fail(run, &finding);
}

static void fail_answer(struct check_run *run, const struct error *failure)
{
    struct finding finding = {.check = CHECK_ID_client_answer};

    /* The verdict on our certificate came later than the handshake before had waited for it. */
    if (failure->kind == ERROR_TLS && finding_from_error(failure, &finding)) {
        check_client_fail(run, &finding);
        return;
    }
    finding_seen(&finding, "%s", failure->message);
    finding_cause(&finding, CHECK_ID_client_answer,
                  "The gateway takes the certificate, but no daemon answers behind it: %s.", failure->message);
    finding_fix(&finding, "%s",
                failure->hint[0] != '\0' ? failure->hint
                                         : "Look at its log on the backup host: journalctl -u pgcofferd.");
    check_fail(run, &finding);
}

void check_client_right(struct check_run *run, const struct check_client_request *request, enum right *ret_right)
{
    struct error failure = {0};
    struct allowed allowed;
    json_t *answer SCOPED(scoped_json) = request->ask(request->context, &failure);

    if (answer == NULL) {
        fail_answer(run, &failure);
        return;
    }
    const char *version = json_text_or(answer, "version", "?"), *caller = json_text_or_null(answer, "caller");
    check_pass(run, CHECK_ID_client_answer, "pgcofferd %s, since %s", version,
               json_text_or_null(answer, "started_at") != NULL ? json_text_or_null(answer, "started_at") : "?");
    if (json_object_get(answer, "rights") == NULL) {
        check_skip(run, CHECK_ID_client_right, "a daemon of this version does not tell");
        *ret_right = RIGHT_MONITOR; /* its refusal tells the rest */
        return;
    }
    read_rights(answer, request->server, &allowed);
    *ret_right = request->server[0] != '\0' ? allowed.named : allowed.best;
    if (text_is_empty(caller))
        fail_nameless(run);
    else if (*ret_right < request->needed)
        fail_right(run, request, caller, &allowed);
    else
        check_pass(run, CHECK_ID_client_right, "%s: %s", caller, allowed.words);
}
