#ifndef PGCOFFER_SRC_JOBS_RECEIVE_EXPIRY_LOG_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_EXPIRY_LOG_INTERNAL_H

#include "jobs/receive/expiry_internal.h"
#include "pgcoffer/pg/connection.h"
#include "pgcoffer/tls/inventory.h"

/*
 * Logs what ends soon, if it is time to tell. `own` is the client certificate of the running stream, NULL without one:
 * it may be another one than lies in the file by now. Gives the time (monotonic) at which one of them becomes worse,
 * INT64_MAX for never.
 */
int64_t expiry_log(struct expiry_memory *memory, const struct server_config *server, const struct inventory *inventory,
                   const struct pg_certificate *own);
/* Does the connection depend on it? A CA file may hold the former CA beside the one that counts. */
bool expiry_matters(const struct inventory *inventory, const struct inventory_entry *entry);

#endif
