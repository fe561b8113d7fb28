#ifndef PGCOFFER_JOBS_BACKUP_COPY_STATE_INTERNAL_H
#define PGCOFFER_JOBS_BACKUP_COPY_STATE_INTERNAL_H

#include "jobs/backup/copy_internal.h"

/* What copy.c, copy_index.c and copy_manifest.c share. */
struct copy {
    struct base_backup *source;
    const struct copy_options *options;
    struct backup_meta *meta;
    struct copy_outcome *outcome;
    struct file_table *files;
    uint64_t bytes_read;
    char archive[16]; /* "base" or the tablespace's oid */
    uint32_t tablespace_oid;
    char item[256]; /* the member that passed last */

    /* the index */
    struct stage *index;
    struct digest_result index_digest;
    struct buffer lines; /* not yet handed to the index stage */
    uint64_t frames;
    uint64_t members;
};

/* The next bytes of the archive or manifest at hand; counts them and lets the caller show progress. */
bool copy_read(struct copy *copy, const void **ret_bytes, size_t *ret_size, struct error *err) NODISCARD;
/* The end of a chain: a file of the backup's folder, that leaves WAL its room. */
struct stage *copy_store_new(const struct copy *copy);
/* A finished file: into the metadata, and the configured group. */
bool copy_keep_file(struct copy *copy, const char *name, const struct digest_result *digest,
                    struct error *err) NODISCARD;

bool copy_index_begin(struct copy *copy, struct error *err) NODISCARD;
bool copy_index_frame(struct copy *copy, const struct frame_info *frame, struct error *err) NODISCARD;
bool copy_index_member(struct copy *copy, const char *path, bool is_directory, uint32_t mode, uint64_t size,
                       uint64_t data_offset, const char *checksum, struct error *err) NODISCARD;
bool copy_index_finish(struct copy *copy, struct error *err) NODISCARD;

/* Reads, keeps and checks the manifest; every file that passed must stand in it. */
bool copy_manifest(struct copy *copy, struct error *err) NODISCARD;

#endif
