#ifndef PGCOFFER_WAL_CONTENTS_H
#define PGCOFFER_WAL_CONTENTS_H

#include "pgcoffer/base/clock.h"
#include "pgcoffer/wal/record.h"

/*
 * What in WAL a recovery may be told to stop at: the ends of transactions, restore points, and where a timeline begins.
 * Source of the format: PostgreSQL's access/xact.h, access/xlog_internal.h and catalog/pg_control.h, 13 to 18.
 */
#define WAL_RESTORE_POINT_SIZE 64 /* with the final NUL */

enum wal_event_kind { WAL_EVENT_COMMIT, WAL_EVENT_ABORT, WAL_EVENT_RESTORE_POINT, WAL_EVENT_TIMELINE };

struct wal_event {
    enum wal_event_kind kind;
    struct wal_position position; /* where its record begins */
    bool is_whole;                /* false: what follows could not all be read */
    struct timestamp time;        /* by the server's clock; 0: not read */
    /* COMMIT and ABORT: of the top transaction, also of a prepared one, as recovery_target_xid means it */
    bool has_transaction;
    uint32_t transaction;
    char name[WAL_RESTORE_POINT_SIZE];  /* RESTORE_POINT; bytes of any encoding */
    struct timeline timeline, previous; /* TIMELINE */
};

/* False: the record is none of these. */
bool wal_event_read(const struct wal_record *record, struct wal_event *ret_event);

/* The events of a stretch of WAL, as far as they say where to look. */
#define WAL_CONTENTS_MOST_POINTS    64
#define WAL_CONTENTS_MOST_TIMELINES 16

struct wal_contents_point {
    char name[WAL_RESTORE_POINT_SIZE];
    struct timestamp time;
    struct wal_position position;
};
struct wal_contents_timeline {
    struct timeline timeline, previous;
    struct timestamp time;
    struct wal_position position;
};
struct wal_contents {
    uint64_t commits, aborts;
    struct timestamp first_commit_at, last_commit_at; /* the earliest and the latest, not by place; 0: none */
    struct timestamp first_end_at, last_end_at;       /* of commits and aborts: both end a recovery by time */
    bool has_transactions;
    uint32_t lowest_transaction, highest_transaction; /* in the order of transaction ids, which wrap */
    struct wal_contents_point points[WAL_CONTENTS_MOST_POINTS];
    size_t point_count;
    bool has_more_points;
    struct wal_contents_timeline timelines[WAL_CONTENTS_MOST_TIMELINES];
    size_t timeline_count;
    uint64_t unread; /* events that were not whole: of a version that is not known, or larger than any that is */
};

void wal_contents_add(struct wal_contents *contents, const struct wal_event *event);
/* May a transaction of that id have ended there? */
bool wal_contents_may_have(const struct wal_contents *contents, uint32_t transaction);
bool wal_contents_is_same(const struct wal_contents *one, const struct wal_contents *other);

#endif
