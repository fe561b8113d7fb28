#include <openssl/objects.h>
#include <string.h>

#include "jobs/check/client_internal.h"
#include "jobs/check/files_internal.h"
#include "jobs/check/handshake_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/diagnosis.h"

/*
 * The way to a gateway, walked by its client: our own files, one handshake as every command makes it, what must be
 * refused, and then what the daemon behind it allows. The words for what can go wrong are those of tls_explain().
 */

static const struct pair_rows rows = {
    .ca = CHECK_ID_client_ca,
    .crl = CHECK_ID_client_crl,
    .certificate = CHECK_ID_client_certificate,
    .key = CHECK_ID_client_key,
    .match = CHECK_ID_client_match,
    .expiry = CHECK_ID_client_expiry,
    .what = "the client certificate",
    .usage = NID_client_auth,
    .usage_word = "clientAuth",
};

/* Which of the rows says what a connection to PostgreSQL would have said by that name. */
static enum check_id row_of(enum check_id known_as)
{
    static const struct {
        const char *beginning;
        enum check_id row;
    } names[] = {
        {"server.resolve", CHECK_ID_client_connect}, {"server.connect", CHECK_ID_client_connect},
        {"expiry.server", CHECK_ID_client_served},   {"expiry.client", CHECK_ID_client_accepted},
        {"expiry.", CHECK_ID_client_chain},          {"chain.", CHECK_ID_client_chain},
        {"key.server", CHECK_ID_client_chain},       {"name.", CHECK_ID_client_name},
        {"identity.", CHECK_ID_client_accepted},
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (text_starts_with(check_rows[known_as].name, names[i].beginning))
            return names[i].row;
    return CHECK_ID_client_handshake;
}

static void pass_chain(struct check_run *run)
{
    X509 *top = sk_X509_value(run->bare.chain, sk_X509_num(run->bare.chain) - 1);
    struct certificate_text text;
    char root[256];

    if (top == NULL || run->bare.outcome == TLS_PROBE_REFUSED_BY_US)
        return;
    certificate_name_format(X509_get_issuer_name(top), root, sizeof root);
    check_pass(run, CHECK_ID_client_chain, "the chain leads to \"%s\"%s", root,
               text_is_empty(run->server->settings.tls_crl_file) ? "" : "; nothing in it is revoked");
    certificate_describe(sk_X509_value(run->bare.chain, 0), &text);
    if (!run->bare.is_name_wrong)
        check_pass(run, CHECK_ID_client_name, "\"%s\" is among %s", check_host(run),
                   text.names[0] == '\0' ? text.common_name : text.names);
}

static void judge_dates(struct check_run *run)
{
    STACK_OF(X509) *chosen = check_choose_dated(run);

    check_expiry(run, CHECK_ID_client_served, chosen, "the gateway's certificate",
                 "Renew it on the backup host, in tls_cert_file of [pgcoffer]; no restart is needed.");
    sk_X509_free(chosen);
}

/* How far it went, before what ended it. */
static void pass_what_was_reached(struct check_run *run)
{
    const struct tls_probe *probe = &run->bare;

    if (probe->outcome == TLS_PROBE_UNREACHABLE || probe->is_unprepared)
        return;
    check_pass(run, CHECK_ID_client_connect, "%s port %ld", probe->address, run->server->settings.port);
    if (probe->outcome == TLS_PROBE_BROKEN)
        return;
    check_pass(run, CHECK_ID_client_handshake, "%s%s%s", probe->version, probe->cipher[0] == '\0' ? "" : " with ",
               probe->cipher);
    pass_chain(run);
    if (probe->outcome == TLS_PROBE_ACCEPTED && !probe->is_name_wrong)
        check_pass(run, CHECK_ID_client_accepted, "with %s", probe->version);
}

void check_client_fail(struct check_run *run, struct finding *finding)
{
    finding->check = row_of(finding->check);
    check_fail(run, finding);
    if (finding->check == CHECK_ID_client_served)
        check_block(run, CHECK_ID_client_chain, CHECK_ID_client_served);
}

static void tell_fault(struct check_run *run)
{
    struct finding finding = {0};

    if (tls_explain(run->server, &run->bare, "", &finding))
        check_client_fail(run, &finding);
}

static void shake_hands(struct check_run *run)
{
    enum check_id obstacle = check_pair_obstacle(run, &rows);

    if (obstacle != CHECK_ID_NOTHING) {
        check_block(run, CHECK_ID_client_connect, obstacle);
        return;
    }
    run->prober = *run->server;
    check_probe(run, (struct tls_probe_request){0}, &run->bare);
    run->has_bare = true;
    pass_what_was_reached(run);
    tell_fault(run);
    if (sk_X509_num(run->bare.chain) > 0 && !check_has_failed(run, CHECK_ID_client_served))
        judge_dates(run);
}

/* What ends the way is told whatever was asked for: behind it there is nothing. */
static void want_faults(struct check_run *run, struct check_options *options)
{
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (check_rows[id].level == CHECK_LEVEL_CLIENT && !check_rows[id].is_negative && check_has_failed(run, id))
            options->is_wanted[id] = true;
}

bool check_client(const struct check_client_request *request, check_sink *sink, void *context, enum right *ret_right,
                  struct error *err)
{
    struct check_request as_server = {.server = request->gateway, .options = request->options, .interrupt_fd = -1};
    struct check_run *run SCOPED(scoped_free) = memory_new(sizeof *run);

    *ret_right = RIGHT_ANYBODY;
    run->request = &as_server;
    run->server = request->gateway;
    run->patience = (int64_t)request->gateway->settings.connect_timeout * 1000000;
    check_pair_files(run, &rows);
    shake_hands(run);
    if (!request->options.is_passive && check_may(run, CHECK_ID_client_anonymous))
        check_client_negative(run);
    if (check_may(run, CHECK_ID_client_answer))
        check_client_right(run, request, ret_right);
    check_run_settle(run, CHECK_LEVEL_CLIENT, CHECK_LEVEL_CLIENT);
    want_faults(run, &as_server.options);
    bool is_told = check_run_tell(run, CHECK_LEVEL_CLIENT, CHECK_LEVEL_CLIENT, sink, context, err);
    check_run_done(run);
    return is_told;
}
