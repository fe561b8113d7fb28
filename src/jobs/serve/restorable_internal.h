#ifndef PGCOFFER_JOBS_SERVE_RESTORABLE_INTERNAL_H
#define PGCOFFER_JOBS_SERVE_RESTORABLE_INTERNAL_H

#include "jobs/serve/stock_internal.h"
#include "pgcoffer/base/json.h"

/*
 * "Can I restore?": the RESTORABLE of doc/control-protocol.md for a server, of the system that it is now. `stock` has
 * the catalogue and is empty otherwise; its WAL is read here, and of that nothing is decompressed but the newest
 * segments where no note says how far they go. What keeps a restore from being planned stands in "error". Never larger
 * than RESTORABLE_MOST_BYTES. New reference.
 */
#define RESTORABLE_MOST_BYTES 24576
json_t *restorable_to_json(struct stock *stock, const struct repo *repo, const char *server);

#endif
