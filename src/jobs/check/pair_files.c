#include <openssl/x509v3.h>

#include "jobs/check/files_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"

/*
 * What a client of a gateway has, and what the gateway itself has: a certificate with its key, the CA of the other
 * side, and perhaps its revocation list. tls/files.h knows their faults by the names they have with PostgreSQL.
 */

static bool has_no_fault(struct check_run *run, enum check_id id, enum check_id known_as)
{
    struct finding finding = {0};

    if (!tls_files_fault(run->server, known_as, &finding))
        return true;
    finding.check = id;
    check_fail(run, &finding);
    return false;
}

/* One that is over may lie beside its successor. */
static STACK_OF(X509) * choose_current(STACK_OF(X509) * certificates)
{
    STACK_OF(X509) *chosen = sk_X509_new_null();

    for (int i = 0; chosen != NULL && i < sk_X509_num(certificates); i++)
        if (certificate_is_current(sk_X509_value(certificates, i)))
            sk_X509_push(chosen, sk_X509_value(certificates, i));
    return chosen;
}

static void look_at_authorities(struct check_run *run, const struct pair_rows *rows)
{
    const char *path = tls_files_ca_path(&run->server->settings);
    char what[CONFIG_TEXT_SIZE + 64];
    struct error err = {0};

    if (!has_no_fault(run, rows->ca, CHECK_ID_file_ca) || !has_no_fault(run, rows->ca, CHECK_ID_expiry_ca))
        return;
    if (!certificate_read_all(path, &run->trusted, &err)) {
        check_fail_error(run, rows->ca, &err);
        return;
    }
    int count = sk_X509_num(run->trusted);
    STACK_OF(X509) *current = choose_current(run->trusted);
    /* Which of a bundle's CAs are of use is not known before the handshake. */
    if (count <= TLS_MOST_OWN_AUTHORITIES) {
        snprintf(what, sizeof what, "the CA in tls_ca_file \"%s\"", path);
        check_expiry(run, rows->ca, current, what,
                     "Add its successor to the file, and give out certificates of that one; no restart is needed.");
    } else {
        check_pass(run, rows->ca, "\"%s\" holds %d certificates", path, count);
    }
    sk_X509_free(current);
}

static void look_at_list(struct check_run *run, const struct pair_rows *rows)
{
    if (text_is_empty(run->server->settings.tls_crl_file))
        check_skip(run, rows->crl, "tls_crl_file is not configured");
    else if (has_no_fault(run, rows->crl, CHECK_ID_file_crl))
        check_list_dates(run, rows->crl);
}

static void fail_usage(struct check_run *run, const struct pair_rows *rows, X509 *leaf)
{
    struct finding finding = {.check = rows->certificate};
    struct certificate_text text;

    certificate_describe(leaf, &text);
    finding_seen(&finding, "\"%s\", issued by \"%s\"", text.subject, text.issuer);
    finding_cause(&finding, rows->certificate,
                  "The certificate \"%s\" in tls_cert_file \"%s\" is none for this end: its extended key usage lacks "
                  "%s.",
                  text.subject, run->server->settings.tls_cert_file, rows->usage_word);
    finding_fix(&finding, "Let your CA issue it with extendedKeyUsage = %s, and replace \"%s\".", rows->usage_word,
                run->server->settings.tls_cert_file);
    check_fail(run, &finding);
}

static void look_at_certificate(struct check_run *run, const struct pair_rows *rows)
{
    const char *path = run->server->settings.tls_cert_file;
    char what[CONFIG_TEXT_SIZE + 64], fix[CONFIG_TEXT_SIZE + 64];
    struct certificate_text text;
    struct error err = {0};

    if (!has_no_fault(run, rows->certificate, CHECK_ID_file_certificate))
        return;
    if (!certificate_read_all(path, &run->own, &err)) {
        check_fail_error(run, rows->certificate, &err);
        return;
    }
    X509 *leaf = sk_X509_value(run->own, 0);
    if (!certificate_allows_usage(leaf, rows->usage)) {
        fail_usage(run, rows, leaf);
        return;
    }
    certificate_describe(leaf, &text);
    check_pass(run, rows->certificate, "\"%s\" holds \"%s\", issued by \"%s\"", path, text.subject, text.issuer);
    snprintf(what, sizeof what, "%s in \"%s\"", rows->what, path);
    snprintf(fix, sizeof fix, "Renew it and replace \"%s\"; no restart is needed.", path);
    check_expiry(run, rows->expiry, run->own, what, fix);
}

/* What is said of the pair belongs to the certificate when that is at fault. */
static void look_at_key(struct check_run *run, const struct pair_rows *rows)
{
    const char *path = run->server->settings.tls_key_file;

    if (!has_no_fault(run, rows->key, CHECK_ID_file_key) || !has_no_fault(run, rows->key, CHECK_ID_key_mode))
        return;
    check_pass(run, rows->key, "\"%s\" holds a private key, and keeps others out", path);
    if (run->own == NULL)
        check_block(run, rows->match, rows->certificate);
    else if (has_no_fault(run, rows->match, CHECK_ID_key_match))
        check_pass(run, rows->match, "the key belongs to the certificate");
}

void check_pair_files(struct check_run *run, const struct pair_rows *rows)
{
    look_at_authorities(run, rows);
    look_at_list(run, rows);
    look_at_certificate(run, rows);
    look_at_key(run, rows);
}

/* One that ends soon is told as a failure, and still serves. */
static bool is_still_of_use(const struct check_result *result)
{
    return result->measure.unit != NULL && result->measure.value >= 0;
}

enum check_id check_pair_obstacle(const struct check_run *run, const struct pair_rows *rows)
{
    const enum check_id ids[] = {rows->ca, rows->crl, rows->certificate, rows->key, rows->match, rows->expiry};

    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (check_has_failed(run, ids[i]) && !is_still_of_use(&run->results[ids[i]]))
            return ids[i];
    return CHECK_ID_NOTHING;
}
