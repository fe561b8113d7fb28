#ifndef PGCOFFER_CLI_RESTORING_INTERNAL_H
#define PGCOFFER_CLI_RESTORING_INTERNAL_H

#include <pthread.h>
#include <pwd.h>

#include "cli/reporting_internal.h"
#include "pgcoffer/jobs/restore.h"

/* restoring.c: what restore and drill have in common on the side of the caller. */

/* The context of the three hooks of struct restore_options. */
struct restoring {
    const struct invocation *invocation;
    pthread_mutex_t mutex; /* of what follows: a thread that has lost its connection warns too */
    struct progress_bar bar;
    struct reporting reporting;
};
struct restoring restoring_new(const struct invocation *invocation);

char *restoring_absolute_path(const char *path) NEVER_NULL;
/* --jobs; 0 without. USAGE. */
bool restoring_parse_jobs(const struct invocation *invocation, unsigned *ret_jobs, struct error *err) NODISCARD;
/* What PostgreSQL has to run later, wherever it runs it: this binary, and where it found the repository; malloc'd. */
bool restoring_make_prefix(const struct invocation *invocation, char **ret_prefix, struct error *err) NODISCARD;
/* False when one of the two cannot be had, which is no failure yet: who may not read it can restore all the same. */
bool restoring_read_configuration(const struct invocation *invocation, struct config **ret_config,
                                  const struct server_config **ret_server, struct error *ret_failure) NODISCARD;
/* The way to the sessions; then root is root no longer. `config` and `server` may be NULL. */
bool restoring_open(const struct invocation *invocation, const struct passwd *owner, const struct config *config,
                    const struct server_config *server, struct session_source **ret_source,
                    struct error *err) NODISCARD;
/* Hooks, patience (--patience; USAGE) and signals: the first one ends it in order, the second one at once. */
bool restoring_prepare(struct restoring *restoring, struct session_source *source, struct restore_options *options,
                       struct connector *ret_connector, struct error *err) NODISCARD;
/* Behind it, whatever came of it: the bar is cleared and the daemon told. `result` may be NULL. Gives `is_good`; a
 * failure by `pgcoffer cancel` says so. */
bool restoring_end(struct restoring *restoring, bool is_good, const json_t *result, struct error *err);

#endif
