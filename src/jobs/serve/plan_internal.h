#ifndef PGCOFFER_JOBS_SERVE_PLAN_INTERNAL_H
#define PGCOFFER_JOBS_SERVE_PLAN_INTERNAL_H

#include "jobs/reach_internal.h"
#include "pgcoffer/repo/catalogue.h"
#include "pgcoffer/repo/wal_expire.h"
#include "pgcoffer/repo/wal_gaps.h"
#include "pgcoffer/wal/contents.h"

/*
 * The plan of a restore: which backup, along which timeline, how far. Pure: what is on the disk comes in as values,
 * so that every rule can be tested with made-up repositories.
 */
enum plan_target { PLAN_END, PLAN_IMMEDIATE, PLAN_TIME, PLAN_LSN, PLAN_XID, PLAN_NAME };
enum plan_timeline_choice { PLAN_TIMELINE_LATEST, PLAN_TIMELINE_CURRENT, PLAN_TIMELINE_NUMBER };

struct plan_wish {
    const struct catalogue_entry *backup; /* named by the operator; NULL: choose one */
    enum plan_target target;
    const char *value; /* as the operator wrote it; "" without a target */
    struct timestamp time;
    struct wal_position position;
    uint32_t transaction;
    bool is_exclusive;
    enum plan_timeline_choice timeline_choice;
    struct timeline timeline;
};

/* A timeline that is known, by its history or by its WAL. */
struct plan_timeline {
    struct history history;
    struct wal_complete complete;
    bool is_damaged; /* the history is there and cannot be read; `damage` says why */
    struct error damage;
};

/* ---- what the WAL holds: asked for while planning ---- */

/* The records between two positions on the way along a history that the target of `wish` names. */
struct plan_search {
    const struct plan_wish *wish; /* of kind TIME, XID or NAME; NAME with value NULL: every restore point */
    const struct history *history;
    struct timeline timeline; /* of `from` */
    struct wal_position from, end;
    bool is_first_enough;
};

struct plan_match {
    struct timeline timeline;
    struct wal_position position; /* where the record begins */
    struct timestamp time;
    char name[WAL_RESTORE_POINT_SIZE];
};

struct plan_found {
    struct plan_match *matches; /* in the order of the WAL */
    size_t count;
    /* of what was looked through */
    struct timestamp last_end_at; /* the latest end of a transaction; 0: none */
    bool has_transactions;
    uint32_t lowest_transaction, highest_transaction;
    bool is_unsure;  /* there are records of which not all is known */
    bool has_damage; /* not everything could be read: */
    struct error damage;
};
void plan_found_done(struct plan_found *found);
void plan_found_add(struct plan_found *found, const struct plan_match *match);
/* Would a recovery stop at this record? */
bool plan_is_match(const struct plan_wish *wish, const struct wal_event *event);

struct plan_lookup {
    void *context;
    bool (*search)(void *context, const struct plan_search *search, struct plan_found *ret_found, struct error *err);
    /* Where the last record that ends before `end` begins; 0: none in the segment with `end` and the one before. */
    bool (*find_last_record)(void *context, struct timeline timeline, struct wal_position end,
                             struct wal_position *ret_position, struct error *err);
};

struct plan_stock {
    const char *server;
    const struct catalogue *catalogue;
    const struct system_id *system;        /* only its backups count, and all that follows is its WAL */
    const struct plan_timeline *timelines; /* ascending */
    size_t timeline_count;
    const struct wal_ranges *ranges;  /* without what is damaged */
    const struct wal_gaps *gaps;      /* may be NULL */
    const struct wal_ranges *expired; /* removed by retention; may be NULL */
    struct wal_segment_size segment_size;
    struct plan_lookup lookup;
};

#define PLAN_MOST_WARNINGS 16
#define PLAN_TEXT_SIZE     512
struct plan {
    const struct catalogue_entry *backup;
    const struct history *history; /* of the timeline to follow; borrowed from the stock */
    struct reach reach;
    const struct wal_gap *gap; /* what is known of the one behind the reach; NULL: nothing, or there is none */
    bool has_stop;             /* TIME, XID, NAME: the record that ends the recovery is known */
    struct plan_match stop;
    bool is_to_end;                  /* TIME: no record does; it is to end behind the last one, ... */
    struct wal_position last_record; /* ... which begins here */
    struct timestamp last_end_at;    /* TIME: of the last transaction before the end of the reach, unless has_stop */
    struct timestamp complete_at;    /* every transaction that ended by then lies within the reach */
    char why[PLAN_TEXT_SIZE];
    char warnings[PLAN_MOST_WARNINGS][PLAN_TEXT_SIZE];
    size_t warning_count;
};

/*
 * USAGE for what is out of reach (a target before the first backup or behind the last WAL, an unknown timeline);
 * INTEGRITY when WAL or metadata on the way is missing or damaged.
 */
bool plan_choose(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *ret_plan,
                 struct error *err) NODISCARD;
/* Has retention removed the WAL at that position? */
bool plan_is_expired(const struct plan_stock *stock, struct timeline timeline, struct wal_position position);
/* Without all of its own WAL a backup never becomes consistent. False: the first position that is missing. */
bool plan_has_own_wal(const struct plan_stock *stock, const struct history *history, const struct backup_meta *meta,
                      struct timeline *ret_missing_timeline, struct wal_position *ret_missing);
/* reach_complete_at() with what the stock knows of the timeline that `history` leads to. */
struct timestamp plan_noted_at(const struct plan_stock *stock, const struct history *history,
                               const struct reach *reach);
/* Appends a warning; more than there is room for are dropped. */
void plan_warn(struct plan *plan, const char *format, ...) PRINTF_LIKE(2, 3);

/* The names of all WAL files a recovery reads on the way to `end_timeline`, `end`: histories first, then segments. */
bool plan_each_wal_file(const struct plan_stock *stock, const struct plan *plan,
                        bool (*visit)(void *context, const char *name, struct error *err), void *context,
                        struct timeline end_timeline, struct wal_position end, struct error *err) NODISCARD;

/* INTEGRITY: WAL that is needed is not held. Names the gap, why it is there, and a backup behind it. */
bool plan_fail_missing(const struct plan_stock *stock, struct timeline timeline, struct wal_position position,
                       const char *what, struct error *err);

/* The same of what is missing behind the plan's reach. */
bool plan_fail_behind(const struct plan_stock *stock, const struct plan *plan, const char *what, struct error *err);

/* ---- plan_target.c: TIME, XID and NAME, after the timeline is chosen; takes an older backup where one is needed ----
 */
bool plan_find_target(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                      struct error *err) NODISCARD;
/* ---- plan_absent.c: the refusal of an xid or a name that is not there, with what is ---- */
bool plan_fail_absent(const struct plan_stock *stock, const struct plan_wish *wish, const struct plan *plan,
                      const struct plan_found *found, struct error *err);

/* ---- plan_choice.c: the first half of plan_choose() ---- */
bool plan_is_candidate(const struct plan_stock *stock, const struct plan_wish *wish, const struct history *history,
                       const struct catalogue_entry *entry);
bool plan_choose_backup(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                        struct error *err) NODISCARD;

#endif
