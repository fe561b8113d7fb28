#ifndef PGCOFFER_SRC_JOBS_LEASE_INTERNAL_H
#define PGCOFFER_SRC_JOBS_LEASE_INTERNAL_H

#include <jansson.h>

#include "pgcoffer/jobs/jobs.h"

/* The daemon is asked to keep the WAL of a backup that is going to be replayed (repo/wal_lease.h). */
struct lease_wish {
    const char *server, *backup;
    unsigned timeline;    /* that to which the recovery is going */
    const char *what_for; /* "restore", "drill" */
};
/* {"lease":NAME,"days":N}; a new reference. */
bool lease_take(const struct connector *connector, const struct lease_wish *wish, json_t **ret_answer,
                struct error *err) NODISCARD;
/* Of a drill. */
bool lease_release(const struct connector *connector, const char *server, const char *name,
                   struct error *err) NODISCARD;

#endif
