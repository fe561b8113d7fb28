#ifndef PGCOFFER_JOBS_SERVE_WINDOWS_INTERNAL_H
#define PGCOFFER_JOBS_SERVE_WINDOWS_INTERNAL_H

#include "jobs/serve/plan_internal.h"

/*
 * "Every moment from A to B can be restored": which times `restore --target-time` reaches when nothing else is said.
 * Pure, and decided by what decides there: the backup and the timeline of a time are those that plan_choose_backup()
 * takes, so that no window holds a time that the plan refuses. Times are of the server's clock.
 *
 * One thing the plan sees that is not looked for here, because it stands in the records only: a transaction within a
 * backup that ended later than the backup did, which takes a server's clock that was set back meanwhile. Right behind
 * the beginning of a window, and for as long as the clock was set back, the plan refuses what is claimed here; later on
 * it takes an older backup of the window.
 */
struct window {
    struct timestamp from, until; /* from < until; both can be restored, and so can all between them */
    const struct catalogue_entry *first, *last;
    struct timeline timeline; /* of `end` */
    struct wal_position end;  /* the recovery of `last` goes so far */
    bool is_open;             /* nothing is missing behind it: what comes in makes it longer */
};

enum window_loss {
    WINDOW_LOSS_WAL,      /* not held */
    WINDOW_LOSS_OWN_WAL,  /* a backup lies there, and lacks WAL that it needs itself */
    WINDOW_LOSS_HISTORY,  /* a timeline's history cannot be read: which one is to be followed cannot be told */
    WINDOW_LOSS_EXPIRED,  /* not held, because retention removed it */
    WINDOW_LOSS_UNPROVEN, /* nothing is known to be missing, but nor is what is held known to be all of that time */
};
#define WINDOW_LOSS_COUNT 5
const char *window_loss_word(enum window_loss loss); /* "wal", "own-wal", "history", "expired", "unproven" */

/*
 * Later than `from` and before `until` nothing can be restored but the ends of backups alone. Where there is no window
 * at all one gap from 0 to 0 says why.
 */
struct window_gap {
    struct timestamp from, until;         /* until 0: nothing behind it can be restored yet */
    enum window_loss loss;                /* the first one in it that tells more than UNPROVEN */
    struct wal_gap wal;                   /* WAL, OWN_WAL, EXPIRED: what is missing, and why as far as that is known */
    const struct catalogue_entry *backup; /* OWN_WAL: which one */
    char damage[256];                     /* HISTORY: what is wrong with it */
    size_t losses;                        /* with it, all in it */
};

enum window_place {
    WINDOW_PLACE_WITHIN,
    WINDOW_PLACE_OWN_END,  /* it can be restored to its own end, and to no other moment */
    WINDOW_PLACE_TIMELINE, /* it lies on the way to `timeline` only, which is not the one that is followed by itself */
    WINDOW_PLACE_UNUSABLE, /* it cannot be restored: WAL that it needs is missing, or its timeline's history */
};
const char *window_place_word(enum window_place place); /* "within", "own-end", "timeline", "unusable" */

struct window_backup { /* complete ones of the stock's system, oldest first */
    const struct catalogue_entry *entry;
    enum window_place place;
    struct timeline timeline;
};

struct windows {            /* all borrow from the stock */
    struct window *windows; /* by time; between two of them is one gap, and one may follow the last */
    size_t count;
    struct window_gap *gaps;
    size_t gap_count;
    struct window_backup *backups;
    size_t backup_count;
};

/* The stock's lookup is not used. */
struct window_lookup {
    void *context;
    /* The latest commit that a recovery so far replays; 0: not found. */
    struct timestamp (*last_commit)(void *context, const struct history *history, const struct reach *reach);
};
void windows_find(const struct plan_stock *stock, const struct window_lookup *lookup, struct windows *ret_windows);
void windows_done(struct windows *windows);
static inline void scoped_windows(struct windows *windows)
{
    windows_done(windows);
}

#endif
