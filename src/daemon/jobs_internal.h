#ifndef PGCOFFER_SRC_DAEMON_JOBS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_JOBS_INTERNAL_H

#include "daemon/supervisor_internal.h"

/*
 * Jobs run in workers of their own. Whoever asked may leave: the job goes on, and anybody who may can follow it. Events
 * of the worker go to all who follow; its last word is given when its process is gone, so that the locks it held are
 * free when a client hears of the end.
 */
bool jobs_start(struct supervisor *supervisor, const struct request *request, enum right right, const char *caller,
                struct job_entry **ret_entry, struct error *err) NODISCARD;
/* The daemon's own: sweeps the leftovers of a server and completes backups that were copied. Nothing if one runs. */
void jobs_start_resume(struct supervisor *supervisor, const char *server);
/* The server's receiver has ended, for which `slot drop` was waiting. */
void jobs_begin_drop(struct supervisor *supervisor, const char *server);
void jobs_cancel(struct job_entry *entry, const char *caller);
/* ---- what every job's life has in common, also of those that run in a client ---- */
/* Keeps the event as the job's progress, if it is one, and hands it on to who follows. */
void jobs_take_event(struct supervisor *supervisor, struct job_entry *entry, const json_t *message);
/* Its last word, or else `failure`, to the log and to all who wait for it. */
void jobs_end(struct supervisor *supervisor, struct job_entry *entry, const struct error *failure);
/* To the running backup workers of that server; what is not yet taken is replaced by the latest. */
void jobs_tell_backup(struct supervisor *supervisor, const char *server, const json_t *event);

#endif
