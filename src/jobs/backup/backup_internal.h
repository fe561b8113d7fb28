#ifndef PGCOFFER_JOBS_BACKUP_BACKUP_INTERNAL_H
#define PGCOFFER_JOBS_BACKUP_BACKUP_INTERNAL_H

#include "jobs/backup/receiver_view_internal.h"
#include "jobs/progress_meter_internal.h"
#include "pgcoffer/jobs/jobs.h"
#include "pgcoffer/repo/backup_meta.h"

/* One run of the backup role: what its files share. */
struct backup_run {
    struct job *job;
    struct control_stream *events;
    struct receiver_view receiver;
    struct progress_meter meter;
};

/* Shows the phase at once. */
bool backup_run_phase(struct backup_run *run, const char *phase, const char *item, uint64_t total_bytes,
                      struct error *err) NODISCARD;

/* ---- take.c: from the connection to copied.json ---- */
/* A failure, or SIGTERM, removes what was copied. */
bool take_backup(struct backup_run *run, struct backup_meta **ret_meta, struct error *err) NODISCARD;

/* ---- required_wal.c: the WAL a backup needs ---- */
/* Until the receiver streams this very system. After `connect_timeout` times three, or soon when it shows a fault that
 * lasts, its own error is the reason. */
bool required_wal_await_receiver(struct backup_run *run, const struct system_id *system, struct error *err) NODISCARD;
/* Is the WAL from the backup's start held, or bound to come? Otherwise INTEGRITY, naming what is missing. */
bool required_wal_check_start(struct backup_run *run, const struct backup_meta *meta, struct error *err) NODISCARD;

/*
 * Keeps it from retention until the backup is listed: on a standby it may begin before every other one. That of the
 * backup before goes, and this one stays behind a success: what is listed keeps the same WAL. BUSY: retention was
 * faster.
 */
bool required_wal_lease(const struct backup_run *run, const struct backup_meta *meta, struct error *err) NODISCARD;
/* After a failure. */
void required_wal_release(const struct backup_run *run, const struct backup_meta *meta);

enum required_wal_state {
    REQUIRED_WAL_DURABLE,
    REQUIRED_WAL_COMING,
    REQUIRED_WAL_LOST, /* will never come; the error says what is missing */
};
bool required_wal_look(struct backup_run *run, const struct backup_meta *meta, enum required_wal_state *ret_state,
                       struct error *ret_reason, struct error *err) NODISCARD;

/* ---- finish.c: from copied.json to backup.json ---- */
/* Waits until the WAL is durable. LOST is an error of kind INTEGRITY, and copied.json stays. */
bool finish_backup(struct backup_run *run, struct backup_meta *meta, struct error *err) NODISCARD;
/* After a start of the daemon: sweeps, and finishes what was copied before. New reference with swept and resumed. */
bool finish_left_over(struct backup_run *run, json_t **ret_result, struct error *err) NODISCARD;

#endif
