#ifndef PGCOFFER_SRC_JOBS_HOST_INTERNAL_H
#define PGCOFFER_SRC_JOBS_HOST_INTERNAL_H

#include "pgcoffer/jobs/jobs.h"
#include "pgcoffer/pg/connection.h"

/*
 * The host for a job of a moment, which remembers none. Of several it uses none that the repository contradicts:
 * another cluster, or a former primary that has come back, on an older timeline than is held.
 */
bool job_connect(const struct job *job, const char *application_name, struct pg_connection **ret_connection,
                 struct error *err) NODISCARD;

/* Which one that would be; the first where none can be used. `repo` NULL: nothing is known that contradicts. */
size_t host_choose(const struct server_config *server, const struct repo *repo, const char *application_name,
                   int interrupt_fd);

#endif
