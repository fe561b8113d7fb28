#ifndef PGCOFFER_SRC_DAEMON_SESSIONS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_SESSIONS_INTERNAL_H

#include "daemon/client_internal.h"

/* Connections handed to serve workers: bulk bytes flow there, past the supervisor. */
bool sessions_start(struct client *client, const struct request *request, enum right right,
                    struct error *err) NODISCARD;
size_t sessions_count(const struct supervisor *supervisor, uid_t uid);
size_t sessions_count_all(const struct supervisor *supervisor);
/* Who may do what has changed: remote clients ask again, and go on where they were if they still may. */
void sessions_end_remote(struct supervisor *supervisor);

#endif
