#ifndef PGCOFFER_SRC_DAEMON_GATEWAY_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_GATEWAY_INTERNAL_H

#include "daemon/caller_internal.h"
#include "daemon/supervisor_internal.h"

/*
 * The worker that ends TLS for clients on other machines, when `management` names a port. That there is one is a wish;
 * one that dies is started again, for ever. It comes back to the control socket as a client, one connection for each
 * of its own, and says with the first line of each who that is (caller_take_identity()).
 */
/* At the start and after a reload: starts, ends, or starts again with other settings. */
void gateway_follow_configuration(struct supervisor *supervisor);
/* A sign of life is asked of the worker: child_ask_alive(). */
void gateway_ask_alive(struct supervisor *supervisor, unsigned patience_seconds);
void gateway_free(struct supervisor *supervisor);
/* Is this connection the gateway's, or of one that has ended since? Asked when it is accepted. */
bool gateway_is_peer(const struct supervisor *supervisor, const struct caller *caller);
/* Nothing is in the queue of the control socket: no connection of an ended gateway can come any more. */
void gateway_forget_ended(struct supervisor *supervisor);
/* GATEWAY of doc/control-protocol.md; null when none is wished. */
json_t *gateway_to_json(const struct supervisor *supervisor);

#endif
