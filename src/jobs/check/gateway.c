#include <ctype.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

#include "jobs/check/files_internal.h"
#include "jobs/check/handshake_internal.h"
#include "jobs/gateway/kinship_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"

/* The daemon's own gateway: its files, for whom it is there, and what its port serves. */

#define NAMES_SIZE 400

static const struct pair_rows rows = {
    .ca = CHECK_ID_gateway_ca,
    .crl = CHECK_ID_gateway_crl,
    .certificate = CHECK_ID_gateway_certificate,
    .key = CHECK_ID_gateway_key,
    .match = CHECK_ID_gateway_match,
    .expiry = CHECK_ID_gateway_expiry,
    .what = "the gateway's certificate",
    .usage = NID_server_auth,
    .usage_word = "serverAuth",
};

struct gateway_walk {
    struct check_run run;
    struct check_request request;
    struct server_config view; /* [pgcoffer] as one end of a connection */
    const struct config *config;
    bool is_running;
};

static const char *listens_on(const struct config *config)
{
    return text_is_empty(config->settings.host) ? "localhost" : config->settings.host;
}

/* ---- what is served ---- */

static void look_at_chain(struct check_run *run)
{
    struct finding finding = {.check = CHECK_ID_gateway_chain};
    struct certificate_text text;
    int stranger = check_find_stranger(run->own);

    if (stranger < 0) {
        check_pass(run, CHECK_ID_gateway_chain, "%d certificate%s", sk_X509_num(run->own),
                   sk_X509_num(run->own) == 1 ? "" : "s");
        return;
    }
    certificate_describe(sk_X509_value(run->own, stranger), &text);
    finding_seen(&finding, "number %d is \"%s\"", stranger + 1, text.subject);
    finding_cause(&finding, CHECK_ID_gateway_chain,
                  "In tls_cert_file of [pgcoffer] \"%s\", number %d there, signed none of the others: it does not "
                  "belong there, and what should stand there is perhaps missing.",
                  text.subject, stranger + 1);
    finding_fix(&finding, "Write \"%s\" anew: the gateway's certificate, then the CA that signed it, and so on.",
                run->server->settings.tls_cert_file);
    check_warn(run, &finding);
}

/* An address is where it listens, and says nothing of the name by which clients come: DNS and forwarded ports do. */
static void look_at_name(struct gateway_walk *walk)
{
    struct check_run *run = &walk->run;
    X509 *leaf = sk_X509_value(run->own, 0);
    const char *host = listens_on(walk->config);
    struct finding finding = {.check = CHECK_ID_gateway_name};
    struct certificate_text text;

    certificate_describe(leaf, &text);
    const char *names = text.names[0] != '\0' ? text.names : "no alternative name";
    if (text.names[0] != '\0' && (tls_host_is_address(host) || tls_name_matches(leaf, host))) {
        check_pass(run, CHECK_ID_gateway_name, "clients may ask for %s", names);
        return;
    }
    finding_seen(&finding, "subject \"%s\", %s", text.subject, names);
    finding_cause(&finding, CHECK_ID_gateway_name,
                  "The gateway listens on %s, and its certificate is for %s: clients that name it otherwise than the "
                  "certificate does refuse it.",
                  host, text.names[0] != '\0' ? text.names : text.subject);
    finding_fix(&finding,
                "Let clients connect to a name of the certificate, or issue it anew with subjectAltName = "
                "DNS:%s and replace \"%s\".",
                tls_host_is_address(host) ? "NAME" : host, run->server->settings.tls_cert_file);
    check_warn(run, &finding);
}

/* ---- for whom ---- */

/* The first server whose certificate could not be compared; NULL when each could. */
static const struct server_config *find_unread(const struct config *config)
{
    for (size_t i = 0; i < config->server_count; i++) {
        const char *path = config->servers[i].settings.tls_cert_file;
        if (!text_is_empty(path) && access(path, R_OK) != 0)
            return &config->servers[i];
    }
    return NULL;
}

static void look_at_kinship(struct gateway_walk *walk)
{
    struct check_run *run = &walk->run;
    struct finding finding = {.check = CHECK_ID_gateway_own_ca};
    struct error warning;

    if (!check_may(run, CHECK_ID_gateway_own_ca))
        return;
    if (!kinship_find(walk->config, &warning)) {
        const struct server_config *unread = find_unread(walk->config);
        if (unread != NULL)
            check_skip(run, CHECK_ID_gateway_own_ca, "tls_cert_file \"%s\" of [%s] cannot be read",
                       unread->settings.tls_cert_file, unread->name);
        else
            check_pass(run, CHECK_ID_gateway_own_ca, "no certificate of PostgreSQL's is of that CA");
        return;
    }
    finding_seen(&finding, "tls_ca_file \"%s\"", run->server->settings.tls_ca_file);
    finding_cause(&finding, CHECK_ID_gateway_own_ca, "%s.", warning.message);
    finding.cause[0] = (char)toupper((unsigned char)finding.cause[0]);
    finding_fix(&finding, "%s", warning.hint);
    check_warn(run, &finding);
}

/* Each once, in however many lists it stands. */
static void add_certificates(const char *list, char names[NAMES_SIZE])
{
    char *copy SCOPED(scoped_free) = memory_copy_text(list);
    char *rest = copy;

    for (char *name; (name = strsep(&rest, ", \t")) != NULL;) {
        size_t used = strlen(names);
        bool is_certificate = text_starts_with(name, "cert:") || text_starts_with(name, "san:");
        if (is_certificate && !config_list_has(names, name, NULL, 0))
            snprintf(names + used, NAMES_SIZE - used, "%s%s", used == 0 ? "" : ", ", name);
    }
}

static void look_at_clients(struct gateway_walk *walk)
{
    const struct config *config = walk->config;
    struct finding finding = {.check = CHECK_ID_gateway_clients};
    char admins[NAMES_SIZE] = "", others[NAMES_SIZE] = "";

    add_certificates(config->settings.admins, admins);
    add_certificates(config->settings.monitors, others);
    for (size_t i = 0; i < config->server_count; i++) {
        add_certificates(config->servers[i].settings.restorers, others);
        add_certificates(config->servers[i].settings.monitors, others);
    }
    if (admins[0] != '\0' || others[0] != '\0') {
        check_pass(&walk->run, CHECK_ID_gateway_clients, "%s%s%s%s", others,
                   others[0] != '\0' && admins[0] != '\0' ? "; " : "",
                   admins[0] == '\0' ? "" : "every command: ", admins);
        return;
    }
    finding_seen(&finding, "no entry cert:NAME or san:NAME in restorers, monitors and admins");
    finding_cause(&finding, CHECK_ID_gateway_clients,
                  "The gateway lets in who has a certificate of its CA, and then gives nobody a right: no list names a "
                  "certificate.");
    finding_fix(&finding, "Name the database host's certificate in the section of its server: restorers = cert:NAME, "
                          "with NAME its CN; then pgcoffer reload");
    check_warn(&walk->run, &finding);
}

/* ---- the port ---- */

static void fail_port(struct gateway_walk *walk, const struct tls_probe *probe)
{
    const char *host = listens_on(walk->config);
    long port = walk->config->settings.management;
    struct finding finding = {.check = CHECK_ID_gateway_port};

    finding_seen(&finding, "%s", probe->words);
    finding_cause(&finding, CHECK_ID_gateway_port, "No gateway answers at %s port %ld: %s.", host, port, probe->words);
    finding_fix(&finding, "pgcoffer status tells what keeps it from listening; with a new management or host in the "
                          "file: pgcoffer reload. Who has the port now: ss -ltnp");
    check_fail(&walk->run, &finding);
}

static void fail_older(struct gateway_walk *walk, X509 *served)
{
    const char *path = walk->view.settings.tls_cert_file;
    struct finding finding = {.check = CHECK_ID_gateway_port};
    char phrase[CERTIFICATE_PHRASE_SIZE];

    certificate_phrase(served, phrase);
    finding_seen(&finding, "served: %s", phrase);
    finding_cause(&finding, CHECK_ID_gateway_port,
                  "The gateway serves another certificate than the one in \"%s\": what lies there was not taken up, or "
                  "another program has the port.",
                  path);
    finding_fix(&finding, "A renewed file is taken up within seconds: check once more. If it stays so, pgcoffer status "
                          "and journalctl -u pgcofferd tell why; pgcoffer reload if the setting is new.");
    check_fail(&walk->run, &finding);
}

static void look_at_port(struct gateway_walk *walk)
{
    struct check_run *run = &walk->run;
    enum check_id obstacle = check_pair_obstacle(run, &rows);
    struct tls_probe probe;

    if (run->request->options.is_passive)
        return;
    if (!walk->is_running || obstacle != CHECK_ID_NOTHING) {
        if (obstacle != CHECK_ID_NOTHING)
            check_block(run, CHECK_ID_gateway_port, obstacle);
        else
            check_skip(run, CHECK_ID_gateway_port, "the daemon does not answer");
        return;
    }
    run->prober = walk->view;
    check_probe_unverified(run, (struct tls_probe_request){0}, &probe);
    X509 *served = sk_X509_value(probe.chain, 0);
    if (served == NULL)
        fail_port(walk, &probe);
    else if (X509_cmp(served, sk_X509_value(run->own, 0)) != 0)
        fail_older(walk, served);
    else
        check_pass(run, CHECK_ID_gateway_port, "%s port %ld serves the certificate of tls_cert_file", probe.address,
                   walk->config->settings.management);
    tls_probe_done(&probe);
}

/* ---- all of it ---- */

static bool is_any_wanted(const struct check_options *options)
{
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (options->is_wanted[id] && check_rows[id].level == CHECK_LEVEL_GATEWAY)
            return true;
    return false;
}

static void look(struct gateway_walk *walk)
{
    struct check_run *run = &walk->run;

    check_pair_files(run, &rows);
    look_at_kinship(walk);
    if (check_may(run, CHECK_ID_gateway_chain)) {
        look_at_chain(run);
        look_at_name(walk);
    }
    look_at_clients(walk);
    look_at_port(walk);
    check_run_settle(run, CHECK_LEVEL_GATEWAY, CHECK_LEVEL_GATEWAY);
}

bool check_gateway(const struct config *config, const struct check_options *options, bool is_running, check_sink *sink,
                   void *context, struct error *err)
{
    struct gateway_walk *walk SCOPED(scoped_free) = memory_new(sizeof *walk);

    if (config->settings.management == 0 || !is_any_wanted(options))
        return true;
    walk->config = config;
    walk->is_running = is_running;
    walk->view.settings = config->settings;
    walk->view.is_gateway = true;
    snprintf(walk->view.name, sizeof walk->view.name, "pgcoffer");
    snprintf(walk->view.settings.host, sizeof walk->view.settings.host, "%s", listens_on(config));
    walk->view.settings.port = config->settings.management;
    walk->request = (struct check_request){.server = &walk->view, .options = *options, .interrupt_fd = -1};
    walk->request.options.is_wanted[CHECK_ID_gateway_running] = false;
    walk->run.request = &walk->request;
    walk->run.server = &walk->view;
    walk->run.patience = (int64_t)config->settings.connect_timeout * 1000000;
    look(walk);
    bool is_told = check_run_tell(&walk->run, CHECK_LEVEL_GATEWAY, CHECK_LEVEL_GATEWAY, sink, context, err);
    check_run_done(&walk->run);
    return is_told;
}
