#ifndef PGCOFFER_JOBS_SERVE_MOMENTS_INTERNAL_H
#define PGCOFFER_JOBS_SERVE_MOMENTS_INTERNAL_H

#include "jobs/serve/held_wal_internal.h"

/*
 * [{"backup","timeline","from","until","last_commit_at"}]: every moment between the two can be restored, beginning with
 * that backup, the oldest one from which the WAL reaches that far. More than one where a gap or another timeline lies
 * between. Times of the server's clock as far as it is known. New reference.
 */
json_t *moments_to_json(struct held_wal *wal, const struct catalogue *catalogue);

#endif
