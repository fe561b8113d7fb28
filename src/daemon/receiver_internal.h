#ifndef PGCOFFER_SRC_DAEMON_RECEIVER_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_RECEIVER_INTERNAL_H

#include "daemon/backoff_internal.h"
#include "daemon/supervisor_internal.h"

/* One receiver, as receivers.c (what is wished, and the worker) and receivers_report.c (what is observed) share it. */

/* An administrator's command takes the worker away, never a fault. */
enum receiver_hold {
    HOLD_NONE,
    HOLD_DURING_DROP, /* of its slot: what follows depends on how that ends */
    HOLD_STOPPED,     /* its slot was dropped */
};

/* What is stored of the server, as a survey found it last (surveys.c). */
struct survey {
    json_t *data;       /* NULL: nothing yet */
    json_t *error;      /* why the last one failed; NULL: it has not */
    json_t *complete;   /* what the receiver had noted by then; NULL: nothing */
    int64_t tried_at;   /* monotonic; 0: never */
    bool is_wanted;     /* one is to be made, and none has begun since */
    bool has_news;      /* the same, by the receiver's word, which may change again and again: after a pause */
    bool is_outdated;   /* what is held is from before something changed; a failed survey leaves it so */
    bool is_on_its_way; /* the one that runs looks at it */
};

struct receiver {
    struct supervisor *supervisor;
    char name[64];
    struct server_config wish; /* what the worker was started with */
    struct child *child;       /* NULL between two tries */
    struct event *timer;       /* until the next try */
    struct backoff backoff;
    bool is_removed;    /* no longer in the configuration: ends for good */
    bool is_restarting; /* ends to begin again at once, or after the hold */
    enum receiver_hold hold;
    json_t *report; /* "data" of the last report, without the next */
    char system_id[24];
    struct timestamp interrupted_at; /* it does not stream since; 0: it does */
    struct survey survey;
    struct worker_counts counts;
    json_t *runs; /* of its jobs that ended; NULL: none yet */
    struct receiver *next;
};

/* NULL when the configuration has no such server. */
struct receiver *receiver_find(const struct supervisor *supervisor, const char *name);

/* receivers_report.c */
json_t *receiver_first_report(const struct receiver *receiver);
/* "data" of a worker's report; one that is too large or no object is passed over. */
void receiver_take_report(struct receiver *receiver, const json_t *data);
/* The supervisor's own word, where there is no worker that could report. */
void receiver_set_state(struct receiver *receiver, const char *state, const struct error *failure);

#endif
