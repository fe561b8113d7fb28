#include <openssl/x509v3.h>
#include <string.h>

#include "jobs/check/files_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"

#define SECONDS_PER_DAY INT64_C(86400)

bool check_has_signed(X509 *issuer, X509 *certificate)
{
    return X509_NAME_cmp(X509_get_subject_name(issuer), X509_get_issuer_name(certificate)) == 0 &&
           X509_verify(certificate, X509_get0_pubkey(issuer)) == 1;
}

/* A renewed CA keeps name and key: of several that fit, OpenSSL goes by one that is valid. */
X509 *check_find_issuer(STACK_OF(X509) * list, X509 *certificate)
{
    X509 *issuer = NULL;

    for (int i = 0; i < sk_X509_num(list); i++) {
        X509 *candidate = sk_X509_value(list, i);
        if (check_has_signed(candidate, certificate) &&
            (issuer == NULL || ASN1_TIME_compare(X509_get0_notAfter(candidate), X509_get0_notAfter(issuer)) > 0))
            issuer = candidate;
    }
    return issuer;
}

bool check_is_in_order(STACK_OF(X509) * chain)
{
    for (int i = 1; i < sk_X509_num(chain); i++)
        if (!check_has_signed(sk_X509_value(chain, i), sk_X509_value(chain, i - 1)))
            return false;
    return true;
}

int check_find_stranger(STACK_OF(X509) * chain)
{
    for (int i = 1; i < sk_X509_num(chain); i++) {
        bool has_signed = false;
        for (int other = 0; other < sk_X509_num(chain) && !has_signed; other++)
            has_signed = other != i && check_has_signed(sk_X509_value(chain, i), sk_X509_value(chain, other));
        if (!has_signed)
            return i;
    }
    return -1;
}

bool check_is_authority(X509 *certificate)
{
    /* 3: a self-signed certificate of version 1; OpenSSL lets it sign. */
    return X509_check_ca(certificate) != 0;
}

bool check_ends_with_authority(struct check_run *run, X509 *certificate)
{
    struct certificate_text text, authority_text;
    bool is_ending = check_is_set(run, CHECK_ID_expiry_ca) && (run->results[CHECK_ID_expiry_ca].state == CHECK_WARN ||
                                                               run->results[CHECK_ID_expiry_ca].state == CHECK_FAIL);
    X509 *authority = is_ending ? check_find_issuer(run->trusted, certificate) : NULL;

    if (authority == NULL || X509_cmp(authority, certificate) == 0)
        return false;
    certificate_describe(certificate, &text);
    certificate_describe(authority, &authority_text);
    return text.days_left >= 0 &&
           text.not_after.microseconds + SECONDS_PER_DAY * 1000000 >= authority_text.not_after.microseconds;
}

/* ---- expiry.ca ---- */

static void judge_dates(struct check_run *run, X509 *authority)
{
    const char *path = tls_files_ca_path(&run->server->settings);
    STACK_OF(X509) *only = sk_X509_new_null();
    char what[CONFIG_TEXT_SIZE + 64], fix[CONFIG_TEXT_SIZE + 256];

    if (only == NULL || !sk_X509_push(only, authority)) {
        sk_X509_free(only);
        return;
    }
    snprintf(what, sizeof what, "the CA certificate in tls_ca_file \"%s\"", path);
    snprintf(fix, sizeof fix,
             "Renew the CA: make its next certificate, append it to \"%s\" on every client, then let it sign the "
             "server's certificate anew.",
             path);
    check_expiry(run, CHECK_ID_expiry_ca, only, what, fix);
    sk_X509_free(only);
}

/* Old roots may lie beside the current one. Which of them counts is known once the server has shown its chain: until
 * then the one that lasts longest does. */
static void look_at_dates(struct check_run *run)
{
    X509 *longest = sk_X509_value(run->trusted, 0);
    struct finding finding = {.check = CHECK_ID_expiry_ca};

    if (tls_files_fault(run->server, CHECK_ID_expiry_ca, &finding))
        check_fail(run, &finding);
    for (int i = 1; i < sk_X509_num(run->trusted); i++) {
        X509 *other = sk_X509_value(run->trusted, i);
        if (ASN1_TIME_compare(X509_get0_notAfter(other), X509_get0_notAfter(longest)) > 0)
            longest = other;
    }
    judge_dates(run, longest);
}

/* ---- chain.ca ---- */

static bool is_bundle(const struct check_run *run)
{
    return strcmp(run->server->settings.tls_ca_file, "system") == 0 ||
           sk_X509_num(run->trusted) > TLS_MOST_OWN_AUTHORITIES || check_holds_public(run->trusted);
}

static void warn_of_bundle(struct check_run *run)
{
    struct finding finding = {0};
    const char *path = tls_files_ca_path(&run->server->settings);

    finding_seen(&finding, "\"%s\" holds %d certificates", path, sk_X509_num(run->trusted));
    finding_cause(&finding, CHECK_ID_chain_ca,
                  "tls_ca_file \"%s\" holds %d certificates, with those of public authorities among them, and tls_mode "
                  "is not verify-full: anybody can get a certificate of a public authority and stand in for %s.",
                  path, sk_X509_num(run->trusted), check_host(run));
    finding_fix(&finding, "Set tls_mode = verify-full, or put only the CA into tls_ca_file that signed the server's "
                          "certificate.");
    check_warn(run, &finding);
}

static void look_at_kind(struct check_run *run)
{
    bool has_authority = false;

    for (int i = 0; i < sk_X509_num(run->trusted); i++)
        has_authority = has_authority || check_is_authority(sk_X509_value(run->trusted, i)) ||
                        certificate_is_self_issued(sk_X509_value(run->trusted, i));
    if (config_tls_mode(&run->server->settings) != TLS_VERIFY_FULL && is_bundle(run))
        warn_of_bundle(run);
    else if (has_authority) /* one without may be just what the handshake fails for: it tells */
        check_pass(run, CHECK_ID_chain_ca, "%d CA certificate%s", sk_X509_num(run->trusted),
                   sk_X509_num(run->trusted) == 1 ? "" : "s");
}

void check_authorities(struct check_run *run)
{
    look_at_dates(run);
    look_at_kind(run);
}

/* ---- with the server's certificates ---- */

/* Pinning the server's own certificate is fine as long as nobody takes it for a CA of clients. */
static void look_at_pinned(struct check_run *run, X509 *leaf)
{
    struct finding finding = {0};
    struct certificate_text text;
    X509 *own = sk_X509_value(run->own, 0);
    bool signs_clients = own != NULL && check_has_signed(leaf, own);

    if (!certificate_stands_in(run->trusted, leaf) || !check_is_authority(leaf) ||
        !(signs_clients || certificate_name_stands_in(run->bare.accepted, X509_get_subject_name(leaf))))
        return;
    certificate_describe(leaf, &text);
    finding_seen(&finding, "\"%s\", fingerprint %s, is served, lies in tls_ca_file%s", text.subject, text.fingerprint,
                 signs_clients ? ", and signed the client certificate" : ", and is a CA of clients to the server");
    finding_cause(&finding, CHECK_ID_chain_ca,
                  "The CA \"%s\" is the server's own certificate: every copy of server.key, and each standby has one, "
                  "is the key of a CA that can sign a login for every role, also for superusers.",
                  text.subject);
    finding_fix(&finding,
                "Make a CA of your own, whose key lies on neither machine (pgcoffer tls init DIRECTORY makes a first "
                "one), let it sign the server's and the client's certificates, and put it into \"%s\" and the server's "
                "ssl_ca_file.",
                run->server->settings.tls_ca_file);
    check_warn(run, &finding);
}

void check_authorities_served(struct check_run *run)
{
    X509 *leaf = sk_X509_value(run->bare.chain, 0);
    X509 *top = leaf;
    int count = sk_X509_num(run->bare.chain);

    if (leaf == NULL || run->trusted == NULL || !check_is_set(run, CHECK_ID_chain_server) ||
        check_has_failed(run, CHECK_ID_chain_server))
        return;
    /* Up through what was sent until tls_ca_file knows the issuer. */
    X509 *authority = check_find_issuer(run->trusted, top);
    for (int step = 0; authority == NULL && step < count; step++) {
        X509 *next = check_find_issuer(run->bare.chain, top);
        if (next == NULL || next == top)
            break;
        top = next;
        authority = check_find_issuer(run->trusted, top);
    }
    /* Intermediates of tls_ca_file count as well as the root above them. */
    for (int step = 0; authority != NULL && step < sk_X509_num(run->trusted); step++) {
        if (X509_cmp(authority, leaf) != 0)
            judge_dates(run, authority);
        X509 *next = check_find_issuer(run->trusted, authority);
        if (next == authority)
            break;
        authority = next;
    }
    look_at_pinned(run, leaf);
    check_pass(run, CHECK_ID_chain_ca, "the server's certificate leads to a CA in it");
}
