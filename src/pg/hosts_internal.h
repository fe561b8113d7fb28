#ifndef PGCOFFER_PG_HOSTS_INTERNAL_H
#define PGCOFFER_PG_HOSTS_INTERNAL_H

#include "pgcoffer/pg/hosts.h"

/* The decisions of pg/hosts.h, without any network. */

/* Preferred first, the others as they were written. */
void hosts_order(size_t preferred, size_t count, size_t ret_order[CONFIG_MOST_HOSTS]);
/* Has the one more to give than the other? Both standbys. */
bool hosts_is_better(const struct pg_identity *identity, const struct pg_identity *than);
/* No host can be used: one error of all the reasons. */
bool hosts_set_error(const struct server_config *server, const struct pg_host_report *reports, size_t count,
                     struct error *err);

#endif
