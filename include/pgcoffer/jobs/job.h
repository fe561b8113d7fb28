#ifndef PGCOFFER_JOBS_JOB_H
#define PGCOFFER_JOBS_JOB_H

#include "pgcoffer/jobs/jobs.h"

/*
 * From a begun worker to a job that can run: reads the configuration and the server from the start line, opens the
 * repository, sets log level and identity, and confines the process to what its role needs.
 */
bool job_prepare(struct worker_context *worker, struct job *ret_job, struct error *err) NODISCARD;
void job_done(struct job *job);
/*
 * A job that is one step: `run` gives its result or an error, which goes to the channel. Returns the exit status of the
 * process.
 */
typedef bool job_step(const struct job *job, json_t **ret_result, struct error *err);
int job_answer(const struct job *job, job_step *run);

/*
 * After a job that may have changed what is stored: {"event":"last_backup","data":{...}|null} to the supervisor, which
 * shows it in `status`. A repository that cannot be read says nothing; who asks for a list is told why.
 */
void job_report_last_backup(const struct job *job);
/* {"id","state","stopped_at","label"} of the newest complete or damaged backup; NULL: none. */
bool job_last_backup(const struct repo *repo, const char *server, json_t **ret_backup, struct error *err) NODISCARD;

#endif
