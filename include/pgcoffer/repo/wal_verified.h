#ifndef PGCOFFER_REPO_WAL_VERIFIED_H
#define PGCOFFER_REPO_WAL_VERIFIED_H

#include "pgcoffer/repo/wal_archive.h"

/*
 * wal/verified.json: which compressed segments were read back and found sound, and when. Only whole stretches are
 * noted, sorted and not overlapping; with more of them than there is room for, neighbours are joined with the older of
 * their times. What is damaged is not here: gaps.json has it.
 */
#define WAL_VERIFIED_MOST       512
#define WAL_VERIFIED_MOST_BYTES 65536

struct wal_verified_range {
    struct timeline timeline;
    uint64_t first, end; /* numbers of segments; end is the first one behind it */
    struct timestamp at;
};

struct wal_verified {
    struct wal_verified_range ranges[WAL_VERIFIED_MOST];
    size_t count;
};

/* Without a file there are none. INTEGRITY when it is broken: then nothing counts as verified. */
bool wal_verified_read(const struct wal_archive *archive, struct wal_verified *ret_verified,
                       struct error *err) NODISCARD;
/* Pure. These segments were found sound at `at`; with 0 they count as never verified. */
void wal_verified_set(struct wal_verified *verified, const struct wal_verified_range *range);
/* Pure: when the segment was last found sound; 0: never. */
struct timestamp wal_verified_at(const struct wal_verified *verified, struct wal_segment segment);
/* Of a compressed segment: 0 also when it was written since, or when that lies in the future (a clock was set back). */
struct timestamp wal_verified_file_at(const struct wal_verified *verified, const struct wal_file *file,
                                      struct timestamp now);
/* Reads, sets and writes under the lock that gaps.json has, too; a broken one is begun anew. */
bool wal_verified_record(const struct wal_archive *archive, const struct wal_verified_range *range,
                         struct error *err) NODISCARD;

#endif
