#ifndef PGCOFFER_SRC_JOBS_EXPORTER_EXPORTER_INTERNAL_H
#define PGCOFFER_SRC_JOBS_EXPORTER_EXPORTER_INTERNAL_H

#include "pgcoffer/base/attributes.h"
#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/json.h"

/*
 * What the port of metrics shows, made of one STATE (doc/control-protocol.md): what the supervisor holds in memory, as
 * one JSON object. Its "now" is the clock: the same STATE always gives the same bytes. A part of it that is missing, or
 * of another type, is passed over.
 */
enum metrics_format { METRICS_PROMETHEUS, METRICS_OPENMETRICS };

/* ---- metrics.c ---- */
/* Prometheus' text format 0.0.4, or OpenMetrics 1.0.0 with its "# EOF". */
void metrics_write(struct buffer *out, const json_t *state, enum metrics_format format);

/* ---- page.c ---- */
/* One HTML document, without script, and with nothing from elsewhere. */
void page_write(struct buffer *out, const json_t *state);

/* ---- state.c ---- */
/* How far a receiver's "received" or "flushed" was behind the server when that was heard last. False: not known yet. */
bool state_get_lag(const json_t *receiver, const char *stage, uint64_t *ret_bytes) NODISCARD;

/* ---- writing.c ---- */
/* What would outgrow the buffer's limit empties it for good (used 0, limit 0): an answer is whole, or none. */
void write_bytes(struct buffer *out, const char *bytes, size_t size);
void write_text(struct buffer *out, const char *text);
void write_format(struct buffer *out, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
