#ifndef PGCOFFER_SRC_DAEMON_REPORTS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_REPORTS_INTERNAL_H

#include "daemon/client_internal.h"

/*
 * Restores, drills and exports run where they write, in the program of whoever asked (doc/decisions/0040). That program
 * reports them here over a connection of its own; so they are jobs as others are, to be seen, followed and cancelled.
 *
 * What comes is words of somebody else's: only progress and the last word are taken, each made anew from the members
 * that are known, and no faster than bufferevents let a connection of that kind go.
 */
bool reports_start(struct client *client, const struct request *request, struct error *err) NODISCARD;
/* The next line of such a connection. False: it is nothing that can be reported, and the connection is to end. */
bool reports_take(struct client *client, const json_t *message, struct error *err) NODISCARD;
/* The client is gone; nothing if it reported none. */
void reports_client_gone(struct supervisor *supervisor, struct client *client);
/* Asks the program to end, and closes the connection if it does not. */
void reports_cancel(struct job_entry *entry);
/* After new settings: who may not restore any more is told so, and closed. */
void reports_end_forbidden(struct supervisor *supervisor);
/* The daemon ends. */
void reports_stop(struct supervisor *supervisor);

#endif
