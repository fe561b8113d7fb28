#ifndef PGCOFFER_SRC_JOBS_CHECK_SQL_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_SQL_INTERNAL_H

#include "jobs/check/judgement_internal.h"
#include "pgcoffer/pg/query.h"

/* The parts of the level SQL; run->database is there. Each tells its checks, or skips them with the reason. */
void check_sql_role(struct check_run *run); /* replication.password, and what SHOW could not tell of slot and senders */
void check_sql_rules(struct check_run *run); /* hba.rules, hba.looser, hba.maps */

/* One statement; NULL (and nothing told) when it fails. */
struct pg_rows *sql_ask(struct check_run *run, const char *statement);
/* "t" in the first field of the first row. */
bool sql_is_true(struct check_run *run, const char *statement);
/* Has the check warned or failed? */
bool sql_has_spoken(const struct check_run *run, enum check_id id);

/* ---- pure ---- */
enum sql_cipher { SQL_CIPHERS_FINE, SQL_CIPHERS_ANONYMOUS, SQL_CIPHERS_UNENCRYPTED };
/* Names of the list in ssl_ciphers that need no certificate, or encrypt nothing; `ret_name` the first of them. */
enum sql_cipher sql_judge_ciphers(const char *list, char ret_name[64]);

#endif
