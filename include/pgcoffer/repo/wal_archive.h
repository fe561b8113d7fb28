#ifndef PGCOFFER_REPO_WAL_ARCHIVE_H
#define PGCOFFER_REPO_WAL_ARCHIVE_H

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/repo/layout.h"
#include "pgcoffer/wal/history.h"
#include "pgcoffer/wal/segment.h"

/*
 * The WAL of one system identifier of one server, as files (DESIGN 4 and 5):
 *
 *   SEG.partial   being received; its size is the number of bytes held (room is reserved with fallocate,
 *                 FALLOC_FL_KEEP_SIZE, so a full disk is met when the file is made)
 *   SEG           finished, raw, until it is compressed
 *   SEG.zst       finished: one zstd frame with content size and checksum, and a trailer (repo/wal_trailer.h)
 *   TTTTTTTT.history
 *
 * Writing is the receiver's alone (it holds wal.lock); reading is safe beside it.
 */
struct wal_archive {
    const struct repo *repo; /* borrowed */
    char server[64];
    struct system_id system;
    struct wal_segment_size segment_size; /* 0 bytes: not known yet, taken from what is stored */
};

enum wal_file_state { WAL_FILE_MISSING, WAL_FILE_PARTIAL, WAL_FILE_RAW, WAL_FILE_COMPRESSED };

/* ---- reading ---- */

/* segment_size may be {0}: then it is read from wal/segment_size.json, written with the first segment. */
bool wal_archive_open(const struct repo *repo, const char *server, const struct system_id *system,
                      struct wal_segment_size segment_size, struct wal_archive *ret_archive,
                      struct error *err) NODISCARD;

/* state and, unless missing, stored size and mtime. `held` is the plain bytes: less than a segment only for PARTIAL. */
struct wal_file {
    struct wal_segment segment;
    enum wal_file_state state;
    uint64_t stored_bytes;
    uint32_t held_bytes;
    struct timestamp written_at;
};
bool wal_archive_stat(const struct wal_archive *archive, struct wal_segment segment, struct wal_file *ret_file,
                      struct error *err) NODISCARD;
/* Every segment, sorted by timeline and number; a segment in two states is listed once, in the finished one. */
struct wal_files {
    struct wal_file *files;
    size_t count;
};
bool wal_archive_list(const struct wal_archive *archive, struct wal_files *ret_files, struct error *err) NODISCARD;
void wal_files_done(struct wal_files *files);
/* The last segment of a timeline that has a file, found without a look at the others; the file may be empty. */
bool wal_archive_newest(const struct wal_archive *archive, struct timeline timeline, struct wal_segment *ret_newest,
                        bool *ret_has_one, struct error *err) NODISCARD;
/* Any that is finished? Looks at the newest ones first. */
bool wal_archive_has_finished(const struct wal_archive *archive, struct timeline timeline, bool *ret_has_one,
                              struct error *err) NODISCARD;

/* Contiguous stretches held, by timeline; what lies between two of the same timeline is a gap. */
struct wal_range {
    struct timeline timeline;
    struct wal_position start, end; /* end is byte-exact: includes the partial's held bytes */
    struct timestamp last_written_at;
};
struct wal_ranges {
    struct wal_range *ranges;
    size_t count;
};
bool wal_archive_ranges(const struct wal_archive *archive, struct wal_ranges *ret_ranges, struct error *err) NODISCARD;
void wal_ranges_done(struct wal_ranges *ranges);
/* Pure: is every byte from `start` on the way along `history` up to `end` held? The missing position on failure. */
bool wal_ranges_cover(const struct wal_ranges *ranges, const struct history *history, struct timeline start_timeline,
                      struct wal_position start, struct wal_position end, struct wal_segment_size size,
                      struct timeline *ret_missing_timeline, struct wal_position *ret_missing);

/* Opens the newest state: zst, raw, partial, then zst again (it may be finished between two looks). The caller
 * closes the descriptor. MISSING is not an error. */
bool wal_archive_open_segment(const struct wal_archive *archive, struct wal_segment segment, int *ret_fd,
                              struct wal_file *ret_file, struct error *err) NODISCARD;
/* Plain bytes of a whole segment into `ret_bytes` (limit at least one segment): decompressed and checked, a partial one
 * completed with zeros. Damage is INTEGRITY and names the file. */
bool wal_archive_read_segment(const struct wal_archive *archive, struct wal_segment segment, struct buffer *ret_bytes,
                              struct wal_file *ret_file, struct error *err) NODISCARD;
/* errnum ENOENT when it is not held. */
bool wal_archive_read_history(const struct wal_archive *archive, struct timeline timeline, struct buffer *ret_text,
                              struct error *err) NODISCARD;
/* Parsed; timeline 1 gives the empty history without a file. */
bool wal_archive_history(const struct wal_archive *archive, struct timeline timeline, struct history *ret_history,
                         struct error *err) NODISCARD;
/* Every history that is held, ascending, behind that of timeline 1, which is always the first and has no file. */
struct wal_histories {
    struct history *histories;
    size_t count;
    bool has_damage; /* one is there and cannot be read; the others are here */
    struct error damage;
};
bool wal_archive_histories(const struct wal_archive *archive, struct wal_histories *ret_histories,
                           struct error *err) NODISCARD;
void wal_histories_done(struct wal_histories *histories);
/* Every timeline with a history file or a segment, ascending; malloc'd. */
bool wal_archive_timelines(const struct wal_archive *archive, struct timeline **ret_timelines, size_t *ret_count,
                           struct error *err) NODISCARD;

/* ---- writing: the receiver ---- */

/* The segment being received. Never under its final name before it is whole and durable. */
struct wal_partial;
/* Makes SEG.partial (with its folders, fsynced) or opens the one that is there, whose bytes are made durable and count
 * as held. A finished segment of that name is an error of kind BUSY: it is never overwritten. */
bool wal_partial_open(const struct wal_archive *archive, struct wal_segment segment, struct wal_partial **ret_partial,
                      struct error *err) NODISCARD;
uint32_t wal_partial_held(const struct wal_partial *partial);    /* bytes in the file */
uint32_t wal_partial_durable(const struct wal_partial *partial); /* bytes known to be fsynced */
/* Bytes at `offset` within the segment: those already held are compared (a difference is INTEGRITY with errnum
 * EILSEQ and changes nothing; what a power cut left as zeros, to the end of a page, is overwritten), the rest is
 * appended. */
bool wal_partial_write(struct wal_partial *partial, uint32_t offset, const void *bytes, size_t size,
                       struct error *err) NODISCARD;
/* fdatasync. After a failure the descriptor is never used again: the file is kept aside as SEG.partial.suspect-N, or
 * removed where there is no room for it, and the partial must be freed. */
bool wal_partial_sync(struct wal_partial *partial, struct error *err) NODISCARD;
/* Whole and synced: rename to SEG, fsync of the folder. Ends the partial. */
bool wal_partial_finish(struct wal_partial *partial, struct error *err) NODISCARD;
/* What was appended since it was opened goes again, and with it a file that was not there before. Ends the partial. */
bool wal_partial_take_back(struct wal_partial *partial, struct error *err) NODISCARD;
void wal_partial_free(struct wal_partial *partial); /* closes; the file stays */
/*
 * For a finished segment that is damaged: the partial is made beside it, where nobody reads it, and takes its place
 * when it is whole and synced. What was damaged is kept as SEG.suspect-N or SEG.zst.suspect-N.
 */
bool wal_partial_open_beside(const struct wal_archive *archive, struct wal_segment segment,
                             struct wal_partial **ret_partial, struct error *err) NODISCARD;
bool wal_partial_replace(struct wal_partial *partial, struct error *err) NODISCARD;
/* Whatever is there of it is kept as SEG.suspect-N and the like, so that it can be received anew. */
bool wal_archive_set_segment_aside(const struct wal_archive *archive, struct wal_segment segment,
                                   struct error *err) NODISCARD;

/* SEG -> SEG.zst.tmp -> fsync -> SEG.zst -> fsync folder -> unlink SEG; keeps SEG's mtime. Many: wal_packer.h. */
bool wal_archive_compress(const struct wal_archive *archive, struct wal_segment segment, int level,
                          struct error *err) NODISCARD;
/* What SEG.zst.tmp takes on the disk while another thread writes it; 0 when there is none. */
uint64_t wal_archive_compressing_bytes(const struct wal_archive *archive, struct wal_segment segment);
/* Re-received bytes of a finished segment must equal the held ones; EILSEQ as above. */
bool wal_archive_compare(const struct wal_archive *archive, struct wal_segment segment, uint32_t offset,
                         const void *bytes, size_t size, struct error *err) NODISCARD;
/* The first `size` bytes of two segments, as far as both are held: EILSEQ as above when they differ. */
bool wal_archive_compare_beginnings(const struct wal_archive *archive, struct wal_segment one, struct wal_segment other,
                                    uint32_t size, struct error *err) NODISCARD;
/* The bytes of `from` up to `fork` become NEW/SEG.partial, fsynced; an existing one longer than that stays. To be
 * called before the history is published. */
bool wal_archive_copy_fork(const struct wal_archive *archive, struct timeline from, struct timeline to,
                           struct wal_position fork, struct error *err) NODISCARD;
/* Durable. The same name with another parent or switch point is INTEGRITY, errnum EILSEQ, and changes nothing. */
bool wal_archive_write_history(const struct wal_archive *archive, struct timeline timeline, const void *text,
                               size_t size, struct error *err) NODISCARD;
/* At start: temporary files removed, raw beside zst removed. A partial that is whole but unrenamed loses its last byte,
 * so that it is received again; where nobody would receive it again, before another segment of its timeline, it is
 * finished if its records are sound. Raw segments that wait for compression are returned (malloc'd). */
bool wal_archive_recover(const struct wal_archive *archive, struct wal_segment **ret_raw, size_t *ret_raw_count,
                         struct error *err) NODISCARD;

#endif
