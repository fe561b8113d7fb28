#ifndef PGCOFFER_SRC_JOBS_CHECK_EXPIRY_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_EXPIRY_INTERNAL_H

#include "jobs/check/check_internal.h"
#include "pgcoffer/tls/certificate.h"

/* When something begins and ends: a certificate, a revocation list. */
struct check_span {
    char what[768]; /* "the client certificate in \"...\" (subject \"CN=repl\")" */
    struct timestamp not_before, not_after;
    long days_left; /* negative: over */
};

/* Passes, warns or fails `id` by the days of the options. */
void check_validity(struct check_run *run, enum check_id id, const struct check_span *span, const char *fix);

#endif
