#ifndef PGCOFFER_REPO_RETENTION_H
#define PGCOFFER_REPO_RETENTION_H

#include "pgcoffer/repo/wal_archive.h"

/*
 * Which backups and which WAL are kept: pure, without a look at the disk or the clock. What is removed, what a preview
 * shows and what an explanation says come from these functions and from nothing else. doc/decisions/0028 says why each
 * rule is as it is. Times are UTC, weeks are those of ISO 8601.
 */
struct retention_policy {
    unsigned days, weeks, months, years; /* 0: the place is left out */
    unsigned count;                      /* not 0: it decides instead of the four */
    unsigned least;                      /* at least 1 */
    int64_t wal_seconds;                 /* 0: every moment since the oldest backup that the above keeps */
};

enum retention_state {
    RETENTION_COMPLETE,
    RETENTION_UNSOUND, /* complete, and damaged, found damaged, or without the WAL that it needs: never counted */
    RETENTION_WAITING,
    RETENTION_UNREADABLE, /* but for id, system and start nothing is known of it */
};

struct retention_backup {
    struct backup_id id;
    struct system_id system;
    int major_version; /* 15; 0 when unreadable */
    enum retention_state state;
    struct timestamp started_at; /* what its age is counted from */
    struct timestamp stopped_at; /* moments from here on can be reached; the server's clock */
    struct timeline start_timeline, end_timeline;
    struct wal_position start, end;
    bool is_pinned;
    const char *const *required_ids; /* borrowed */
    size_t required_count;
};

/* A timeline that is written, or was since the window opened: its moments are to be reached from a backup on its way.
 */
struct retention_way {
    struct system_id system;
    struct timeline timeline;
    const struct history *history; /* NULL: not known, so it may come by any backup */
    bool is_live;                  /* perhaps it is written now */
};

/* Backups of one system identifier and major version are a group: those of another group are never counted with them.
 */
struct retention_stock {
    const struct retention_backup *backups;
    size_t count;
    const struct retention_way *ways; /* of all systems; none: whatever is newest is on the way */
    size_t way_count;
    struct system_id current; /* "": not known, then that of the newest complete backup */
    struct timestamp now;
};

enum retention_rule {
#define BACKUP_RULE(id, word) RETENTION_RULE_##id,
#define WAL_RULE(id, word, before, behind)
#include "pgcoffer/repo/retention_rules.def"
#undef BACKUP_RULE
#undef WAL_RULE
};
const char *retention_rule_word(enum retention_rule rule);

#define RETENTION_WORDS_SIZE 160
struct retention_verdict {
    bool is_kept;
    bool is_counted; /* kept by the policy itself, and not just pinned or required */
    enum retention_rule rule;
    char words[RETENTION_WORDS_SIZE]; /* the rule for people: "the one of week 2026-W47" */
};
/* ret_verdicts: as many as there are backups, in their order, which may be any. */
void retention_decide(const struct retention_policy *policy, const struct retention_stock *stock,
                      struct retention_verdict *ret_verdicts);

/* ---- WAL ---- */

/* A restored server may replay everything from `start` on the way to `timeline`, and beyond. */
struct retention_lease {
    struct timeline timeline;
    struct timeline start_timeline;
    struct wal_position start;
};

/* The WAL of one system identifier. */
struct retention_wal {
    struct system_id system;
    bool is_current; /* it may be receiving */
    struct wal_segment_size segment_size;
    const struct wal_files *files;   /* sorted, as wal_archive_list() gives them */
    const struct history *histories; /* with that of timeline 1 */
    size_t history_count;
    bool has_damaged_history;
    const struct retention_lease *leases;
    size_t lease_count;
};

/* What retention_stock.ways wants of this WAL, whose histories they borrow. ret_ways: as many as there are files. */
void retention_find_ways(const struct retention_policy *policy, const struct retention_wal *wal, struct timestamp now,
                         struct retention_way *ret_ways, size_t *ret_count);

enum retention_wal_rule {
#define BACKUP_RULE(id, word)
#define WAL_RULE(id, word, before, behind) RETENTION_WAL_##id,
#include "pgcoffer/repo/retention_rules.def"
#undef BACKUP_RULE
#undef WAL_RULE
};
const char *retention_wal_rule_word(enum retention_wal_rule rule);

struct retention_wal_verdict {
    bool is_kept;
    enum retention_wal_rule rule;
    const struct retention_backup *backup; /* whose need it is; may be NULL */
};
/*
 * `verdicts` are those of retention_decide(): WAL follows what is kept. A verdict for each file.
 */
void retention_decide_wal(const struct retention_policy *policy, const struct retention_stock *stock,
                          const struct retention_verdict *verdicts, const struct retention_wal *wal,
                          struct retention_wal_verdict *ret_verdicts);

/* Neighbours with the same verdict, for people. */
struct retention_stretch {
    struct timeline timeline;
    struct wal_position start, end;
    uint64_t segments, stored_bytes;
    struct retention_wal_verdict verdict;
};
/* malloc'd. */
void retention_stretches(const struct retention_wal *wal, const struct retention_wal_verdict *verdicts,
                         struct retention_stretch **ret_stretches, size_t *ret_count);
/* "every moment since backup 2026... can be reached". */
void retention_wal_words(const struct retention_wal_verdict *verdict, char ret_words[RETENTION_WORDS_SIZE]);
/*
 * What will not be there, and is no gap: from the first byte removed to the next one kept on its timeline, with the
 * holes in between and before, for nobody reaches these any more.
 */
void retention_expired(const struct retention_wal *wal, const struct retention_wal_verdict *verdicts,
                       struct wal_ranges *ret_expired);

/*
 * What must not count as removed, for it is held, or a backup that is kept needs it; in no order. It matters when more
 * is kept than before: another policy, a lease.
 */
void retention_kept(const struct retention_stock *stock, const struct retention_verdict *verdicts,
                    const struct retention_wal *wal, const struct retention_wal_verdict *wal_verdicts,
                    struct wal_ranges *ret_kept);

#endif
