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

#endif
