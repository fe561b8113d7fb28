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

struct expiry_limits {
    long warn_days, critical_days;
};
enum expiry_level expiry_judge(struct timestamp not_after, struct timestamp now, struct expiry_limits limits);
/* When the judgement becomes worse; false when it is OVER. */
bool expiry_next_change(struct timestamp not_after, struct timestamp now, struct expiry_limits limits,
                        struct timestamp *ret_at);

#define EXPIRY_TOLD_EVERY INT64_C(86400000000)
#define EXPIRY_MOST_TOLD  32
struct expiry_memory {
    struct expiry_told {
        char name[128];
        enum expiry_level level;
        int64_t told_at; /* monotonic */
    } told[EXPIRY_MOST_TOLD];
    size_t next; /* the oldest gives way */
};
/* True when it is time to tell; then it is noted as told. FAR is never told. `name` is any that is its own. */
bool expiry_is_due(struct expiry_memory *memory, const char *name, enum expiry_level level, int64_t now);

#endif
