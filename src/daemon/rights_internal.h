#ifndef PGCOFFER_SRC_DAEMON_RIGHTS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_RIGHTS_INTERNAL_H

#include "daemon/caller_internal.h"
#include "pgcoffer/config/config.h"
#include "pgcoffer/control/stream.h"

/*
 * Who may ask what (doc/control-protocol.md). Pure: the caller's names are already known, the configuration has the
 * lists. `own_uid` is the daemon's user, who is admin as root is.
 */
bool rights_is_admin(const struct caller *caller, const struct config *config, uid_t own_uid);
enum right rights_over_server(const struct caller *caller, const struct config *config, uid_t own_uid,
                              const struct server_config *server);
/* By name; of a server that is not in the configuration, or "", only an admin may know. */
enum right rights_over_name(const struct caller *caller, const struct config *config, uid_t own_uid,
                            const char *server);
/* Over the daemon itself, whatever server: an admin's, or that of the monitors of [pgcoffer]. */
enum right rights_over_daemon(const struct caller *caller, const struct config *config, uid_t own_uid);
/* The best right over any server. */
enum right rights_over_any(const struct caller *caller, const struct config *config, uid_t own_uid);

/* Which servers' settings a worker that answers a caller may have: an is_wanted of the start line. */
struct visibility {
    const struct config *config;
    const struct caller *caller;
    uid_t own_uid;
    const struct request *request;
};
/* The server named, or with a list all for which the caller's right suffices; an admin sees all. */
bool rights_are_visible(const void *visibility, const struct server_config *server);

/*
 * May the caller ask this? *ret_right is what the caller has over the server named; without a server MONITOR for who is
 * no admin, as nothing more holds for every server. DENIED names the list that would allow it; an unknown server is
 * told to admins only.
 */
bool rights_demand(const struct caller *caller, const struct config *config, uid_t own_uid,
                   const struct request *request, enum right *ret_right, struct error *err) NODISCARD;
/* The refusal itself, for a job whose server was found later. `server` may be "". */
bool rights_deny(const struct caller *caller, const struct config *config, enum command_id command, const char *server,
                 struct error *err);

#endif
