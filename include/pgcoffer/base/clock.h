#ifndef PGCOFFER_BASE_CLOCK_H
#define PGCOFFER_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "pgcoffer/base/error.h"

/* Wall time as microseconds since 1970 in UTC; PostgreSQL's wire counts from 2000. */
struct timestamp {
    int64_t microseconds;
};

#define TIMESTAMP_TEXT_SIZE          32 /* "2026-11-22T01:30:00.123456Z" and the final NUL */
#define CLOCK_POSTGRES_EPOCH_SECONDS INT64_C(946684800)

struct timestamp clock_now(void);
/* CLOCK_MONOTONIC in microseconds, for durations and deadlines. */
int64_t clock_monotonic(void);

/* RFC 3339 in UTC, with microseconds only if there are any. */
void timestamp_format(struct timestamp timestamp, char ret_text[TIMESTAMP_TEXT_SIZE]);
/*
 * RFC 3339 or PostgreSQL's spelling: "2026-11-22T01:30:00Z", "2026-11-22 01:30:00.5+02",
 * "2026-11-22 01:30:00 UTC". Without a zone it is local time, as in PostgreSQL.
 */
bool timestamp_parse(const char *text, struct timestamp *ret_timestamp, struct error *err) NODISCARD;
struct timestamp timestamp_from_postgres(int64_t microseconds_since_2000);
int64_t timestamp_to_postgres(struct timestamp timestamp);

#endif
