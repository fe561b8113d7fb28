#ifndef PGCOFFER_SRC_JOBS_RECEIVE_EXPIRY_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_EXPIRY_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "pgcoffer/base/clock.h"

/*
 * Which certificates end soon, and which of them is to be told now: each once a day, and at once when it has become
 * worse. Pure but for its memory of what was told. Ends are in wall time, the day between two words is counted by the
 * monotonic clock, so that a clock that is set makes nobody silent.
 */
enum expiry_level {
    EXPIRY_FAR,
    EXPIRY_NEAR,     /* less than expiry_warn_days */
    EXPIRY_CRITICAL, /* less than expiry_critical_days */
    EXPIRY_OVER,
};

struct expiry_item {
    char what[384];       /* "the client certificate in \"/etc/...\"" */
    char fix[512];        /* what to do about it, a sentence */
    char subject[256];    /* of a revocation list its issuer */
    char fingerprint[96]; /* by which it is known again */
    struct timestamp not_after;
};

#define EXPIRY_MOST_ITEMS 32
struct expiry_items {
    struct expiry_item items[EXPIRY_MOST_ITEMS];
    size_t count;
};
/* One that is listed already, or that finds no room, is passed over: what is served is listed first. */
void expiry_items_add(struct expiry_items *items, const struct expiry_item *item);

struct expiry_limits {
    long warn_days, critical_days;
};
enum expiry_level expiry_judge(struct timestamp not_after, struct timestamp now, struct expiry_limits limits);
/* When the judgement becomes worse; false when it is OVER. */
bool expiry_next_change(struct timestamp not_after, struct timestamp now, struct expiry_limits limits,
                        struct timestamp *ret_at);

#define EXPIRY_TOLD_EVERY INT64_C(86400000000)
struct expiry_memory {
    struct expiry_told {
        char fingerprint[96];
        enum expiry_level level;
        int64_t told_at; /* monotonic */
    } told[EXPIRY_MOST_ITEMS];
    size_t next; /* the oldest gives way */
};
/* True when it is time to tell; then it is noted as told. FAR is never told. */
bool expiry_is_due(struct expiry_memory *memory, const char *fingerprint, enum expiry_level level, int64_t now);

#endif
