#ifndef PGCOFFER_SRC_JOBS_CHECK_JUDGEMENT_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_JUDGEMENT_INTERNAL_H

#include "jobs/check/check_internal.h"

/*
 * What the server's answer to a startup packet means. Pure: the answers come from startup.c and negative.c, which also
 * see to it that one line of pg_hba.conf is told once.
 */
enum judgement {
    JUDGED_FINE,
    JUDGED_WRONG,  /* *ret_finding says it */
    JUDGED_NOTHING /* the answer tells nothing about it; *ret_finding is untouched */
};

/* A role's name as SQL and as pg_hba.conf write it: quoted where it must be. */
#define ROLE_NAME_SIZE 200
const char *role_name_quote(const char *name, char ret_text[ROLE_NAME_SIZE]);

/* What the texts name besides the answer. */
struct answer_facts {
    const struct check_run *run;
    char address[64];          /* of the server, as connected to */
    char client[72];           /* ours, as CIDR: "127.0.0.1/32" */
    char role[ROLE_NAME_SIZE]; /* the user, quoted where pg_hba.conf and SQL need it */
    char line[512];            /* how the line of pg_hba.conf should read */
    bool has_certificate;      /* a client certificate is configured */
    char common_name[128];     /* its CN, "" without one */
};
/* Of a connection to this address; looks at nothing but this machine's routes. */
void answer_facts_gather(const struct check_run *run, const char *address, struct answer_facts *ret_facts);

/* ---- our own role over TLS, with our certificate when there is one ---- */
enum judgement judge_replication(const struct answer_facts *facts, const struct startup_answer *answer,
                                 struct finding *ret_finding);
/* `is_tolerated`: the fault is a warning, because allow_weak_password says so. */
enum judgement judge_password(const struct answer_facts *facts, const struct startup_answer *answer,
                              struct finding *ret_finding, bool *ret_is_tolerated);
enum judgement judge_binding(const struct answer_facts *facts, const struct startup_answer *answer,
                             struct finding *ret_finding, bool *ret_is_tolerated);
/* For a CN that is not the role's name; a fault is a warning. */
enum judgement judge_common_name(const struct answer_facts *facts, const struct startup_answer *answer,
                                 struct finding *ret_finding);

/* ---- what must be refused ---- */
enum judgement judge_plaintext(const struct answer_facts *facts, const struct startup_answer *answer,
                               struct finding *ret_finding);
enum judgement judge_certificate(const struct answer_facts *facts, const struct startup_answer *answer,
                                 struct finding *ret_finding);
enum judgement judge_foreign(const struct answer_facts *facts, const struct startup_answer *answer,
                             struct finding *ret_finding);
enum judgement judge_superuser(const struct answer_facts *facts, const struct startup_answer *answer,
                               struct finding *ret_finding);
/* Our certificate with the role `role`; `is_superuser`: it is the one of initdb. */
enum judgement judge_other_role(const struct answer_facts *facts, const struct startup_answer *answer, const char *role,
                                bool is_superuser, struct finding *ret_finding);

#endif
