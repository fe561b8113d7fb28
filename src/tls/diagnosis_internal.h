#ifndef PGCOFFER_TLS_DIAGNOSIS_INTERNAL_H
#define PGCOFFER_TLS_DIAGNOSIS_INTERNAL_H

#include "pgcoffer/tls/probe.h"

/* What is known while a failure is explained. */
struct diagnosis {
    const struct server_config *server;
    const char *libpq_words;
    struct tls_probe probe;
    int64_t deadline;
    struct error *err; /* rewritten by diagnosis_say() */
};

/* Starts *err anew: "could not connect to server ...: <cause> (libpq: <its words>)", kind TLS. */
void diagnosis_say(struct diagnosis *diagnosis, const char *format, ...) PRINTF_LIKE(2, 3);

/* The server's chain was refused by us: why, and what to change on which side. */
void diagnosis_explain_chain(struct diagnosis *diagnosis);
/* Its names are others than `host`. */
void diagnosis_explain_name(struct diagnosis *diagnosis);
/* The server refused us with a TLS alert. */
void diagnosis_explain_alert(struct diagnosis *diagnosis, int alert);
/* The versions of the two sides do not meet. */
void diagnosis_explain_version(struct diagnosis *diagnosis);

/* Subjects of the certificates, quoted, the first few; "nothing" for an empty list. */
void diagnosis_list_subjects(STACK_OF(X509) * certificates, char *ret_text, size_t size);

#endif
