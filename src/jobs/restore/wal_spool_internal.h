#ifndef PGCOFFER_JOBS_WAL_SPOOL_INTERNAL_H
#define PGCOFFER_JOBS_WAL_SPOOL_INTERNAL_H

#include <limits.h>

#include "pgcoffer/base/error.h"
#include "pgcoffer/wal/segment.h"

/*
 * The folder in pg_wal where segments wait that were fetched ahead. Names that are no WAL file's are nothing to
 * PostgreSQL and its tools, a base backup leaves pg_wal out, and a rename to %p stays in one file system.
 *
 *     pg_wal/pgcoffer.ahead.SERVER.SYSTEMID.CRC/lock           flock(2) of the process that fetches (the leader)
 *                                              /SEGMENT        whole and checked
 *                                              /SEGMENT.tmp    on its way: its writer holds a flock on it
 *                                              /SEGMENT.asked  a caller's word to the leader: this one was just written
 *
 * CRC is that of the words that say where the archive is. Only the files of a leader that lives are used: what is found
 * without one is swept, so no file outlives the recovery it was fetched for. Nothing here is durable, and nothing here
 * is an error: whatever fails, the caller goes on without the spool.
 */
#define WAL_SPOOL_PREFIX     "pgcoffer.ahead."
#define WAL_SPOOL_TEMPORARY  ".tmp"
#define WAL_SPOOL_ASKED      ".asked"
#define WAL_SPOOL_NAME_SIZE  (WAL_SEGMENT_NAME_SIZE + 8)
#define WAL_SPOOL_MOST       16
#define WAL_SPOOL_MOST_BYTES ((uint64_t)256 << 20)

struct wal_spool {
    int data;   /* the data directory */
    int wal;    /* its pg_wal */
    int folder; /* -1: there is none */
    int lock;   /* -1: another process leads, or there is no folder */
    char name[NAME_MAX + 1];
    uint64_t system;
};

/*
 * `path` is PostgreSQL's %p for a segment, in a data directory that is in recovery; NULL otherwise. What a dead leader
 * left is swept, and the spool is this process's to lead.
 */
struct wal_spool *wal_spool_enter(const char *path, const char *server, const char *system_id, const char *source);
void wal_spool_free(struct wal_spool *spool); /* closes only; NULL is fine */
static inline void scoped_wal_spool(struct wal_spool **spool)
{
    wal_spool_free(*spool);
}

/* Renames the segment to `path`, after waiting for it when it is on its way. False: it must be fetched. */
bool wal_spool_take(const struct wal_spool *spool, const char *name, const char *path);
/* Tells the leader. */
void wal_spool_ask(const struct wal_spool *spool, const char *name);
/* Makes this process the leader, of an empty spool; false when there is one. */
bool wal_spool_lead(struct wal_spool *spool);
/* Segments of that size the spool may hold: half of the room there is, at most. */
unsigned wal_spool_capacity(const struct wal_spool *spool, struct wal_segment_size size);
/* The leader's: the folder goes with everything in it. */
void wal_spool_remove(struct wal_spool *spool);
/* What dead leaders of other archives left. */
void wal_spool_remove_strangers(const struct wal_spool *spool);

/* A whole file of the right segment: its size, and the header of its first page. */
bool wal_spool_check(int fd, const char *name, uint64_t system);
/* Neither promoted, nor moved away. */
bool wal_spool_is_needed(const struct wal_spool *spool);

#endif
