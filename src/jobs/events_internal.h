#ifndef PGCOFFER_JOBS_EVENTS_INTERNAL_H
#define PGCOFFER_JOBS_EVENTS_INTERNAL_H

#include "pgcoffer/control/stream.h"
#include "pgcoffer/repo/backup_meta.h"

/* Words of the control protocol that more than one job says. */

/* {"event":"log","level":...}; `level` is "info" or "warning". */
bool events_log(struct control_stream *events, struct error *err, const char *level, const char *format, ...)
    PRINTF_LIKE(4, 5) NODISCARD;

/* A position as JSON text. */
json_t *events_position(struct wal_position position);

/*
 * A backup as `show` tells it, small enough for a line: with hundreds of tablespaces or notices the longest of
 * "notices", "files" and "tablespaces" are left out and their names put into "left_out"; backup.json has them, and
 * `read` gives that.
 */
#define EVENTS_META_MOST_BYTES ((size_t)40 * 1024)
json_t *events_backup(const struct backup_meta *meta);

#endif
