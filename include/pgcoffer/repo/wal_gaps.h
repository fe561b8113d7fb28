#ifndef PGCOFFER_REPO_WAL_GAPS_H
#define PGCOFFER_REPO_WAL_GAPS_H

#include "pgcoffer/repo/wal_archive.h"

/*
 * WAL that is not held although WAL before it is: no recovery passes it.
 *
 * Most gaps show in the files. BASE/SERVER/SYSTEMID/wal/gaps.json says what these do not: why, since when and in whose
 * words; segments that are there and damaged; and the loss behind which nothing has arrived yet. It is an addition:
 * without it every hole in the files is still found, as "missing".
 *
 * Readers may be anyone who may read the repository. Writers lock wal/gaps.lock for the moment, so that the receiver
 * and a verify may write beside each other; one that is not let in for seconds fails with BUSY.
 */
enum wal_gap_reason {
    WAL_GAP_MISSING,   /* a hole in the archive that nobody announced: its files were deleted */
    WAL_GAP_REMOVED,   /* the server had removed it before it was received */
    WAL_GAP_SLOT_LOST, /* the same, because the replication slot was invalidated */
    WAL_GAP_DAMAGED,   /* it is there, and its bytes are wrong */
};
#define WAL_GAP_REASON_COUNT 4
/* "missing", "removed", "slot-lost", "damaged": for programs. */
const char *wal_gap_reason_word(enum wal_gap_reason reason);
/* "removed by the server before it was received": for people. */
const char *wal_gap_reason_text(enum wal_gap_reason reason);

#define WAL_GAP_WORDS_SIZE 400
struct wal_gap {
    struct timeline timeline;
    struct wal_position start; /* the first byte that is not held */
    struct wal_position end;   /* the first byte held behind it; 0: nothing of the timeline is held behind it yet */
    enum wal_gap_reason reason;
    struct timestamp noticed_at;    /* 0: not noted. Of what is damaged, the last time it was found so */
    struct timestamp filled_at;     /* 0, but for gaps of the past */
    char words[WAL_GAP_WORDS_SIZE]; /* the server's, or those of the check that found it; may be "" */
};
struct wal_gaps { /* sorted by timeline and start, never overlapping */
    struct wal_gap *gaps;
    size_t count;
};
void wal_gaps_done(struct wal_gaps *gaps);
static inline void scoped_wal_gaps(struct wal_gaps *gaps)
{
    wal_gaps_done(gaps);
}
/* How many segments it touches; 0 when it is open. */
uint64_t wal_gap_segments(const struct wal_gap *gap, struct wal_segment_size size);
/* The gap of that timeline that holds `position`, or NULL. */
const struct wal_gap *wal_gaps_at(const struct wal_gaps *gaps, struct timeline timeline, struct wal_position position);
/* ---- reading ---- */

/* Gaps that are recorded, and the newest of those that were filled. */
#define WAL_GAPS_MOST        1000
#define WAL_GAPS_MOST_FILLED 32
/*
 * A segment that was found damaged, so that it is known again whatever becomes of its file's times: when the
 * repository is copied, and when it is compressed as it is. The SHA-256 is that of its plain bytes, or of the file
 * where these cannot be had.
 */
#define WAL_DIGEST_SIZE 32
struct wal_damaged_file {
    struct timeline timeline;
    struct wal_position start;
    struct timestamp written_at; /* the same: the file was not touched since, and need not be read */
    uint8_t sha256[WAL_DIGEST_SIZE];
};
struct wal_gap_record {
    struct wal_gaps open;
    struct wal_gaps filled; /* oldest first */
    struct wal_damaged_file *damaged;
    size_t damaged_count;
};
/* No file is an empty record. Damage, and a document of a newer program, are INTEGRITY and name the file. */
bool wal_gaps_read(const struct wal_archive *archive, struct wal_gap_record *ret_record, struct error *err) NODISCARD;
void wal_gap_record_done(struct wal_gap_record *record);
static inline void scoped_wal_gap_record(struct wal_gap_record *record)
{
    wal_gap_record_done(record);
}

/*
 * What is recorded of this file's damage; NULL when it is not known to be damaged, or is another file by now. Without a
 * digest, as in records of earlier versions, that is one written later than the damage was noticed.
 */
const struct wal_gap *wal_gaps_damage(const struct wal_archive *archive, const struct wal_gap_record *record,
                                      const struct wal_file *file);

/*
 * What is held and what is not: the ranges of wal_archive_ranges() without segments recorded as damaged, and every gap,
 * each piece with what is recorded of it. Holes are looked for within a timeline and along every history held, from
 * the first byte held to the last one. `record` NULL: as if nothing were recorded.
 */
bool wal_gaps_look(const struct wal_archive *archive, const struct wal_gap_record *record,
                   struct wal_ranges *ret_ranges, struct wal_gaps *ret_gaps, struct error *err) NODISCARD;

/* ---- writing ---- */

/* Durable when it returns. What is recorded of the same stretch is kept, and the same again changes nothing. */
bool wal_gaps_record(const struct wal_archive *archive, const struct wal_gap *gap, struct error *err) NODISCARD;
/*
 * Brings the record up to what is held: holes that nobody announced are written down, open ones closed by the first
 * byte behind them, filled ones moved to the past. Gives what wal_gaps_look() would. Writes only when something has
 * changed.
 */
bool wal_gaps_settle(const struct wal_archive *archive, struct wal_ranges *ret_ranges, struct wal_gaps *ret_gaps,
                     struct error *err) NODISCARD;
/* This segment was found sound, or replaced by a sound one: it is damaged no longer. */
bool wal_gaps_mend(const struct wal_archive *archive, struct wal_segment segment, struct error *err) NODISCARD;
/*
 * A record that is damaged is renamed to gaps.json.suspect-N, so that a new one can begin; NULL when it is fine. That
 * of a newer program stays, and the error says so.
 */
bool wal_gaps_set_aside(const struct wal_archive *archive, char **ret_new_path, struct error *err) NODISCARD;
/* At start: what a killed writer left. */
bool wal_gaps_clean(const struct wal_archive *archive, struct error *err) NODISCARD;

#endif
