#ifndef PGCOFFER_SRC_JOBS_EXPIRE_EXPIRE_INTERNAL_H
#define PGCOFFER_SRC_JOBS_EXPIRE_EXPIRE_INTERNAL_H

#include "pgcoffer/jobs/jobs.h"
#include "pgcoffer/repo/catalogue.h"
#include "pgcoffer/repo/retention.h"

/* The WAL of one system identifier, as retention_decide_wal() wants it. */
struct expire_wal {
    struct wal_archive archive; /* segment_size 0: none was ever stored, and nothing else is set */
    struct wal_files files;
    struct wal_histories histories;
    struct wal_ranges sound; /* without damaged segments */
    struct retention_wal view;
    struct retention_lease *leases;
    struct retention_wal_verdict *verdicts;
};

/* One server: what there is, and what becomes of it. */
struct expire {
    const struct repo *repo;
    const char *server;
    struct retention_policy policy;
    struct catalogue catalogue;
    struct retention_backup *backups; /* one for each entry of the catalogue, in its order */
    struct retention_verdict *verdicts;
    json_t **required; /* what backups[i].required_ids point into */
    struct retention_way *ways;
    struct retention_stock stock;
    bool knows_current; /* server.json names the present cluster; else each may be it */
    struct expire_wal *wal;
    size_t wal_count;
    json_t *warnings; /* array */
};

/* ---- stock.c ---- */
/* Reads everything, at `now`. What stands in the way of a decision is in the stock, not an error. */
bool expire_open(const struct repo *repo, const char *server, const struct retention_policy *policy,
                 struct timestamp now, struct expire *ret_expire, struct error *err) NODISCARD;
void expire_done(struct expire *expire);
void expire_warn(struct expire *expire, const char *format, ...) PRINTF_LIKE(2, 3);
/* Of the backups and then of the WAL; the WAL alone again, when a verdict on a backup was changed. */
/* What restores need that began until now; *ret_is_new (may be NULL): there is one more than the last time. */
bool expire_read_leases(struct expire *expire, struct expire_wal *wal, bool *ret_is_new, struct error *err) NODISCARD;
void expire_decide(struct expire *expire);
void expire_decide_wal(struct expire *expire);

/* ---- policy.c ---- */
/* That of the settings, with what the request would have instead. USAGE. */
bool expire_policy(const struct settings *settings, const struct request *request, struct retention_policy *ret_policy,
                   struct error *err) NODISCARD;
json_t *expire_policy_to_json(const struct retention_policy *policy);

/* ---- report.c ---- */
/* An item for each backup and each stretch of WAL. */
bool expire_tell(const struct expire *expire, struct control_stream *events, struct error *err) NODISCARD;

#endif
