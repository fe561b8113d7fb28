#ifndef PGCOFFER_SRC_DAEMON_RECEIVERS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_RECEIVERS_INTERNAL_H

#include "daemon/supervisor_internal.h"

/*
 * One receive worker a server. That WAL is to be received is a wish, written in the configuration, and only an
 * administrator takes it away, by a changed configuration or by dropping the slot; whether it is received is an
 * observation, which the worker reports. A worker that dies is started again, for ever.
 */
void receivers_start(struct supervisor *supervisor);
/* After a reload: new servers are started, removed ones ended, changed ones started again. */
void receivers_follow_configuration(struct supervisor *supervisor, bool is_restart_of_all_needed);
/* An administrator's reload says that something may be new: those that go on look at their certificates. */
void receivers_look(struct supervisor *supervisor);
/* A verification has ended and may have found damage: the receiver looks at the gaps. `server` "" means all. */
void receivers_tell_verified(struct supervisor *supervisor, const char *server);
/* Of every worker a sign of life is asked; while it streams, or waits for its next try, within `patience_seconds`. */
void receivers_ask_alive(struct supervisor *supervisor, unsigned patience_seconds);
void receivers_free(struct supervisor *supervisor);

/*
 * A slot can be dropped only when nobody streams with it. hold: the worker ends; true when there is none, otherwise
 * jobs_begin_drop() is called once it has ended. end_hold: `dropped_by` NULL when the slot is still there, and the
 * receiver goes on; otherwise it is "stopped" until resume, or a reload that changes its settings. One that is stopped
 * already stays so.
 */
bool receivers_hold(struct supervisor *supervisor, const char *server) NODISCARD;
void receivers_end_hold(struct supervisor *supervisor, const char *server, const char *dropped_by);
void receivers_resume(struct supervisor *supervisor, const char *server);
/* FAILED, with who dropped the slot. */
bool receivers_demand_not_stopped(const struct supervisor *supervisor, const char *server, struct error *err) NODISCARD;

/* receivers_report.c */
/* SERVER of doc/control-protocol.md. */
json_t *receivers_server_to_json(const struct supervisor *supervisor, const char *server);
/* A job has ended. One of a server that is not configured any more does not count. */
void receivers_count_run(struct supervisor *supervisor, const struct job_entry *entry);
/* {"event":"wal","data":{...}} with the last report; NULL when there was none. */
json_t *receivers_wal_event(const struct supervisor *supervisor, const char *server);
/* For the service manager: how many stream, and the newest backup of all. */
void receivers_update_status(struct supervisor *supervisor);

#endif
