#ifndef PGCOFFER_JOBS_PROGRESS_METER_INTERNAL_H
#define PGCOFFER_JOBS_PROGRESS_METER_INTERNAL_H

#include "pgcoffer/control/stream.h"

/*
 * Turns "so many bytes are done" into progress with a rate and an estimate, at most five times a second. Times are
 * clock_monotonic() microseconds and come from the caller, so that nothing here looks at a clock.
 *
 * The rate is smoothed over some ten seconds: long enough to stand still for the eye, short enough to follow a
 * cluster that has been read from memory and now comes from disk. The time left goes by a longer memory, two fifths of
 * the phase so far: a source that comes in gusts does not make it jump. It is that of the phase, and unknown in its
 * first second.
 */
#define PROGRESS_METER_INTERVAL INT64_C(200000)

struct progress_meter {
    struct progress progress; /* as it would be sent now */
    int64_t started_at;
    int64_t phase_started_at;
    int64_t sent_at;     /* 0: not yet in this phase */
    int64_t measured_at; /* the rate's last sample */
    uint64_t measured_bytes;
    double eta_rate; /* bytes a second, by the longer memory */
};

void progress_meter_start(struct progress_meter *meter, int64_t now);
/* A new phase is always due at once. `total` 0: unknown. */
void progress_meter_phase(struct progress_meter *meter, int64_t now, const char *phase, const char *item,
                          uint64_t total_bytes);
void progress_meter_item(struct progress_meter *meter, const char *item);
/* True when it is time to send meter->progress. */
bool progress_meter_advance(struct progress_meter *meter, int64_t now, uint64_t done_bytes);
/* The phase is over: its last word, whenever it comes. */
void progress_meter_finish(struct progress_meter *meter, int64_t now, uint64_t done_bytes);
/* Sends meter->progress to a supervisor or client. */
bool progress_meter_send(const struct progress_meter *meter, struct control_stream *events,
                         struct error *err) NODISCARD;

#endif
