#ifndef PGCOFFER_JOBS_BACKUP_COPY_INTERNAL_H
#define PGCOFFER_JOBS_BACKUP_COPY_INTERNAL_H

#include "jobs/backup/reserve_internal.h"
#include "jobs/file_table_internal.h"
#include "pgcoffer/base/buffer.h"
#include "pgcoffer/pg/base_backup.h"
#include "pgcoffer/repo/backup_meta.h"
#include "pgcoffer/stage/checksum.h"
#include "pgcoffer/stage/stages.h"

/*
 * The bytes of one backup: from the server's archives and manifest into the files of the backup's folder, each
 * file described in the metadata, each member compared with the manifest.
 */
struct copy_options {
    const struct repo *repo;
    const char *folder; /* of the backup */
    struct reserve reserve;
    enum checksum_algorithm algorithm;
    int level;
    unsigned workers;
    /* Called often: for progress, and to stop. */
    bool (*advance)(void *context, uint64_t bytes_read, const char *item, struct error *err);
    void *context;
};

struct copy_outcome {
    struct buffer label; /* backup_label as it came; buffer_done() */
    bool has_range;
    struct timeline first_timeline, last_timeline; /* of the manifest's WAL ranges */
    struct wal_position first_start, last_end;
    uint64_t manifest_system; /* 0: a manifest of version 1 */
};

/* Everything between start and end. Fills files, sizes and counts of `meta`. */
bool copy_all(struct base_backup *source, const struct copy_options *options, struct backup_meta *meta,
              struct copy_outcome *ret_outcome, struct error *err) NODISCARD;

#endif
