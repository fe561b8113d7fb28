#include <openssl/x509v3.h>

#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"
#include "tls/diagnosis_internal.h"

#define RELOAD "then SELECT pg_reload_conf();"

/* The way from the server's certificate upwards, as far as it goes. */
struct lost_way {
    struct diagnosis *diagnosis;
    STACK_OF(X509) * sent;
    STACK_OF(X509) * trusted;
    STACK_OF(X509_NAME) * known; /* subjects of trusted */
    X509 *leaf, *top;            /* the last one sent whose signature still leads here */
    const char *ca_file;
    char leaf_name[256], top_name[256], issuer_name[256]; /* of top */
    char trusted_names[512];
};

static bool has_signed(X509 *issuer, X509 *subject)
{
    return X509_verify(subject, X509_get0_pubkey(issuer)) == 1;
}

/* As OpenSSL looks for it: one that may not is passed over, as if it had never been sent. */
static bool may_sign(X509 *certificate)
{
    return X509_check_ca(certificate) != 0 && (X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) != 0;
}

void diagnosis_tell_no_authority(struct diagnosis *diagnosis, X509 *certificate, bool is_own)
{
    struct finding *finding = diagnosis->finding;
    char subject[256];

    certificate_name_format(X509_get_subject_name(certificate), subject, sizeof subject);
    finding_cause(
        finding, CHECK_ID_chain_server,
        "\"%s\"%s may not sign certificates: it is no CA (basicConstraints CA:TRUE and keyUsage keyCertSign are "
        "needed), yet it signed one in the chain of the server's certificate.",
        subject, is_own ? " in tls_ca_file" : ", sent by the server,");
    finding_fix(
        finding,
        "Issue \"%s\" anew with basicConstraints = critical,CA:TRUE and keyUsage = critical,keyCertSign,cRLSign, "
        "%s",
        subject,
        is_own ? "and put it into tls_ca_file."
               : "and put it behind the server's own certificate into ssl_cert_file on the server, " RELOAD);
}

static X509 *find_top(const struct lost_way *way)
{
    X509 *top = way->leaf;

    for (int step = 0; step < sk_X509_num(way->sent); step++) {
        X509 *next = certificate_find_subject(way->sent, X509_get_issuer_name(top));
        if (next == NULL || next == top || !has_signed(next, top))
            break;
        top = next;
        if (!may_sign(top))
            break;
    }
    return top;
}

static void tell_leaf_as_root(const struct lost_way *way)
{
    struct finding *finding = way->diagnosis->finding;

    finding_cause(
        finding, CHECK_ID_chain_server,
        "tls_ca_file \"%s\" holds the server's certificate \"%s\" itself, not its CA \"%s\": a certificate that "
        "a CA signed is no root.",
        way->ca_file, way->leaf_name, way->issuer_name);
    finding_fix(finding, "Put the certificate of \"%s\", the CA that signed it, into \"%s\".", way->issuer_name,
                way->ca_file);
}

static void tell_twin(const struct lost_way *way)
{
    struct finding *finding = way->diagnosis->finding;

    finding_cause(finding, CHECK_ID_chain_server,
                  "The server's certificate has the same subject as the CA that signed it, \"%s\", so OpenSSL takes it "
                  "for self-signed and looks no further.",
                  way->leaf_name);
    finding_fix(finding,
                "Make a server certificate with a different subject than the CA's, for instance CN=%s, and put it on "
                "the server into ssl_cert_file, " RELOAD,
                tls_host_name(way->diagnosis->server));
}

static void tell_self_signed(const struct lost_way *way)
{
    struct finding *finding = way->diagnosis->finding;

    finding_cause(finding, CHECK_ID_chain_server,
                  "The server's certificate \"%s\" is self-signed and does not stand in tls_ca_file \"%s\" (it holds "
                  "%s).",
                  way->leaf_name, way->ca_file, way->trusted_names);
    finding_fix(finding,
                "If this is your server, copy it over a way you trust into \"%s\"; better, let a CA of "
                "your own sign a new one and put that on the server into ssl_cert_file, " RELOAD,
                way->ca_file);
}

/* A CA of that name is in our file, and its key did not sign. */
static void tell_other_key(const struct lost_way *way, X509 *same_name)
{
    struct finding *finding = way->diagnosis->finding;
    struct certificate_text ours;

    certificate_describe(same_name, &ours);
    finding_cause(
        finding, CHECK_ID_chain_server,
        "The server's certificate \"%s\" was signed by a CA that has the same name, but another key than \"%s\" "
        "in tls_ca_file \"%s\" (fingerprint %.23s..., valid until %s): the CA was made anew, or somebody "
        "imitates it.",
        way->leaf_name, ours.subject, way->ca_file, ours.fingerprint, ours.not_after_text);
    finding_fix(finding, "Fetch the present certificate of that CA over a way you trust and put it into \"%s\".",
                way->ca_file);
}

/* `last` is the one whose issuer is nowhere: the intermediate itself, or one above it that the server sent. */
static void tell_intermediate_without_root(const struct lost_way *way, X509 *intermediate, X509 *last)
{
    struct finding *finding = way->diagnosis->finding;
    char subject[256], issuer[256];

    certificate_name_format(X509_get_subject_name(intermediate), subject, sizeof subject);
    certificate_name_format(X509_get_issuer_name(last), issuer, sizeof issuer);
    finding_cause(
        finding, CHECK_ID_chain_server,
        "tls_ca_file \"%s\" holds the intermediate CA \"%s\" without the root above it, \"%s\": OpenSSL follows "
        "the chain to its end.",
        way->ca_file, subject, issuer);
    finding_fix(finding, "Add the certificate of the root \"%s\" to \"%s\".", issuer, way->ca_file);
}

/* Name and key fit, and still OpenSSL does not take it for the issuer. */
static void tell_odd_root(const struct lost_way *way, X509 *root)
{
    struct finding *finding = way->diagnosis->finding;
    struct certificate_text text;

    certificate_describe(root, &text);
    finding_cause(
        finding, CHECK_ID_chain_server,
        "The CA \"%s\" in tls_ca_file \"%s\" has the key that signed \"%s\", but is not taken for its issuer: "
        "%s. Its key identifiers or usages contradict the certificate's.",
        text.subject, way->ca_file, way->top_name, X509_verify_cert_error_string(way->diagnosis->probe->verify_error));
    finding_fix(finding,
                "Compare both: openssl x509 -in \"%s\" -noout -text, subjectKeyIdentifier and keyUsage there, "
                "authorityKeyIdentifier in the server's; then issue the server's certificate anew.",
                way->ca_file);
}

static void tell_broken_chain(const struct lost_way *way)
{
    struct finding *finding = way->diagnosis->finding;

    finding_cause(finding, CHECK_ID_chain_server,
                  "The server sends a CA \"%s\" along that did not sign \"%s\", though it has the right name: it is of "
                  "another time, or of another key.",
                  way->issuer_name, way->top_name);
    finding_fix(finding,
                "Put the certificate of \"%s\" that signed it behind the server's own into ssl_cert_file on the "
                "server, " RELOAD,
                way->issuer_name);
}

static void tell_missing_intermediate(const struct lost_way *way)
{
    struct finding *finding = way->diagnosis->finding;
    int count = sk_X509_num(way->sent);

    finding_cause(
        finding, CHECK_ID_chain_sent,
        "The server does not send the intermediate CA \"%s\" that signed \"%s\" (%d certificate%s came), and it "
        "is not in tls_ca_file \"%s\" either (it holds %s). If that CA is none of yours, somebody else answers "
        "at %s.",
        way->issuer_name, way->top_name, count, count == 1 ? "" : "s", way->ca_file, way->trusted_names,
        tls_host_name(way->diagnosis->server));
    finding_fix(finding,
                "On the server append the intermediate to ssl_cert_file, behind the server's own certificate: cat "
                "INTERMEDIATE.crt >> SERVER.crt, " RELOAD " With certbot it is fullchain.pem instead of cert.pem.");
}

static void tell_other_authority(const struct lost_way *way, bool may_be_intermediate)
{
    struct finding *finding = way->diagnosis->finding;
    const struct server_config *server = way->diagnosis->server;
    const char *host = tls_host_name(server);
    X509 *end = certificate_is_self_issued(way->top) ? way->top : NULL;
    const char *authority = end != NULL ? way->top_name : way->issuer_name;
    char setting[TLS_SETTING_NAME_SIZE], through[300] = "", put[CONFIG_TEXT_SIZE + 128];

    if (way->top != way->leaf && end == NULL)
        snprintf(through, sizeof through, ", through \"%s\",", way->top_name);
    if (sk_X509_num(way->trusted) > TLS_MOST_OWN_AUTHORITIES) /* not ours to add to: the distribution writes it anew */
        snprintf(put, sizeof put, "write its certificate into a file of its own and set %s to that",
                 tls_setting_name(server, "tls_ca_file", setting));
    else
        snprintf(put, sizeof put, "add its certificate to \"%s\"", way->ca_file);
    finding_cause(
        finding, CHECK_ID_chain_server,
        "The server's certificate \"%s\" was signed%s by \"%s\", which is not in tls_ca_file \"%s\" (it holds "
        "%s): it is another CA, or somebody else answers at %s%s.",
        way->leaf_name, through, authority, way->ca_file, way->trusted_names, host,
        may_be_intermediate ? ", or it is an intermediate of your CA that the server should send along" : "");
    finding_fix(finding,
                "If \"%s\" is your CA, %s%s; if you do not know it, another machine answers: "
                "compare %s and the name service.",
                authority, put,
                may_be_intermediate ? "; if it is an intermediate, put it behind the server's own certificate in "
                                      "ssl_cert_file on the server and SELECT pg_reload_conf()"
                                    : "",
                host);
}

static void tell_unknown_issuer(const struct lost_way *way)
{
    STACK_OF(X509) *own = NULL;
    const char *path = way->diagnosis->server->settings.tls_cert_file;
    struct error ignored;

    if (path[0] != '\0' && !certificate_read_all(path, &own, &ignored))
        own = NULL;
    enum kinship kinship = diagnosis_find_kinship(way->top, way->top == way->leaf, way->known, own);
    sk_X509_pop_free(own, X509_free);
    switch (kinship) {
    case KINSHIP_INTERMEDIATE:
        tell_missing_intermediate(way);
        return;
    case KINSHIP_UNKNOWN:
    case KINSHIP_FOREIGN:
        tell_other_authority(way, kinship == KINSHIP_UNKNOWN);
        return;
    }
}

/* One below the top, sent and in our file as well: OpenSSL does not stop there. */
static X509 *find_trusted_below(const struct lost_way *way)
{
    X509 *at = way->leaf;

    for (int step = 0; at != NULL && at != way->top && step < sk_X509_num(way->sent); step++) {
        at = certificate_find_subject(way->sent, X509_get_issuer_name(at));
        if (at != NULL && certificate_stands_in(way->trusted, at) && !certificate_is_self_issued(at))
            return at;
    }
    return NULL;
}

static void tell(const struct lost_way *way)
{
    X509_NAME *issuer = X509_get_issuer_name(way->top);
    X509 *same_name = certificate_find_subject(way->trusted, issuer);
    bool is_end = certificate_is_self_issued(way->top);
    bool is_leaf = way->top == way->leaf;

    if (!is_leaf && !may_sign(way->top))
        diagnosis_tell_no_authority(way->diagnosis, way->top, false);
    else if (same_name != NULL && same_name != way->top && has_signed(same_name, way->top) && !may_sign(same_name) &&
             !is_end)
        diagnosis_tell_no_authority(way->diagnosis, same_name, true);
    else if (is_leaf && is_end && X509_self_signed(way->leaf, 1) != 1)
        tell_twin(way);
    else if (is_leaf && is_end && same_name == NULL)
        tell_self_signed(way);
    else if (is_leaf && !is_end && certificate_stands_in(way->trusted, way->leaf) && same_name == NULL)
        tell_leaf_as_root(way);
    else if (certificate_stands_in(way->trusted, way->top) && !is_end)
        tell_intermediate_without_root(way, way->top, way->top);
    else if (same_name != NULL && !has_signed(same_name, way->top))
        tell_other_key(way, same_name);
    else if (same_name != NULL && !certificate_is_self_issued(same_name))
        tell_intermediate_without_root(way, same_name, same_name);
    else if (same_name != NULL)
        tell_odd_root(way, same_name);
    else if (!is_end && certificate_find_subject(way->sent, issuer) != NULL)
        tell_broken_chain(way);
    else if (is_end)
        tell_other_authority(way, false);
    else if (find_trusted_below(way) != NULL)
        tell_intermediate_without_root(way, find_trusted_below(way), way->top);
    else
        tell_unknown_issuer(way);
}

void diagnosis_explain_issuer(struct diagnosis *diagnosis, STACK_OF(X509) * trusted)
{
    struct lost_way way = {
        .diagnosis = diagnosis,
        .sent = diagnosis->probe->chain,
        .trusted = trusted,
        .known = diagnosis_subjects(trusted),
        .leaf = sk_X509_value(diagnosis->probe->chain, 0),
        .ca_file = tls_files_ca_path(&diagnosis->server->settings),
    };

    way.top = find_top(&way);
    certificate_name_format(X509_get_subject_name(way.leaf), way.leaf_name, sizeof way.leaf_name);
    certificate_name_format(X509_get_subject_name(way.top), way.top_name, sizeof way.top_name);
    certificate_name_format(X509_get_issuer_name(way.top), way.issuer_name, sizeof way.issuer_name);
    diagnosis_list_names(way.known, "nothing", way.trusted_names, sizeof way.trusted_names);
    tell(&way);
    sk_X509_NAME_free(way.known);
}
