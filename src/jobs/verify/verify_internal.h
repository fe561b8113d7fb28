#ifndef PGCOFFER_JOBS_VERIFY_VERIFY_INTERNAL_H
#define PGCOFFER_JOBS_VERIFY_VERIFY_INTERNAL_H

#include "jobs/progress_meter_internal.h"
#include "pgcoffer/jobs/jobs.h"
#include "pgcoffer/repo/backup_notes.h"
#include "pgcoffer/repo/catalogue.h"
#include "pgcoffer/repo/index.h"
#include "pgcoffer/repo/wal_expire.h"
#include "pgcoffer/repo/wal_gaps.h"
#include "pgcoffer/repo/wal_verified.h"

/*
 * Verify reads everything back: what is wrong becomes an item each, and only what keeps it from going on (no
 * permission, SIGTERM, a client that hangs up) ends it. So functions here return false for the latter only.
 */
struct verify {
    const struct repo *repo;
    struct control_stream *events;
    int interrupt_fd;  /* -1: none */
    bool is_recording; /* damage that is found, or found no longer, is written down */
    unsigned workers;
    struct progress_meter meter;
    uint64_t done_bytes;
    size_t problem_count;
    char first_problem[512];
    size_t mark; /* problem_count before the part at hand, and the first problem since */
    char problem_since_mark[BACKUP_PROOF_WORDS];
    const char *server;     /* at hand */
    struct timestamp began; /* by the clock of this machine, as the records have it */
    struct timestamp since; /* what was found good since then is left out; 0: nothing is */
    int64_t deadline;       /* clock_monotonic() at which it ends; 0: when all is done */
};

/* ---- scope.c ---- */
#define VERIFY_MOST_SYSTEMS 64

/* What is verified of one server. */
struct verify_scope {
    const char *server;
    struct catalogue catalogue;
    const struct catalogue_entry *only; /* the backup named; NULL: all */
    struct system_id systems[VERIFY_MOST_SYSTEMS];
    size_t system_count;
    bool is_wal_only;
};
bool verify_scope_open(const struct verify *verify, const struct request *request, const char *server,
                       struct verify_scope *ret_scope, struct error *err) NODISCARD;
void verify_scope_done(struct verify_scope *scope);
/* Metadata that cannot be read is told even when only WAL was asked for: what it needs is not known then. */
bool verify_scope_has(const struct verify_scope *scope, const struct catalogue_entry *entry);
/* Bytes that a whole run will look at, for the progress: a little more or less does no harm. Plain ones: looking at
 * them takes the time, of WAL that compresses well, too. */
uint64_t verify_scope_bytes(const struct verify *verify, const struct verify_scope *scope);

/* ---- partial.c ---- */
/* --oldest-first and --max-duration: what was verified longest ago comes first, and what there is no time for is left.
 */
bool verify_partially(struct verify *verify, const struct request *request, const struct config *config,
                      json_t *results, struct error *err) NODISCARD;
/* The servers a request is about, in the order of the configuration: names, borrowed; malloc'd. */
bool verify_names(const struct verify *verify, const struct request *request, const struct config *config,
                  const char ***ret_names, size_t *ret_count, struct error *err) NODISCARD;

/* ---- record.c: what was verified, when, and with what result ---- */
/* Good, and not longer ago than --since says. */
bool verify_is_recent(const struct verify *verify, const struct catalogue_entry *entry);
bool verify_is_recent_segment(const struct verify *verify, const struct wal_verified *verified,
                              const struct wal_file *file);
/* Of the backup, since verify->mark: its lock must be held. */
bool verify_record_backup(struct verify *verify, const struct catalogue_entry *entry, uint64_t milliseconds,
                          struct error *err) NODISCARD;
/* It was ended before its end, after so long: what was known of it before stays, unless damage was found already. */
bool verify_record_unfinished(struct verify *verify, const struct catalogue_entry *entry, uint64_t milliseconds,
                              struct error *err) NODISCARD;
/* Pins, annotations and drills that cannot be read are problems, but not the backup's own. */
bool verify_notes(struct verify *verify, const struct catalogue_entry *entry, struct error *err) NODISCARD;
/* A record that cannot be written is no reason to end: what was found is told all the same. */
bool verify_tell_unrecorded(const struct verify *verify, struct error *failure, struct error *err) NODISCARD;

#define VERIFY_NO_FRAME (-1)

/* ---- report.c ---- */
/* `backup` NULL: not in a backup. `suffering` is stolen: names of backups; NULL means `backup` alone. */
bool verify_problem(struct verify *verify, const char *backup, const char *file, int64_t frame, json_t *suffering,
                    struct error *err, const char *format, ...) PRINTF_LIKE(7, 8) NODISCARD;
/* Counts bytes looked at, shows progress, and ends with ECANCELED when SIGTERM has come. */
bool verify_advance(struct verify *verify, uint64_t bytes, const char *item, struct error *err) NODISCARD;
/* An error of reading that is damage (INTEGRITY, EIO, a missing file) becomes a problem; any other stays an error. */
bool verify_read_failure(struct verify *verify, const char *backup, const char *file, int64_t frame, json_t *suffering,
                         const struct error *failure, struct error *err) NODISCARD;
bool verify_is_damage(const struct error *failure);

/* ---- backup.c ---- */
/* What came of one backup, as the result has it. */
enum verify_outcome { VERIFY_OK, VERIFY_DAMAGED, VERIFY_RECENT, VERIFY_LEFT, VERIFY_GONE };
/* Of one that is gone nothing is said. */
void verify_add_result(json_t *results, const struct catalogue_entry *entry, enum verify_outcome outcome);
/* OK, DAMAGED, or GONE: deleted since it was listed, which a warning says. */
bool verify_backup(struct verify *verify, const struct catalogue_entry *entry, enum verify_outcome *ret_outcome,
                   struct error *err) NODISCARD;

/* What the parts of one backup's check share. */
struct checked_backup {
    struct verify *verify;
    const struct backup_meta *meta;
    char *folder;
    struct index index;
    bool has_index; /* read, and byte for byte what the metadata says */
};
/* ---- files.c ---- */
/* Size and SHA-256 of a whole file as the metadata has them; *ret_is_sound says so, else a problem was told. */
bool verify_file(struct checked_backup *backup, const struct backup_file *file, bool *ret_is_sound,
                 struct error *err) NODISCARD;
/* ---- archive.c ---- */
/* Every frame, the members within them, the seek table, and the whole file. */
bool verify_archive(struct checked_backup *backup, const struct backup_file *file, const char *archive,
                    struct error *err) NODISCARD;
/* ---- manifest_check.c ---- */
/* The manifest against the members of the index. */
bool verify_manifest(struct checked_backup *backup, const struct backup_file *file, struct error *err) NODISCARD;

/* ---- wal.c ---- */
struct verify_wal_outcome {
    size_t segments, recent; /* read; left out by --since */
    json_t *ranges;          /* array; the caller frees */
};
/* All WAL of one system; from the first segment that `from` needs, with NULL everything. */
bool verify_wal(struct verify *verify, const struct catalogue *catalogue, const struct system_id *system,
                const struct backup_meta *from, struct verify_wal_outcome *outcome, struct error *err) NODISCARD;

/* One system's WAL while it is checked. */
struct checked_wal {
    struct verify *verify;
    struct wal_archive archive;
    const struct catalogue *catalogue;
    struct wal_files files;
    struct wal_ranges ranges;
    struct wal_ranges expired; /* removed by retention: no gap */
    struct history *histories; /* those that could be read, and the empty one of timeline 1 */
    size_t history_count;
    bool has_record; /* of the gaps: it could be read */
    struct wal_gap_record record;
    struct wal_verified *verified; /* empty when it could not be read */
};
/* Lists what is held and looks at all but the segments' contents; segment_size stays 0 when no WAL was ever stored. */
bool verify_wal_open(struct verify *verify, const struct catalogue *catalogue, const struct system_id *system,
                     struct checked_wal *ret_wal, struct error *err) NODISCARD;
void verify_wal_done(struct checked_wal *wal);
/* Of each backup (or of `only`): is the WAL held that it needs itself? */
bool verify_wal_of_backups(struct checked_wal *wal, const struct backup_meta *only, struct error *err) NODISCARD;
/* The first segment that a recovery of `from` reads; with NULL the first of all. */
struct wal_segment verify_first_segment(const struct checked_wal *wal, const struct backup_meta *from);
json_t *verify_ranges_to_json(const struct checked_wal *wal);
/* The names of backups that cannot be recovered through, or beyond, this stretch. New reference. */
json_t *verify_suffering(const struct checked_wal *wal, struct timeline timeline, struct wal_position start,
                         struct wal_position end);
const struct history *verify_find_history(const struct checked_wal *wal, struct timeline timeline);
/* ---- wal_damage.c ---- */
bool verify_read_record(struct checked_wal *wal, struct error *err) NODISCARD;
/* Of a segment: it is damaged, or sound. */
bool verify_note_damage(struct checked_wal *wal, const struct wal_file *file, const struct error *damage,
                        struct error *err) NODISCARD;
bool verify_note_sound(struct checked_wal *wal, const struct wal_file *file, struct error *err) NODISCARD;
/* It was found damaged before, and has not been written since; NULL when not. */
const struct wal_gap *verify_known_damage(const struct checked_wal *wal, const struct wal_file *file);
/* ---- wal_timelines.c ---- */
/* Reads the histories and compares each fork with the bytes on both sides of it. */
bool verify_timelines(struct checked_wal *wal, struct error *err) NODISCARD;
/* ---- wal_segments.c ---- */
/* Those of wal->files from number `begin` to before `end`. */
struct verify_stretch {
    size_t begin, end;
};
/*
 * Reads those of the stretch that do not come before `first`, on its timeline and later ones, and counts them. What was
 * found sound is recorded as it goes, also when it ends early.
 */
bool verify_segments(struct checked_wal *wal, struct verify_stretch stretch, struct wal_segment first,
                     struct verify_wal_outcome *outcome, struct error *err) NODISCARD;
bool verify_is_before(struct wal_segment segment, struct wal_segment first);

static inline void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

#endif
