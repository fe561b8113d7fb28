#ifndef PGCOFFER_DAEMON_SUPERVISOR_H
#define PGCOFFER_DAEMON_SUPERVISOR_H

#include "pgcoffer/config/config.h"

/*
 * The daemon: no network, no keys, one event loop. Takes the lock of the repository, listens on the socket, keeps one
 * receive worker a server alive, runs jobs in workers, hands sessions to serve workers. Returns the exit status after
 * SIGTERM, SIGINT or `shutdown`; reloads on SIGHUP. Takes ownership of `config`.
 */
int supervisor_run(struct config *config);

#endif
