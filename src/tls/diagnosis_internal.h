#ifndef PGCOFFER_TLS_DIAGNOSIS_INTERNAL_H
#define PGCOFFER_TLS_DIAGNOSIS_INTERNAL_H

#include "pgcoffer/tls/finding.h"
#include "pgcoffer/tls/probe.h"

/* What is known while a failure is explained. */
struct diagnosis {
    const struct server_config *server;
    const char *libpq_words;
    const struct tls_probe *probe;
    int64_t deadline;        /* for the probes that tell one cause from another */
    struct finding *finding; /* filled by those below */
};

/* ---- diagnosis_gateway.c: the other side is no PostgreSQL ---- */
/* What came before TLS, or broke it; false: the others know better. */
bool diagnosis_explain_gateway(struct diagnosis *diagnosis);
/* The others speak of PostgreSQL and its settings. */
void diagnosis_translate_for_gateway(struct finding *finding);

/* The server's chain was refused by us: why, and what to change on which side. */
void diagnosis_explain_chain(struct diagnosis *diagnosis);
/* Its names are others than `host`. */
void diagnosis_explain_name(struct diagnosis *diagnosis);
/* The server refused us with a TLS alert. */
void diagnosis_explain_alert(struct diagnosis *diagnosis, int alert);
/* The versions of the two sides do not meet. */
void diagnosis_explain_version(struct diagnosis *diagnosis);

/* ---- diagnosis_issuer.c: nothing leads from the server's certificate to tls_ca_file ---- */
void diagnosis_explain_issuer(struct diagnosis *diagnosis, STACK_OF(X509) * trusted);
/* One that signed another may not; is_own: it stands in tls_ca_file. */
void diagnosis_tell_no_authority(struct diagnosis *diagnosis, X509 *certificate, bool is_own);

/* ---- diagnosis_unknown.c: "unknown ca" said of ours ---- */
struct refusal {
    struct diagnosis *diagnosis;
    STACK_OF(X509) * ours;    /* tls_cert_file, the leaf first */
    STACK_OF(X509) * trusted; /* tls_ca_file */
    char who[1280];           /* our certificate with file, subject, issuer and dates */
    char accepted[512];       /* the CAs the server names */
};
void diagnosis_explain_unknown(struct refusal *refusal);
/* Our chain is weak in itself; `verb` begins the sentence. */
bool diagnosis_explain_weak(struct refusal *refusal, const char *verb);
/* False without a certificate that can be read; else emptied by diagnosis_forget_ours(). */
bool diagnosis_read_ours(struct diagnosis *diagnosis, struct refusal *ret_refusal);
void diagnosis_forget_ours(struct refusal *refusal);

/*
 * ---- diagnosis_forgery.c ----
 * "Unknown ca" although the CA's name is accepted: either a revocation list is missing there, or the CA has another
 * key. The server is shown a chain of the same names that nothing ties to a key: it finds the CA by its name, then
 * looks for the lists, and only then at the signatures, which are wrong.
 */
enum forgery_verdict {
    FORGERY_UNKNOWN_CA,    /* it did not come to the signatures: a list is missing, or what is above the CA */
    FORGERY_BAD_SIGNATURE, /* the lists are there: so the true chain failed by the CA's key */
    FORGERY_UNTOLD
};
enum forgery_verdict diagnosis_show_forgery(struct diagnosis *diagnosis, STACK_OF(X509) * path);

/* ---- diagnosis_kinship.c ---- */
enum kinship {
    KINSHIP_INTERMEDIATE, /* the unknown issuer is probably an intermediate of one that is known */
    KINSHIP_UNKNOWN,      /* or another CA: it cannot be told */
    KINSHIP_FOREIGN,
};
/* What is the issuer of `below`, of whom nothing is at hand but the name, to the known CAs? */
enum kinship diagnosis_find_kinship(X509 *below, bool is_alone, STACK_OF(X509_NAME) * known, STACK_OF(X509) * at_hand);

/* ---- diagnosis.c ---- */
/* The name has no address? Then that is told. What was seen, and the setting's name, are set either way. */
bool diagnosis_explain_unresolved(struct diagnosis *diagnosis, char ret_setting[TLS_SETTING_NAME_SIZE]);

/* ---- words ---- */
/* The subjects of certificates; the names stay theirs. Freed with sk_X509_NAME_free(). */
STACK_OF(X509_NAME) * diagnosis_subjects(STACK_OF(X509) * certificates);
/* The first few, quoted; `nothing` for an empty list. */
void diagnosis_list_names(STACK_OF(X509_NAME) * names, const char *nothing, char *ret_text, size_t size);

#endif
