#ifndef PGCOFFER_JOBS_VERIFY_VERIFY_INTERNAL_H
#define PGCOFFER_JOBS_VERIFY_VERIFY_INTERNAL_H

#include "jobs/progress_meter_internal.h"
#include "pgcoffer/jobs/jobs.h"
#include "pgcoffer/repo/catalogue.h"
#include "pgcoffer/repo/index.h"
#include "pgcoffer/repo/wal_gaps.h"

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
    const char *server; /* at hand */
};

#define VERIFY_NO_FRAME (-1)

/* ---- report.c ---- */
/* `backup` NULL: not in a backup. `suffering` is stolen: names of backups; NULL means `backup` alone. */
bool verify_problem(struct verify *verify, const char *backup, const char *file, int64_t frame, json_t *suffering,
                    struct error *err, const char *format, ...) PRINTF_LIKE(7, 8) NODISCARD;
/* Counts stored bytes read, shows progress, and ends with ECANCELED when SIGTERM has come. */
bool verify_advance(struct verify *verify, uint64_t bytes, const char *item, struct error *err) NODISCARD;
/* An error of reading that is damage (INTEGRITY, EIO, a missing file) becomes a problem; any other stays an error. */
bool verify_read_failure(struct verify *verify, const char *backup, const char *file, int64_t frame, json_t *suffering,
                         const struct error *failure, struct error *err) NODISCARD;
bool verify_is_damage(const struct error *failure);

/* ---- backup.c ---- */
bool verify_backup(struct verify *verify, const struct catalogue_entry *entry, struct error *err) NODISCARD;

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
    size_t segments;
    json_t *ranges; /* array; the caller frees */
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
    struct history *histories; /* those that could be read, and the empty one of timeline 1 */
    size_t history_count;
    bool has_record; /* of the gaps: it could be read */
    struct wal_gap_record record;
};
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
/* Reads those that do not come before `first`, on its timeline and later ones; *ret_count of them. */
bool verify_segments(struct checked_wal *wal, struct wal_segment first, size_t *ret_count, struct error *err) NODISCARD;

static inline void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

#endif
