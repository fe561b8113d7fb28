#ifndef PGCOFFER_SRC_DAEMON_RECEIVERS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_RECEIVERS_INTERNAL_H

#include "daemon/supervisor_internal.h"

/*
 * One receive worker a server. That WAL is to be received is a wish, written in the configuration, and only a changed
 * configuration takes it away; whether it is received is an observation, which the worker reports. A worker that dies
 * is started again, for ever.
 */
void receivers_start(struct supervisor *supervisor);
/* After a reload: new servers are started, removed ones ended, changed ones started again. */
void receivers_follow_configuration(struct supervisor *supervisor, bool is_restart_of_all_needed);
void receivers_free(struct supervisor *supervisor);

/* SERVER of doc/control-protocol.md. */
json_t *receivers_server_to_json(const struct supervisor *supervisor, const char *server);
/* {"event":"wal","data":{...}} with the last report; NULL when there was none. */
json_t *receivers_wal_event(const struct supervisor *supervisor, const char *server);
/* A job has changed what is stored: the newest backup of that server, or null. */
void receivers_set_last_backup(struct supervisor *supervisor, const char *server, const json_t *backup);
/* For the service manager: how many stream, and the newest backup of all. */
void receivers_update_status(struct supervisor *supervisor);

#endif
