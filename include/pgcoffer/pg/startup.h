#ifndef PGCOFFER_PG_STARTUP_H
#define PGCOFFER_PG_STARTUP_H

#include "pgcoffer/tls/finding.h"
#include "pgcoffer/tls/probe.h"

/*
 * What does pg_hba.conf decide? TCP, SSLRequest, TLS as in tls/probe.h, then a startup packet, and the server's first
 * answer is read: then it hangs up. No password is ever sent, whatever is asked for, and no command. Never libpq:
 * libpq gives neither SQLSTATE nor method, and would fall back.
 */
enum startup_kind {
    STARTUP_ADMITTED,  /* AuthenticationOk: this is enough for pg_hba.conf. When the server refused for another reason
                          right after that (no such role, no REPLICATION), sqlstate and message tell it. */
    STARTUP_SCRAM,     /* AuthenticationSASL with one of the two mechanisms */
    STARTUP_CLEARTEXT, /* asks for the password in clear text */
    STARTUP_MD5,
    STARTUP_OTHER,     /* asks for something else: GSS, SSPI, ...: `method`, and `words`: "GSSAPI" */
    STARTUP_REFUSED,   /* ErrorResponse: sqlstate, message */
    STARTUP_NO_ANSWER, /* no TLS, no handshake, an alert, an end, the deadline: probe.outcome and `words` */
    STARTUP_GARBAGE,   /* an answer that is not PostgreSQL's: `words` */
};

struct startup_request {
    struct tls_probe_request tls; /* converse and context are set here; is_plain, address, certificate by the caller */
    const char *user;
    const char *database; /* NULL: physical replication */
};

#define STARTUP_TEXT_SIZE 1024
struct startup_answer {
    enum startup_kind kind;
    struct tls_probe probe; /* everything about the way there */
    int method;             /* the number in the Authentication message */
    bool has_scram, has_scram_plus;
    char sqlstate[6];
    char severity[16];
    char message[STARTUP_TEXT_SIZE]; /* printable */
    bool has_negotiated;             /* NegotiateProtocolVersion came first */
    char words[256];
};

/* Cannot fail: the answer tells all. */
void startup_probe(const struct startup_request *request, struct startup_answer *ret_answer);
void startup_answer_done(struct startup_answer *answer);
/* "AuthenticationOk", "SCRAM-SHA-256-PLUS, SCRAM-SHA-256", "28000: no pg_hba.conf entry ...": for `seen`. */
void startup_answer_phrase(const struct startup_answer *answer, char *ret_phrase, size_t size);
/* An ErrorResponse (also one after AuthenticationOk) as pg_connect() would explain it: check, cause and fix by
 * pg/refusals.def. False without one. */
bool startup_explain(const struct server_config *server, const struct startup_answer *answer,
                     struct finding *ret_finding);

#endif
