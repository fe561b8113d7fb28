#include <openssl/x509v3.h>

#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"
#include "tls/diagnosis_internal.h"

#define RELOAD "then SELECT pg_reload_conf();"

/* Our chain, as far as the server gets to see it, and what is beyond. */
struct shown_chain {
    struct refusal *refusal;
    struct diagnosis *diagnosis;
    STACK_OF(X509_NAME) * accepted;
    STACK_OF(X509) * path; /* the leaf and the intermediates that are shown; the certificates belong to the refusal */
    X509 *leaf, *top;
    char issuer[256]; /* of top: the first that the server would have to know */
};

/* OpenSSL adds nothing to a file of several certificates, and completes one alone from tls_ca_file. */
static void follow(struct shown_chain *chain)
{
    const struct refusal *refusal = chain->refusal;
    bool is_alone = sk_X509_num(refusal->ours) == 1;
    int most = sk_X509_num(refusal->ours) + sk_X509_num(refusal->trusted);

    chain->top = chain->leaf;
    for (int step = 0; step < most; step++) {
        if (chain->top == chain->leaf || !certificate_is_self_issued(chain->top))
            sk_X509_push(chain->path, chain->top);
        if (certificate_is_self_issued(chain->top))
            break;
        X509 *next = certificate_find_subject(refusal->ours, X509_get_issuer_name(chain->top));
        if (next == NULL && is_alone)
            next = certificate_find_subject(refusal->trusted, X509_get_issuer_name(chain->top));
        if (next == NULL)
            break;
        chain->top = next;
    }
    certificate_name_format(X509_get_issuer_name(chain->top), chain->issuer, sizeof chain->issuer);
}

static bool is_issuer_on_path_accepted(const struct shown_chain *chain)
{
    for (int i = 0; i < sk_X509_num(chain->path); i++)
        if (certificate_name_stands_in(chain->accepted, X509_get_issuer_name(sk_X509_value(chain->path, i))))
            return true;
    return false;
}

static void tell(struct shown_chain *chain, const char *cause)
{
    finding_cause(chain->diagnosis->finding, CHECK_ID_identity_chain, "The server refused %s: %s.", chain->refusal->who,
                  cause);
}

static void tell_other_key(struct shown_chain *chain)
{
    char cause[512];

    snprintf(
        cause, sizeof cause,
        "it accepts a CA named \"%s\", but that one has another key than the CA that signed ours: it was made anew "
        "under its old name",
        chain->issuer);
    tell(chain, cause);
    finding_fix(
        chain->diagnosis->finding,
        "Get a new certificate from the present CA \"%s\", or append the CA that signed this one to ssl_ca_file "
        "on the server, " RELOAD,
        chain->issuer);
}

static void tell_missing_list(struct shown_chain *chain)
{
    bool is_known_as_root = certificate_is_self_issued(chain->top);

    finding_cause(chain->diagnosis->finding, CHECK_ID_identity_revocation,
                  "The server refused %s as of an unknown CA, although it does know \"%s\": in its ssl_crl_file the "
                  "revocation list of a CA of the chain is missing%s.",
                  chain->refusal->who, chain->issuer,
                  is_known_as_root ? "" : ", or that CA is an intermediate and its ssl_ca_file lacks what is above it");
    finding_fix(chain->diagnosis->finding,
                "On the server put the lists of all CAs of the chain, \"%s\" and those below and above it, into "
                "ssl_crl_file, or unset it; " RELOAD,
                chain->issuer);
}

static void tell_missing_root(struct shown_chain *chain)
{
    char cause[512];

    snprintf(cause, sizeof cause,
             "its ssl_ca_file holds an intermediate CA of ours, but not the root \"%s\" above it, and OpenSSL follows "
             "the chain to its end",
             chain->issuer);
    tell(chain, cause);
    finding_fix(chain->diagnosis->finding,
                "Append the root's certificate, \"%s\", to ssl_ca_file on the server, " RELOAD, chain->issuer);
}

static void tell_self_signed(struct shown_chain *chain)
{
    char cause[640];

    snprintf(cause, sizeof cause, "it is self-signed, and the server accepts certificates of %s",
             chain->refusal->accepted);
    tell(chain, cause);
    finding_fix(chain->diagnosis->finding, "Let one of these CAs sign the client certificate, and put it into \"%s\".",
                chain->diagnosis->server->settings.tls_cert_file);
}

static void tell_missing_intermediate(struct shown_chain *chain)
{
    char cause[1024];

    snprintf(cause, sizeof cause,
             "tls_cert_file lacks the intermediate CA \"%s\" that signed it; the server accepts %s and cannot find the "
             "way there",
             chain->issuer, chain->refusal->accepted);
    tell(chain, cause);
    finding_fix(
        chain->diagnosis->finding,
        "Append the intermediate \"%s\" to \"%s\", behind the client certificate: cat INTERMEDIATE.crt >> \"%s\"",
        chain->issuer, chain->diagnosis->server->settings.tls_cert_file,
        chain->diagnosis->server->settings.tls_cert_file);
}

/* Is every CA the server accepts for clients one that stands for servers here? */
static bool accepts_servers_only(const struct shown_chain *chain)
{
    int count = sk_X509_NAME_num(chain->accepted);

    for (int i = 0; i < count; i++) {
        const X509_NAME *name = sk_X509_NAME_value(chain->accepted, i);
        if (certificate_find_subject(chain->refusal->trusted, name) == NULL &&
            certificate_find_subject(chain->diagnosis->probe->chain, name) == NULL)
            return false;
    }
    return count > 0;
}

static void tell_foreign(struct shown_chain *chain, bool may_be_intermediate)
{
    struct finding *finding = chain->diagnosis->finding;
    int count = sk_X509_NAME_num(chain->accepted);
    char cause[1024];

    if (accepts_servers_only(chain)) {
        snprintf(cause, sizeof cause,
                 "it does not know CA \"%s\", for it accepts clients of the server's own CA only, %s%s", chain->issuer,
                 chain->refusal->accepted,
                 may_be_intermediate ? "; or this is an intermediate of it, which belongs into tls_cert_file too" : "");
        tell(chain, cause);
        finding_fix(
            finding,
            "If \"%s\" is your client CA, set ssl_ca_file on the server to it instead of the CA of the server's "
            "certificate, " RELOAD " If not, get a client certificate of a CA the server accepts.",
            chain->issuer);
        return;
    }
    if (count > TLS_MOST_OWN_AUTHORITIES)
        snprintf(cause, sizeof cause,
                 "its ssl_ca_file is a bundle of %d CAs, and it does not know CA \"%s\", which is not among them",
                 count, chain->issuer);
    else
        snprintf(cause, sizeof cause, "it does not know CA \"%s\", it accepts certificates of %s%s", chain->issuer,
                 chain->refusal->accepted,
                 may_be_intermediate ? "; or this is an intermediate of those, which belongs into tls_cert_file too"
                                     : "");
    tell(chain, cause);
    if (count > TLS_MOST_OWN_AUTHORITIES) {
        finding_fix(finding,
                    "Let ssl_ca_file on the server be a file that holds the certificate of \"%s\" alone "
                    "(of the root above it, if it is an intermediate), " RELOAD,
                    chain->issuer);
        return;
    }
    finding_fix(finding,
                "Append the certificate of \"%s\" to ssl_ca_file on the server, " RELOAD
                " Or get a certificate of a CA the server accepts%s.",
                chain->issuer,
                may_be_intermediate ? ", or, if it is an intermediate of one, append it to tls_cert_file" : "");
}

/* A CA in our own file that is none. */
static X509 *find_no_authority(const struct refusal *refusal)
{
    for (int i = 1; i < sk_X509_num(refusal->ours); i++) {
        X509 *certificate = sk_X509_value(refusal->ours, i);
        if (certificate_find_subject(refusal->ours, X509_get_subject_name(certificate)) == certificate &&
            (X509_check_ca(certificate) == 0 || (X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) == 0))
            return certificate;
    }
    return NULL;
}

static void tell_no_authority(struct shown_chain *chain, X509 *certificate)
{
    char subject[256], cause[640];

    certificate_name_format(X509_get_subject_name(certificate), subject, sizeof subject);
    snprintf(cause, sizeof cause,
             "\"%s\" behind it is no CA (it lacks basicConstraints CA:TRUE or keyUsage keyCertSign), so what it signed "
             "counts for nothing",
             subject);
    tell(chain, cause);
    finding_fix(chain->diagnosis->finding,
                "Issue \"%s\" anew with basicConstraints = critical,CA:TRUE, and replace it in tls_cert_file.",
                subject);
}

/* The CA of that name is at hand here, and its key did not sign what it should have. */
static bool has_other_key(const struct shown_chain *chain)
{
    X509_NAME *name = X509_get_issuer_name(chain->top);
    X509 *issuer = certificate_find_subject(chain->refusal->ours, name);

    if (issuer == NULL)
        issuer = certificate_find_subject(chain->refusal->trusted, name);
    return issuer != NULL && X509_verify(chain->top, X509_get0_pubkey(issuer)) != 1;
}

static void tell_known(struct shown_chain *chain)
{
    switch (diagnosis_show_forgery(chain->diagnosis, chain->path)) {
    case FORGERY_UNKNOWN_CA:
        tell_missing_list(chain);
        return;
    case FORGERY_BAD_SIGNATURE:
        tell_other_key(chain);
        return;
    case FORGERY_UNTOLD:
        if (has_other_key(chain))
            tell_other_key(chain);
        else
            tell_missing_list(chain);
    }
}

static void explain(struct shown_chain *chain)
{
    X509 *no_authority = find_no_authority(chain->refusal);

    if (no_authority != NULL)
        tell_no_authority(chain, no_authority);
    else if (chain->top == chain->leaf && certificate_is_self_issued(chain->leaf))
        tell_self_signed(chain);
    else if (sk_X509_NAME_num(chain->accepted) <= 0)
        tell_foreign(chain, true);
    else if (certificate_name_stands_in(chain->accepted, X509_get_issuer_name(chain->top)))
        tell_known(chain);
    else if (is_issuer_on_path_accepted(chain))
        tell_missing_root(chain);
    else {
        bool is_alone = chain->top == chain->leaf;
        enum kinship kinship = diagnosis_find_kinship(chain->top, is_alone, chain->accepted, chain->refusal->trusted);
        if (kinship == KINSHIP_INTERMEDIATE && is_alone)
            tell_missing_intermediate(chain);
        else
            tell_foreign(chain, kinship == KINSHIP_UNKNOWN && is_alone);
    }
}

void diagnosis_explain_unknown(struct refusal *refusal)
{
    struct shown_chain chain = {
        .refusal = refusal,
        .diagnosis = refusal->diagnosis,
        .accepted = refusal->diagnosis->probe->accepted,
        .path = sk_X509_new_null(),
        .leaf = sk_X509_value(refusal->ours, 0),
    };

    follow(&chain);
    explain(&chain);
    sk_X509_free(chain.path);
}
