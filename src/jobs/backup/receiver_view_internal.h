#ifndef PGCOFFER_JOBS_BACKUP_RECEIVER_VIEW_INTERNAL_H
#define PGCOFFER_JOBS_BACKUP_RECEIVER_VIEW_INTERNAL_H

#include "pgcoffer/repo/layout.h"
#include "pgcoffer/wal/position.h"
#include "pgcoffer/worker/worker.h"

/*
 * What the supervisor tells a backup worker about the server's receiver: {"event":"wal","data":{...}} on the channel,
 * whenever the receiver reports. Anything else on the channel is skipped: a newer supervisor may know more words.
 */
struct receiver_view {
    const struct worker_context *worker;
    bool is_known; /* something was told */
    char state[16];
    char system[SYSTEM_ID_TEXT_SIZE];
    struct timeline timeline;
    struct wal_position flushed; /* {0}: nothing yet */
    bool has_error;
    struct error error;
};

void receiver_view_begin(struct receiver_view *view, const struct worker_context *worker);
/* Takes in what has come, without waiting. SIGTERM or the end of the channel: FAILED with errnum ECANCELED. */
bool receiver_view_drain(struct receiver_view *view, struct error *err) NODISCARD;
/* Waits for the next report. `deadline` is of clock_monotonic(), 0 for none; *ret_is_late when it has passed. */
bool receiver_view_wait(struct receiver_view *view, int64_t deadline, bool *ret_is_late, struct error *err) NODISCARD;
/*
 * How long a backup that has begun waits for a receiver that is in this state, in microseconds; `most` where all may be
 * well soon.
 */
int64_t receiver_view_patience(const struct receiver_view *view, int64_t most);
bool receiver_view_is_streaming(const struct receiver_view *view, const struct system_id *system);
/* Pure: one message of the channel. */
void receiver_view_take(struct receiver_view *view, const json_t *message);

#endif
