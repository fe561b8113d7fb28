#ifndef PGCOFFER_REPO_WAL_CONTENTS_H
#define PGCOFFER_REPO_WAL_CONTENTS_H

#include "pgcoffer/repo/wal_archive.h"
#include "pgcoffer/wal/contents.h"

/*
 * What a recovery can stop at, segment by segment. An event belongs to the segment in which its record ends: there it
 * is known to be whole, and only what came before is needed to read it. Beside a compressed segment its contents are
 * noted in SEG.contents.json, which tells by the segment's own SHA-256 which bytes it is about; without one, or with
 * one that is about other bytes, the segment is read, which takes as long as to decompress it.
 */

/* ---- reading records, segment after segment ---- */

typedef bool wal_event_visit(void *context, const struct wal_event *event, struct error *err);

struct wal_walk;
/* Copies the archive. */
struct wal_walk *wal_walk_new(const struct wal_archive *archive, wal_event_visit *visit, void *context) NEVER_NULL;
void wal_walk_free(struct wal_walk *walk);
static inline void scoped_wal_walk(struct wal_walk **walk)
{
    wal_walk_free(*walk);
}
/*
 * To be called before the bytes of a segment that is held. If it is not the one behind the last, and begins within a
 * record, the segments with that record's beginning are read first, on the way of the timeline's history. After a
 * failure here or in feed the next segment begins anew.
 */
bool wal_walk_enter(struct wal_walk *walk, struct wal_segment segment, struct error *err) NODISCARD;
/* The next bytes of that segment. INTEGRITY for what is not WAL. */
bool wal_walk_feed(struct wal_walk *walk, const void *bytes, size_t size, struct error *err) NODISCARD;
/* Both, with the bytes that are held. MISSING is not an error. */
bool wal_walk_segment(struct wal_walk *walk, struct wal_segment segment, struct wal_file *ret_file,
                      struct error *err) NODISCARD;
/* A record runs into the segment at hand whose beginning is not held, so its event is not told. */
bool wal_walk_lacks_start(const struct wal_walk *walk);
/*
 * In place of wal_walk_enter(), for a segment that is not held, or not trusted: what is held before it is read as far
 * back as a record begins, so that its first record is compared with the one before it. Where nothing sound is held
 * there it begins anew.
 */
bool wal_walk_enter_behind(struct wal_walk *walk, struct wal_segment segment, struct error *err) NODISCARD;
/*
 * With all bytes of a segment fed: does what is held of the next one go on where it ends? INTEGRITY when not; true when
 * nothing is held there, or nothing sound. The next segment is to be entered anew.
 */
bool wal_walk_joins_next(struct wal_walk *walk, struct error *err) NODISCARD;
/*
 * Both joints of a segment that is held, and every record between: INTEGRITY when something is wrong with it, or when
 * its last record cannot be checked because its end is not held.
 */
bool wal_archive_check_joints(const struct wal_archive *archive, struct wal_segment segment,
                              struct error *err) NODISCARD;
/*
 * Where the last whole record before `end`, of any kind, begins, on the way along the history of `timeline`, which
 * holds it; 0 when there is none in the segment with `end` and the one before.
 */
bool wal_archive_last_record(const struct wal_archive *archive, struct timeline timeline, struct wal_position end,
                             struct wal_position *ret_position, struct error *err) NODISCARD;

/* ---- what was noted ---- */

struct wal_noted {
    struct wal_contents contents;
    bool lacks_start;
};
bool wal_archive_has_note(const struct wal_archive *archive, struct wal_segment segment);
/*
 * False in *ret_is_noted: there is no note, or none that is about the segment as it is held now. INTEGRITY for one
 * that cannot be read.
 */
bool wal_archive_read_note(const struct wal_archive *archive, struct wal_segment segment, struct wal_noted *ret_noted,
                           bool *ret_is_noted, struct error *err) NODISCARD;
/* A record ran into the segment whose beginning was not held then, and the segment before it is held now. */
bool wal_note_is_outdated(const struct wal_archive *archive, struct wal_segment segment, const struct wal_noted *noted);
/* From the note, or else, with `was_read` set, from the segment itself. MISSING is not an error. */
bool wal_archive_contents(const struct wal_archive *archive, struct wal_segment segment, struct wal_noted *ret_noted,
                          bool *ret_was_read, struct wal_file *ret_file, struct error *err) NODISCARD;

/*
 * The latest commit in the WAL before `end`, on the way of `history` to its timeline `timeline`. Looks back for a while
 * only; 0 when it has found none by then, or what it had to read is damaged.
 */
struct timestamp wal_archive_last_commit(const struct wal_archive *archive, const struct history *history,
                                         struct timeline timeline, struct wal_position end);

#endif
