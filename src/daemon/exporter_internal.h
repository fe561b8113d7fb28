#ifndef PGCOFFER_SRC_DAEMON_EXPORTER_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_EXPORTER_INTERNAL_H

#include "daemon/supervisor_internal.h"

/*
 * The worker that tells metrics and the status page, when `metrics` names a port. It asks, {"event":"ask"}, and is told
 * STATE (doc/control-protocol.md) from memory, at once but not more often than every EXPORTER_PAUSE_MILLISECONDS: what
 * strangers ask of it costs the supervisor no more than that. No question starts a survey; while there is a port, one
 * runs when what is held is older than SURVEY_KEPT_SECONDS, whoever asks.
 */
#define EXPORTER_PAUSE_MILLISECONDS 50
#define SURVEY_KEPT_SECONDS         600

/* At the start and after a reload: starts, ends, or starts again with other settings. */
void exporter_follow_configuration(struct supervisor *supervisor);
/* A sign of life is asked of the worker: child_ask_alive(). */
void exporter_ask_alive(struct supervisor *supervisor, unsigned patience_seconds);
void exporter_free(struct supervisor *supervisor);
/* EXPORTER of doc/control-protocol.md; null when none is wished. */
json_t *exporter_to_json(const struct supervisor *supervisor);

#endif
