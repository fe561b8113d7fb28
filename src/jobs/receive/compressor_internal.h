#ifndef PGCOFFER_SRC_JOBS_RECEIVE_COMPRESSOR_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_COMPRESSOR_INTERNAL_H

#include "pgcoffer/repo/wal_archive.h"

/*
 * Compresses finished segments aside, one at a time, or when many wait two, so that the reader of the stream never
 * waits for it. A segment
 * that could not be compressed stays raw, which loses nothing: it is tried again later, on a full disk for ever.
 */
struct receive_compressor;

/* Copies the archive. */
bool receive_compressor_new(const struct wal_archive *archive, int level, struct receive_compressor **ret_compressor,
                            struct error *err) NODISCARD;
/*
 * Room: `budget` is asked before a segment is begun, for the bytes its temporary file may take (0: not now), and
 * `stored` is told of each one that was compressed. Without a watch there is always room.
 */
struct receive_compressor_watch {
    uint64_t (*budget)(void *context);
    void (*stored)(void *context, struct wal_segment segment);
    void *context;
};
/* Before the first segment: the processor goes first to others, and to the stream that commits wait for. */
void receive_compressor_be_polite(struct receive_compressor *compressor);
void receive_compressor_watch(struct receive_compressor *compressor, const struct receive_compressor_watch *watch);
void receive_compressor_add(struct receive_compressor *compressor, struct wal_segment segment);
/*
 * Takes what is done and hands out what waits; to be called when the descriptor is readable, after an add and when it
 * is due. False with *err tells of a segment that failed, for the log, on a full disk only the first time, or that the
 * archive could not be listed for those that were too many to wait in memory; calling goes on as before.
 */
bool receive_compressor_turn(struct receive_compressor *compressor, struct error *err) NODISCARD;
/* The next retry (monotonic), or INT64_MAX. */
int64_t receive_compressor_due(const struct receive_compressor *compressor);
int receive_compressor_descriptor(const struct receive_compressor *compressor);
/* What the segments under way take on the disk besides, so far. */
uint64_t receive_compressor_unfinished_bytes(const struct receive_compressor *compressor);
bool receive_compressor_is_working(const struct receive_compressor *compressor);
/* Nothing is begun any more; for waiting at the descriptor before it is freed. */
void receive_compressor_end(struct receive_compressor *compressor);
/* Waits for the segment at hand; what waits stays raw and is found at the next start. NULL is fine. */
void receive_compressor_free(struct receive_compressor *compressor);

#endif
