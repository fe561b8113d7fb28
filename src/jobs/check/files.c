#include "pgcoffer/tls/files.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "jobs/check/expiry_internal.h"
#include "jobs/check/files_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"

/* Asks tls/files.h; true when the check may be passed. */
static bool has_no_fault(struct check_run *run, enum check_id id)
{
    struct finding finding = {.check = id};

    if (!tls_files_fault(run->server, id, &finding))
        return true;
    check_fail(run, &finding);
    if (finding.check != id)
        check_block(run, id, finding.check);
    return false;
}

/* "Set tls_mode = verify-full ...", where the user says it. */
static void advise_mode(const struct check_run *run, struct finding *finding, const char *rest)
{
    if (run->server->name[0] != '\0')
        finding_fix(finding, "Set tls_mode = verify-full in section [%s]%s", run->server->name, rest);
    else
        finding_fix(finding, "Set tls_mode = verify-full (--tls-mode=verify-full)%s", rest);
}

static void fail_unverified(struct check_run *run)
{
    struct finding finding = {0};

    if (config_tls_mode(&run->server->settings) == TLS_DISABLE)
        finding_cause(&finding, CHECK_ID_protocol_mode,
                      "With tls_mode = disable everything goes over the network in the clear: the backup, the WAL and "
                      "whatever proves the role.");
    else
        finding_cause(&finding, CHECK_ID_protocol_mode,
                      "With tls_mode = require the connection is encrypted, but nothing proves who the server is: "
                      "whoever answers instead of %s is given the password, or hands out a false backup.",
                      check_host(run));
    finding_seen(&finding, "tls_mode = %s", run->server->settings.tls_mode);
    advise_mode(run, &finding, " and tls_ca_file to the CA that signed the server's certificate.");
    check_fail(run, &finding);
}

static void look_at_mode(struct check_run *run)
{
    enum tls_mode mode = config_tls_mode(&run->server->settings);

    if (mode == TLS_REQUIRE || mode == TLS_DISABLE)
        fail_unverified(run);
    else if (has_no_fault(run, CHECK_ID_protocol_mode))
        check_pass(run, CHECK_ID_protocol_mode, "tls_mode = %s", run->server->settings.tls_mode);
}

/* Told once tls_ca_file is known: of a public bundle chain.ca tells it, and worse. */
static void warn_of_any_name(struct check_run *run)
{
    struct finding finding = {0};

    if (config_tls_mode(&run->server->settings) != TLS_VERIFY_CA || !check_is_set(run, CHECK_ID_protocol_mode) ||
        (check_is_set(run, CHECK_ID_chain_ca) && run->results[CHECK_ID_chain_ca].state == CHECK_WARN))
        return;
    finding_seen(&finding, "tls_mode = verify-ca");
    finding_cause(&finding, CHECK_ID_protocol_mode,
                  "With tls_mode = verify-ca a certificate of the CA in tls_ca_file is enough, whatever host it is "
                  "for: one with any name can stand in for %s.",
                  check_host(run));
    advise_mode(run, &finding, "; the name in the server's certificate must then be the configured host.");
    check_warn(run, &finding);
}

static void skip_without(struct check_run *run, const enum check_id *ids, size_t count, const char *reason)
{
    for (size_t i = 0; i < count; i++)
        check_skip(run, ids[i], "%s", reason);
}

static void look_at_ca(struct check_run *run)
{
    static const enum check_id all[] = {CHECK_ID_file_ca, CHECK_ID_chain_ca, CHECK_ID_expiry_ca};
    const struct settings *settings = &run->server->settings;
    const char *path = tls_files_ca_path(settings);
    struct error err = {0};

    if (!check_may(run, CHECK_ID_file_ca))
        return;
    if (text_is_empty(settings->tls_ca_file)) {
        skip_without(run, all, sizeof all / sizeof *all, "tls_ca_file is not configured");
        return;
    }
    if (!has_no_fault(run, CHECK_ID_file_ca))
        return;
    if (!certificate_read_all(path, &run->trusted, &err)) {
        check_fail_error(run, CHECK_ID_file_ca, &err);
        return;
    }
    int count = sk_X509_num(run->trusted);
    check_pass(run, CHECK_ID_file_ca, "\"%s\" holds %d certificate%s", path, count, count == 1 ? "" : "s");
    check_authorities(run);
}

/* Of several lists in the file the one that is due first. */
void check_list_dates(struct check_run *run, enum check_id id)
{
    const char *path = run->server->settings.tls_crl_file;
    BIO *bio SCOPED(scoped_bio) = BIO_new_file(path, "r");
    struct check_span span = {0};
    bool has_span = false;
    char fix[CONFIG_TEXT_SIZE + 256];

    for (X509_CRL *list; bio != NULL && (list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL;) {
        struct timestamp end = certificate_time(X509_CRL_get0_nextUpdate(list));
        char issuer[256];
        if (end.microseconds != 0 && (!has_span || end.microseconds < span.not_after.microseconds)) {
            certificate_name_format(X509_CRL_get_issuer(list), issuer, sizeof issuer);
            snprintf(span.what, sizeof span.what, "the revocation list of CA \"%s\" in tls_crl_file \"%.400s\"", issuer,
                     path);
            span.not_before = certificate_time(X509_CRL_get0_lastUpdate(list));
            span.not_after = end;
            has_span = true;
        }
        X509_CRL_free(list);
    }
    ERR_clear_error();
    if (!has_span) {
        check_pass(run, id, "the lists in \"%s\" name no date of the next one", path);
        return;
    }
    span.days_left = certificate_days_left(span.not_after);
    snprintf(fix, sizeof fix,
             "Fetch or make the CA's next list and replace the file, for instance: openssl ca -gencrl -out \"%s\".",
             path);
    check_validity(run, id, &span, fix);
}

static void look_at_crl(struct check_run *run)
{
    static const enum check_id all[] = {CHECK_ID_file_crl, CHECK_ID_expiry_crl};

    if (!check_may(run, CHECK_ID_file_crl))
        return;
    if (text_is_empty(run->server->settings.tls_crl_file)) {
        skip_without(run, all, sizeof all / sizeof *all, "tls_crl_file is not configured");
        return;
    }
    if (!has_no_fault(run, CHECK_ID_file_crl))
        return;
    check_pass(run, CHECK_ID_file_crl, "\"%s\" holds a revocation list", run->server->settings.tls_crl_file);
    (void)has_no_fault(run, CHECK_ID_expiry_crl);
    check_list_dates(run, CHECK_ID_expiry_crl);
}

static void look_at_key(struct check_run *run)
{
    const struct settings *settings = &run->server->settings;

    if (!has_no_fault(run, CHECK_ID_file_key))
        return;
    check_pass(run, CHECK_ID_file_key, "\"%s\" holds a private key without a passphrase", settings->tls_key_file);
    if (has_no_fault(run, CHECK_ID_key_mode))
        check_pass(run, CHECK_ID_key_mode, "owner and mode of \"%s\" keep others out", settings->tls_key_file);
    if (has_no_fault(run, CHECK_ID_key_match))
        check_pass(run, CHECK_ID_key_match, "the key belongs to the certificate");
}

static void look_at_certificate(struct check_run *run)
{
    static const enum check_id all[] = {CHECK_ID_file_certificate,    CHECK_ID_file_key,      CHECK_ID_key_mode,
                                        CHECK_ID_key_match,           CHECK_ID_key_strength,  CHECK_ID_key_authority,
                                        CHECK_ID_chain_order,         CHECK_ID_expiry_client, CHECK_ID_identity_usage,
                                        CHECK_ID_identity_common_name};
    const char *path = run->server->settings.tls_cert_file;
    struct error err = {0};

    if (!check_may(run, CHECK_ID_file_certificate))
        return;
    if (text_is_empty(path)) {
        skip_without(run, all, sizeof all / sizeof *all, "no client certificate is configured");
        return;
    }
    if (!has_no_fault(run, CHECK_ID_file_certificate))
        return;
    if (!certificate_read_all(path, &run->own, &err)) {
        check_fail_error(run, CHECK_ID_file_certificate, &err);
        return;
    }
    int count = sk_X509_num(run->own);
    check_pass(run, CHECK_ID_file_certificate, "\"%s\" holds %d certificate%s", path, count, count == 1 ? "" : "s");
    look_at_key(run);
    check_own_certificate(run);
}

static void look_at_client_dates(struct check_run *run)
{
    const char *path = run->server->settings.tls_cert_file;
    char what[CONFIG_TEXT_SIZE + 64], fix[CONFIG_TEXT_SIZE + 128];

    if (run->own == NULL)
        return;
    (void)has_no_fault(run, CHECK_ID_expiry_client);
    if (check_ends_with_authority(run, sk_X509_value(run->own, 0))) {
        check_pass(run, CHECK_ID_expiry_client, "the client certificate ends with its CA");
        return;
    }
    snprintf(what, sizeof what, "the client certificate in \"%s\"", path);
    snprintf(fix, sizeof fix, "Renew the client certificate and replace \"%s\"; no restart is needed.", path);
    check_expiry(run, CHECK_ID_expiry_client, run->own, what, fix);
}

/* What could not be read is left out of the probes, so that the rest is still told. */
static void prepare_prober(struct check_run *run)
{
    run->prober = *run->server;
    if (run->trusted == NULL)
        run->prober.settings.tls_ca_file[0] = '\0';
    if (run->trusted == NULL || check_has_failed(run, CHECK_ID_file_crl) || check_has_failed(run, CHECK_ID_expiry_crl))
        run->prober.settings.tls_crl_file[0] = '\0';
}

void check_level_files(struct check_run *run)
{
    look_at_mode(run);
    look_at_ca(run);
    warn_of_any_name(run);
    look_at_crl(run);
    look_at_certificate(run);
    look_at_client_dates(run);
    check_password_file(run);
    prepare_prober(run);
}
