#ifndef PGCOFFER_SRC_JOBS_ROOM_FORECAST_INTERNAL_H
#define PGCOFFER_SRC_JOBS_ROOM_FORECAST_INTERNAL_H

#include "jobs/room_internal.h"
#include "pgcoffer/repo/wal_archive.h"

/*
 * When the room will be used up, by what WAL took of late. The rate is bytes on disk (compressed) over time, of up to
 * 24 hours; it is learnt from the archive at the start (a stored segment has the time at which its last byte came) and
 * from each segment that is stored since. Pure but for room_rate_learn().
 */
#define ROOM_RATE_BUCKETS 144 /* of ten minutes each */
struct room_rate {
    struct timestamp first; /* the earliest segment seen; its bytes came before, so they do not count. 0: none */
    uint64_t first_bytes;
    struct {
        int64_t number; /* of tens of minutes since 1970 */
        uint64_t bytes;
        uint32_t segments;
    } buckets[ROOM_RATE_BUCKETS];
};

void room_rate_add(struct room_rate *rate, struct timestamp written_at, uint64_t stored_bytes);
/* Every finished segment of the archive. */
bool room_rate_learn(struct room_rate *rate, const struct wal_archive *archive, struct error *err) NODISCARD;

struct room_forecast {
    uint64_t bytes_per_hour;     /* 0: too little was seen to say anything, or nothing comes */
    struct timestamp reserve_at; /* less than the reserve is free from then on; 0: not to be foreseen, or no reserve */
    struct timestamp full_at;    /* 0: not to be foreseen */
    bool is_near;                /* worth a warning: one of the two within a day, or within hours at the last hour's
                                    rate, which then is the one told */
};
void room_forecast(const struct room_rate *rate, const struct room *room, uint64_t reserve, struct timestamp now,
                   struct room_forecast *ret_forecast);

/*
 * What there is to warn of, as an error of kind STORAGE with a hint; false when there is nothing. `server` for the
 * commands in the hint.
 */
bool room_warning(const struct room_disk *disk, const struct room *room, uint64_t reserve,
                  const struct room_forecast *forecast, const char *server, struct error *ret_warning);
/* "Make room ...": df, and what deletes a backup. */
void room_hint(const struct room_disk *disk, const char *server, const char *then, struct error *err);

#endif
