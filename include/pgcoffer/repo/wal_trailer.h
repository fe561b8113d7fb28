#ifndef PGCOFFER_REPO_WAL_TRAILER_H
#define PGCOFFER_REPO_WAL_TRAILER_H

#include <stddef.h>
#include <stdint.h>

#include "pgcoffer/base/error.h"

/*
 * The last bytes of every SEG.zst: a skippable zstd frame with the SHA-256 of all bytes before it. The frame's own
 * checksum covers what it decompresses to, and some of its bits do not change that; this covers the bytes themselves.
 * Whoever reads a whole SEG.zst, here or behind a connection, feeds all but its last WAL_TRAILER_SIZE bytes and
 * compares.
 */
#define WAL_TRAILER_SIZE 44

struct wal_trailer;
struct wal_trailer *wal_trailer_new(void) NEVER_NULL;
void wal_trailer_free(struct wal_trailer *trailer);
static inline void scoped_wal_trailer(struct wal_trailer **trailer)
{
    wal_trailer_free(*trailer);
}

/* The bytes before it, in pieces. */
void wal_trailer_feed(struct wal_trailer *trailer, const void *bytes, size_t size);
/* The trailer they must have. Ends the feeding. */
void wal_trailer_make(struct wal_trailer *trailer, uint8_t ret_bytes[WAL_TRAILER_SIZE]);
/* Is `found` that trailer? INTEGRITY. Ends the feeding. */
bool wal_trailer_check(struct wal_trailer *trailer, const uint8_t found[WAL_TRAILER_SIZE], struct error *err) NODISCARD;

#endif
