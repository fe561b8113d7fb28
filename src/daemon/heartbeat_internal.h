#ifndef PGCOFFER_SRC_DAEMON_HEARTBEAT_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_HEARTBEAT_INTERNAL_H

#include "daemon/supervisor_internal.h"

/*
 * Who watches whom (doc/decisions/0037). The service manager watches the supervisor: half-way to the end of its
 * patience (WatchdogSec=) the event loop itself says that it turns. The supervisor watches the workers that live as
 * long as it does: at the same moments it asks each for a sign of life, and one that gives none is killed and started
 * again, as after any other death. Without a manager the workers are asked all the same.
 */
void heartbeat_start(struct supervisor *supervisor);
void heartbeat_free(struct supervisor *supervisor); /* one that was not started is fine */

#endif
