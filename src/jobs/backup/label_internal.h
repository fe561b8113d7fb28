#ifndef PGCOFFER_JOBS_BACKUP_LABEL_INTERNAL_H
#define PGCOFFER_JOBS_BACKUP_LABEL_INTERNAL_H

#include "pgcoffer/base/clock.h"
#include "pgcoffer/wal/position.h"

/* backup_label, as the server wrote it into the backup (do_pg_backup_start and BuildBackupLabel in xlog.c). */
#define LABEL_MOST_BYTES 65536

struct label {
    struct wal_position start_position;
    struct timeline start_timeline;
    bool from_standby;
    struct timestamp started_at; /* 0: the zone (log_timezone) has a name we cannot read */
};

/* INTEGRITY when a line that recovery needs is missing. */
bool label_parse(const char *text, size_t size, struct label *ret_label, struct error *err) NODISCARD;

#endif
