#ifndef PGCOFFER_REPO_WAL_EXPIRE_H
#define PGCOFFER_REPO_WAL_EXPIRE_H

#include "pgcoffer/repo/wal_archive.h"

/*
 * WAL that is removed because nobody needs it any more (repo/retention.h decides).
 * BASE/SERVER/SYSTEMID/wal/expired.json says which stretches these are, and is written before the first file goes: what
 * is missing there is no gap. Without it they would be told as missing; nothing else is lost.
 */
#define WAL_EXPIRED_FORMAT 1
#define WAL_EXPIRED_MOST   4096 /* stretches; with more the oldest are forgotten */

/* What is not known, because there is no document or none that can be trusted, is an empty list. */
void wal_expired_read(const struct wal_archive *archive, struct wal_ranges *ret_expired);
/* Pure: `size` bytes of that document. INTEGRITY. */
bool wal_expired_parse(const char *text, size_t size, struct wal_ranges *ret_expired, struct error *err) NODISCARD;
/* Is every byte from start to end of that timeline in one of them? */
bool wal_expired_has(const struct wal_ranges *expired, struct timeline timeline, struct wal_position start,
                     struct wal_position end);

/* Is any byte from start to end of that timeline in one of them? */
bool wal_expired_touches(const struct wal_ranges *expired, struct timeline timeline, struct wal_position start,
                         struct wal_position end);

/* Adds these stretches to what is noted, and takes those of `kept` out of it; durable. To be called before
 * wal_archive_expire(). */
bool wal_expired_note(const struct wal_archive *archive, const struct wal_ranges *expired,
                      const struct wal_ranges *kept, struct error *err) NODISCARD;
/*
 * Removes those of `files` for which is_removed is true, oldest first, each with its note,
 * and folders that become empty. What is left when it is killed in between another run removes. Histories stay.
 * *ret_segments and *ret_bytes count what went, also when it fails.
 */
bool wal_archive_expire(const struct wal_archive *archive, const struct wal_files *files, const bool *is_removed,
                        uint64_t *ret_segments, uint64_t *ret_bytes, struct error *err) NODISCARD;

#endif
