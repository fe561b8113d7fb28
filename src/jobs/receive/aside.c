#include "jobs/receive/aside_internal.h"

#include <errno.h>
#include <string.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/diagnosis.h"
#include "pgcoffer/tls/files.h"
#include "pgcoffer/tls/probe.h"

#define SECOND INT64_C(1000000)

/* Alerts about a certificate; what others tell may be different with another version. */
#define FIRST_CERTIFICATE_ALERT SSL3_AD_BAD_CERTIFICATE
#define LAST_CERTIFICATE_ALERT  TLS1_AD_ACCESS_DENIED

/* ---- LOOK ---- */

static bool is_worth_another_version(const struct tls_probe *probe)
{
    bool is_about_certificate = probe->alert >= FIRST_CERTIFICATE_ALERT && probe->alert <= LAST_CERTIFICATE_ALERT;

    return (probe->outcome == TLS_PROBE_REFUSED_BY_PEER && !is_about_certificate) || probe->outcome == TLS_PROBE_BROKEN;
}

/* TLS 1.2 first: there the server's verdict on our certificate is part of the handshake. */
static void shake_hands(const struct aside_task *task, struct tls_probe *ret_probe)
{
    struct tls_probe_request request = {
        .server = task->server,
        .certificate_path = task->is_without_ours ? "" : NULL,
        .key_path = task->is_without_ours ? "" : NULL,
        .most_version = TLS1_2_VERSION,
        .deadline = clock_monotonic() + task->server->settings.connect_timeout * SECOND,
    };

    tls_probe_run(&request, ret_probe);
    if (!is_worth_another_version(ret_probe))
        return;
    tls_probe_done(ret_probe);
    request.most_version = 0;
    tls_probe_run(&request, ret_probe);
}

static void describe_served(const struct tls_probe *probe, struct pg_certificate *ret_served)
{
    struct certificate_text text;

    if (sk_X509_num(probe->chain) <= 0)
        return;
    certificate_describe(sk_X509_value(probe->chain, 0), &text);
    snprintf(ret_served->subject, sizeof ret_served->subject, "%s", text.subject);
    snprintf(ret_served->not_after, sizeof ret_served->not_after, "%s", text.not_after_text);
    snprintf(ret_served->fingerprint, sizeof ret_served->fingerprint, "%s", text.fingerprint);
}

static void explain(struct aside_task *task, const struct tls_probe *probe)
{
    struct finding finding = {.check = CHECK_ID_NOTHING};

    if (tls_explain(task->server, probe, "", &finding))
        finding_to_error(&finding, task->server, ERROR_TLS, "", &task->failure);
    else
        error_set(&task->failure, ERROR_TLS, "the TLS handshake with %s port %ld failed: %s",
                  tls_host_name(task->server), task->server->settings.port, probe->words);
}

static void judge_handshake(struct aside_task *task)
{
    struct tls_probe probe SCOPED(tls_probe_done) = {.alert = -1};
    bool is_name_demanded = config_tls_mode(&task->server->settings) == TLS_VERIFY_FULL;

    shake_hands(task, &probe);
    bool is_name_bad = is_name_demanded && probe.is_name_wrong;
    bool is_chain_good = probe.outcome != TLS_PROBE_REFUSED_BY_US && !is_name_bad;
    task->is_answered = probe.outcome != TLS_PROBE_UNREACHABLE && !task->is_without_ours;
    if (is_chain_good)
        describe_served(&probe, &task->served);
    task->is_refused = task->is_answered && (probe.outcome != TLS_PROBE_ACCEPTED || is_name_bad);
    if (task->is_refused)
        explain(task, &probe);
}

static void look(struct aside_task *task)
{
    inventory_take(task->server, &task->inventory);
    if (task->is_to_connect)
        judge_handshake(task);
}

/* ---- TRY ---- */

/* Of what has nothing to do with files: nobody there, starting, stopping, overloaded. */
static bool is_of_the_moment(const struct error *failure)
{
    return failure->kind == ERROR_SERVER && (failure->check[0] == '\0' || text_starts_with(failure->check, "server."));
}

static enum aside_verdict judge_failure(const struct error *failure)
{
    if (failure->errnum == ECANCELED || is_of_the_moment(failure))
        return ASIDE_UNDECIDED;
    /* The handshake was done and the stream's own WAL sender will be free. */
    return strcmp(failure->check, "replication.senders") == 0 ? ASIDE_PROVED : ASIDE_BROKEN;
}

static enum aside_verdict try(struct aside_task *task)
{
    struct tls_set now;

    tls_set_read(&task->server->settings, &task->found);
    if (!tls_files_check(task->server, &task->failure))
        return ASIDE_BROKEN;
    if (tls_set_has_same_content(&task->in_use, &task->found))
        return ASIDE_SAME;
    if (!pg_connect(task->server, task->application_name, task->interrupt_fd, &task->connection, &task->failure))
        return judge_failure(&task->failure);
    tls_set_read(&task->server->settings, &now);
    if (tls_set_has_same_content(&task->found, &now))
        return ASIDE_PROVED;
    pg_disconnect(TAKE(task->connection));
    return ASIDE_UNDECIDED;
}

void aside_run(struct aside_task *task)
{
    switch (task->kind) {
    case ASIDE_LOOK:
        look(task);
        return;
    case ASIDE_TRY:
        task->verdict = try(task);
        return;
    }
}

void aside_done(struct aside_task *task)
{
    inventory_done(&task->inventory);
    pg_disconnect(TAKE(task->connection));
}
