#ifndef PGCOFFER_SRC_REPO_WAL_GAPS_INTERNAL_H
#define PGCOFFER_SRC_REPO_WAL_GAPS_INTERNAL_H

#include "pgcoffer/repo/wal_gaps.h"

#include "repo/repo_internal.h"

/* ---- wal_gaps_list.c: lists of gaps, pure ---- */

/* The end for comparing: an open one ends nowhere. */
static inline uint64_t wal_gap_end(const struct wal_gap *gap)
{
    return gap->end.value == 0 ? UINT64_MAX : gap->end.value;
}
/* Appends. */
void wal_gaps_add(struct wal_gaps *gaps, const struct wal_gap *gap);
/* Sorts, and joins neighbours that say the same. */
void wal_gaps_arrange(struct wal_gaps *gaps);
/* Adds what `gap` says of its stretch to what is said already. */
void wal_gaps_merge(struct wal_gaps *gaps, const struct wal_gap *gap);
/* Takes [start, end) of a timeline out of those with this reason. */
void wal_gaps_cut(struct wal_gaps *gaps, enum wal_gap_reason reason, struct timeline timeline,
                  struct wal_position start, struct wal_position end);
bool wal_gaps_are_same(const struct wal_gaps *one, const struct wal_gaps *other);
/* With more than WAL_GAPS_MOST, the oldest of those go that the files tell of as well. False when too many are left. */
bool wal_gaps_limit(struct wal_gaps *gaps);

/* ---- wal_gaps_find.c: pure ---- */

struct wal_gaps_input {
    struct wal_segment_size segment_size;
    const struct wal_files *files;
    const bool *is_damaged;          /* of each file */
    const struct history *histories; /* all that are held */
    size_t history_count;
    const struct wal_gaps *recorded;
    const struct wal_ranges *expired; /* removed because nobody needs it: no gap */
};
void wal_gaps_find(const struct wal_gaps_input *input, struct wal_ranges *ret_ranges, struct wal_gaps *ret_gaps);

/* ---- wal_gaps_lock.c ---- */
/* Held while a record is read and written anew; close() lets go. BUSY when somebody else keeps it for seconds. */
bool wal_gaps_lock(const struct wal_archive *archive, int *ret_fd, struct error *err) NODISCARD;

/* ---- wal_gaps_damage.c ---- */
/* The files of a damaged stretch as they are now, for put; at most `most` of them. */
size_t wal_gaps_digest(const struct wal_archive *archive, const struct wal_gap *gap, size_t most,
                       struct wal_damaged_file *ret_damaged);
/* In place of what is recorded of the same segment. True when that changes anything. */
bool wal_gaps_put_damaged(struct wal_gap_record *record, const struct wal_damaged_file *damaged);
/* Those that lie in no damaged stretch go. */
void wal_gaps_prune_damaged(struct wal_gap_record *record);

/* ---- wal_gaps_document.c ---- */

/* *ret_document: as it was read, an empty object without a file; its unknown keys go into the next one. */
bool wal_gaps_load(const char *path, struct wal_gap_record *ret_record, json_t **ret_document,
                   struct error *err) NODISCARD;
bool wal_gaps_store(const struct repo *repo, const char *path, const struct wal_gap_record *record,
                    const json_t *former, struct error *err) NODISCARD;

/* ---- wal_ranges.c ---- */
/* Contiguous stretches of `files`, without those for which is_left_out() (may be NULL) is true. */
void wal_ranges_build(const struct wal_files *files, struct wal_segment_size size,
                      bool (*is_left_out)(const void *context, const struct wal_file *file), const void *context,
                      struct wal_ranges *ret_ranges);

#endif
