#ifndef PGCOFFER_SRC_DAEMON_LISTENER_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_LISTENER_INTERNAL_H

#include "daemon/supervisor_internal.h"

/*
 * The control socket and those connected to it. Nothing here waits: a client has 10 s for its request line, a ceiling
 * for what it sends and for what it leaves unread, and a user has a ceiling for connections.
 */
struct listener;

/* Makes the folder if need be, takes the place of a socket nobody listens on. BUSY when somebody does. */
bool listener_open(struct supervisor *supervisor, struct listener **ret_listener, struct error *err) NODISCARD;
/* No new connections, and the socket is gone from its folder; those connected stay until listener_free(). */
void listener_close(struct listener *listener);
void listener_free(struct listener *listener); /* NULL is fine */

/* Whoever waits is let in when the event loop comes round, also when nobody new comes. */
void listener_accept_soon(struct listener *listener); /* NULL is fine */

/* A client is gone; it is freed when the event loop comes round. */
void listener_sweep_later(struct listener *listener);

/* ---- for jobs ---- */

void listener_tell_followers(struct listener *listener, const struct job_entry *entry, const json_t *message);
/* The job's last word to those who follow it, the outcome to those who cancelled it. */
void listener_end_followers(struct listener *listener, const struct job_entry *entry);
/* After new settings: who follows a job and may not any more is told so, and closed. */
void listener_end_forbidden(struct listener *listener);
/* Backups and drops of slots asked for while the server's leftovers were looked through are asked for again. */
void listener_retry_deferred(struct listener *listener, const char *server);
/* The same of whoever waits with that command. */
void listener_retry_command(struct listener *listener, enum command_id command);

#endif
