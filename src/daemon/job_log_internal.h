#ifndef PGCOFFER_SRC_DAEMON_JOB_LOG_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_JOB_LOG_INTERNAL_H

#include "daemon/job_table_internal.h"

/*
 * The lines of a job in the log: one at its start, one at its end or failure, with what it took in words and, as
 * figures, in keys of a line in JSON (pgcofferd(8), LOG).
 */
void job_log_start(const struct job_entry *entry);
void job_log_cancel(const struct job_entry *entry, const char *caller);
/* It is no longer running. */
void job_log_end(const struct job_entry *entry);
/* Has the daemon looked for what an earlier one left, and found nothing? */
bool job_log_is_idle_resume(const struct job_entry *entry);

#endif
