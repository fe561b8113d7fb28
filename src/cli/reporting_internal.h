#ifndef PGCOFFER_CLI_REPORTING_INTERNAL_H
#define PGCOFFER_CLI_REPORTING_INTERNAL_H

#include "cli/cli_internal.h"

/*
 * A restore, drill or export runs here and not in the daemon. It is told of it over a connection of its own (the
 * request `report`, doc/control-protocol.md), so that `jobs`, `follow`, `status` and metrics show the numbers of the
 * bar, and `cancel` reaches it. Nothing of this can fail what is reported, nor hold it up: an older daemon, one that is
 * away, or one that does not read is done without.
 */
struct reporting {
    const struct invocation *invocation;
    struct session_source *source; /* NULL: nobody is told */
    struct control_stream *stream; /* NULL: not yet, or not at the moment */
    bool is_refused;               /* it does not want to know */
    int64_t tried_at;              /* clock_monotonic(); 0: not yet */
    struct progress last;
    bool is_unsent;
    char job[32];
    char cancelled_by[256]; /* "": nobody has */
};

/* With --direct there is no daemon, and nothing happens in the rest. */
void reporting_begin(struct reporting *reporting, const struct invocation *invocation, struct session_source *source);
/* Each that the bar shows: five a second at most. */
void reporting_show(struct reporting *reporting, const struct progress *progress);
/* How it ended: `result`, of which "backup" and "bytes" are told, or `failure`. */
void reporting_end(struct reporting *reporting, bool is_good, const json_t *result, const struct error *failure);

#endif
