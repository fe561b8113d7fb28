#ifndef PGCOFFER_JOBS_SERVE_PLAN_INTERNAL_H
#define PGCOFFER_JOBS_SERVE_PLAN_INTERNAL_H

#include "jobs/reach_internal.h"
#include "pgcoffer/repo/catalogue.h"

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
    enum plan_timeline_choice timeline_choice;
    struct timeline timeline;
};

/* A timeline that is known, by its history or by its WAL. */
struct plan_timeline {
    struct history history;
    bool is_damaged; /* the history is there and cannot be read; `damage` says why */
    struct error damage;
};

struct plan_stock {
    const char *server;
    const struct catalogue *catalogue;
    const struct system_id *system;        /* only its backups count, and all that follows is its WAL */
    const struct plan_timeline *timelines; /* ascending */
    size_t timeline_count;
    const struct wal_ranges *ranges;
    struct wal_segment_size segment_size;
};

#define PLAN_MOST_WARNINGS 16
#define PLAN_TEXT_SIZE     512
struct plan {
    const struct catalogue_entry *backup;
    const struct history *history; /* of the timeline to follow; borrowed from the stock */
    struct reach reach;
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
/* When the backup ended, by the server's clock where it is known: recovery targets are times of that clock. */
struct timestamp plan_stop_time(const struct backup_meta *meta);
/* Appends a warning; more than there is room for are dropped. */
void plan_warn(struct plan *plan, const char *format, ...) PRINTF_LIKE(2, 3);

/* The names of all WAL files a recovery reads on the way to `end_timeline`, `end`: histories first, then segments. */
bool plan_each_wal_file(const struct plan_stock *stock, const struct plan *plan,
                        bool (*visit)(void *context, const char *name, struct error *err), void *context,
                        struct timeline end_timeline, struct wal_position end, struct error *err) NODISCARD;

/* ---- plan_choice.c: the first half of plan_choose() ---- */
bool plan_choose_backup(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                        struct error *err) NODISCARD;

#endif
