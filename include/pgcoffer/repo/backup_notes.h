#ifndef PGCOFFER_REPO_BACKUP_NOTES_H
#define PGCOFFER_REPO_BACKUP_NOTES_H

#include "pgcoffer/base/file_lock.h"
#include "pgcoffer/repo/layout.h"

/*
 * What is noted about a backup after it was taken: small files beside backup.json, which itself never changes. Each is
 * written as a whole and durable on return, and carries a checksum. A missing file is an answer (not pinned, never
 * verified); a broken one, or one of a newer format, is INTEGRITY and has to be shown. Who writes one holds the
 * backup's lock for reading, so that the backup is not deleted meanwhile, and within it backup_notes_lock().
 */
#define BACKUP_NOTE_MOST_BYTES 65536
#define BACKUP_NOTE_TEXT_SIZE  256
#define BACKUP_PROOF_WORDS     512

/*
 * All notes of a server have one lock, for the moment it takes to write one: two writers would share a temporary file,
 * and who reads a note to write it anew would lose what the other noted. BUSY when somebody keeps it for seconds.
 */
bool backup_notes_lock(const struct repo *repo, const char *server, struct file_lock *ret_lock,
                       struct error *err) NODISCARD;

/* pin.json: the backup is not to be removed. */
struct backup_pin {
    bool is_pinned; /* the file is there, whether the pin still holds or not */
    char reason[BACKUP_NOTE_TEXT_SIZE];
    struct timestamp pinned_at, until; /* until 0: for ever */
};

/* On failure *ret_pin is a pin for ever: what cannot be read is kept. */
bool backup_pin_read(const struct repo *repo, const char *server, const struct system_id *system,
                     const struct backup_id *id, struct backup_pin *ret_pin, struct error *err) NODISCARD;
bool backup_pin_holds(const struct backup_pin *pin, struct timestamp now);
/* USAGE: the reason is too long, or has bytes that are not UTF-8, or control characters. */
bool backup_pin_write(const struct repo *repo, const char *server, const struct system_id *system,
                      const struct backup_id *id, const struct backup_pin *pin, struct error *err) NODISCARD;
/* A broken one, too. *ret_was_there tells whether there was one. */
bool backup_pin_remove(const struct repo *repo, const char *server, const struct system_id *system,
                       const struct backup_id *id, bool *ret_was_there, struct error *err) NODISCARD;

/* annotations.json: words of the user, sorted by key. */
#define BACKUP_ANNOTATIONS_MOST       64
#define BACKUP_ANNOTATION_KEY_MOST    63
#define BACKUP_ANNOTATION_VALUE_MOST  1024
#define BACKUP_ANNOTATIONS_MOST_BYTES 16384 /* all keys and values together, quotes and backslashes twice */

struct backup_annotation {
    char *key;   /* [A-Za-z0-9_.-]{1,63} */
    char *value; /* UTF-8 without control characters, not empty */
};

struct backup_annotations {
    struct backup_annotation entries[BACKUP_ANNOTATIONS_MOST];
    size_t count;
};

bool backup_annotations_read(const struct repo *repo, const char *server, const struct system_id *system,
                             const struct backup_id *id, struct backup_annotations *ret_annotations,
                             struct error *err) NODISCARD;
void backup_annotations_done(struct backup_annotations *annotations);
static inline void scoped_backup_annotations(struct backup_annotations *annotations)
{
    backup_annotations_done(annotations);
}
/* Sets or replaces KEY; an empty value removes it. USAGE names what is wrong with the key, the value or the number. */
bool backup_annotations_set(struct backup_annotations *annotations, const char *key, const char *value,
                            struct error *err) NODISCARD;
/* Without any the file is removed. */
bool backup_annotations_write(const struct repo *repo, const char *server, const struct system_id *system,
                              const struct backup_id *id, const struct backup_annotations *annotations,
                              struct error *err) NODISCARD;

/* That a backup was looked at as a whole, and with what result. */
struct backup_proof {
    struct timestamp at; /* when it ended; 0: never */
    bool is_good;
    uint64_t milliseconds;            /* of a verification: how long it took; of a drill: the measured recovery time */
    char words[BACKUP_PROOF_WORDS];   /* what was wrong; "" when it is good */
    uint64_t unfinished_milliseconds; /* of a later verification that was ended by --max-duration; 0: none */
};

/* verified.json. `words` may be anything: it is made printable. */
bool backup_verified_read(const struct repo *repo, const char *server, const struct system_id *system,
                          const struct backup_id *id, struct backup_proof *ret_proof, struct error *err) NODISCARD;
bool backup_verified_write(const struct repo *repo, const char *server, const struct system_id *system,
                           const struct backup_id *id, const struct backup_proof *proof, struct error *err) NODISCARD;

/* drill.json: the last rehearsal of a restore. */
enum drill_phase { DRILL_RESTORE, DRILL_START, DRILL_REPLAY, DRILL_AMCHECK, DRILL_QUERY, DRILL_PHASE_COUNT };

struct backup_drill {
    struct backup_id backup;
    struct system_id system;
    struct backup_proof proof;
    bool was_run[DRILL_PHASE_COUNT]; /* a phase that was begun, also one that failed */
    uint64_t phase_milliseconds[DRILL_PHASE_COUNT];
    char target[BACKUP_NOTE_TEXT_SIZE]; /* "time 2026-11-22T01:30:00Z"; "" is the end of what is held */
    uint64_t rows;                      /* of the query's answer, when DRILL_QUERY was run */
    int server_version;                 /* of the PostgreSQL that was started (150018); 0: none was */
};

const char *drill_phase_word(enum drill_phase phase); /* "restore", "start", "replay", "amcheck", "query" */
/*
 * What somebody tells who drilled, as one JSON object: the keys of drill.json but for format, checksum, backup,
 * system_identifier and at. INTEGRITY names what is wrong with it; backup, system and proof.at are left alone.
 */
bool backup_drill_parse_result(const char *text, size_t size, struct backup_drill *drill, struct error *err) NODISCARD;
/* That text: for the wire. malloc'd. */
char *backup_drill_result_text(const struct backup_drill *drill) NEVER_NULL;
/* Of this backup. */
bool backup_drill_read(const struct repo *repo, const char *server, const struct system_id *system,
                       const struct backup_id *id, struct backup_drill *ret_drill, struct error *err) NODISCARD;
/* Of the server: the one that was recorded last, even if its backup is gone. */
bool server_drill_read(const struct repo *repo, const char *server, struct backup_drill *ret_drill,
                       struct error *err) NODISCARD;
/* The one that succeeded last. A repository of an older pgcoffer has none. */
bool server_good_drill_read(const struct repo *repo, const char *server, struct backup_drill *ret_drill,
                            struct error *err) NODISCARD;
/* Beside the backup drill->backup and for the server; one that is good also as the server's last good one. */
bool backup_drill_write(const struct repo *repo, const char *server, const struct backup_drill *drill,
                        struct error *err) NODISCARD;

#endif
