#ifndef PGCOFFER_SRC_JOBS_RECEIVE_LIFELINE_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_LIFELINE_INTERNAL_H

#include <stdint.h>

#include "pgcoffer/base/error.h"

/*
 * A disk may take longer than the server waits for an answer (wal_sender_timeout). So while the stream is at the disk,
 * a thread repeats the last status to the server now and then: what was durable before is durable still. Whoever is at
 * the disk does not touch the connection, and the thread touches it only then.
 *
 * It costs the stream two uncontended locks a visit. The thread sleeps without a timer while nothing is stored.
 */
struct receive_lifeline;

/*
 * `speak` is called during a visit, or at its end, when the server has heard nothing for `patience` microseconds, or at
 * most twice that. A thread that cannot be had is FAILED.
 */
bool receive_lifeline_new(int64_t patience, void (*speak)(void *context), void *context,
                          struct receive_lifeline **ret_lifeline, struct error *err) NODISCARD;
/* NULL is fine for all of these: then nobody speaks. */
void receive_lifeline_free(struct receive_lifeline *lifeline);
void receive_lifeline_enter(struct receive_lifeline *lifeline);
void receive_lifeline_leave(struct receive_lifeline *lifeline);
/* The stream has said something itself. */
void receive_lifeline_note_word(struct receive_lifeline *lifeline);

#endif
