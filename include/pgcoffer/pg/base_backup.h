#ifndef PGCOFFER_PG_BASE_BACKUP_H
#define PGCOFFER_PG_BASE_BACKUP_H

#include "pgcoffer/pg/connection.h"

/*
 * The server's side of a base backup: BASE_BACKUP in both grammars (13 and 14, 15 and later), as a sequence
 * start, (next, read ... read)*, end. Bytes are the plain tars (13 and 14: the two final zero blocks are added
 * here) and the manifest byte for byte. WAIT false, TABLESPACE_MAP, MANIFEST yes, WAL false, PROGRESS always.
 */
struct base_backup_options {
    const char *label;
    bool is_fast_checkpoint;
    const char *checksum_algorithm; /* "CRC32C" */
    bool want_lz4_on_wire;          /* COMPRESSION 'lz4', undone here; silently without it when the server cannot */
};

struct base_backup_tablespace {
    uint32_t oid; /* 0: the data directory, always the last */
    char *path;   /* NULL for the data directory */
    uint64_t size_estimate;
};

struct base_backup;

/* Waits for the checkpoint, which may take minutes. */
bool base_backup_start(struct pg_connection *connection, const struct base_backup_options *options,
                       struct base_backup **ret_backup, struct error *err) NODISCARD;
void base_backup_free(struct base_backup *backup); /* NULL is fine; does not close the connection */

struct wal_position base_backup_start_position(const struct base_backup *backup);
struct timeline base_backup_start_timeline(const struct base_backup *backup);
const struct base_backup_tablespace *base_backup_tablespaces(const struct base_backup *backup, size_t *ret_count);

enum base_backup_item { BASE_BACKUP_ARCHIVE, BASE_BACKUP_MANIFEST, BASE_BACKUP_FINISHED };
/* The next archive (with its tablespace) or the manifest; the one before must have been read to its end. */
bool base_backup_next(struct base_backup *backup, enum base_backup_item *ret_item,
                      const struct base_backup_tablespace **ret_tablespace, struct error *err) NODISCARD;
/* The next bytes of it; *ret_size 0 at its end. They live until the next call. */
bool base_backup_read(struct base_backup *backup, const void **ret_bytes, size_t *ret_size,
                      struct error *err) NODISCARD;

struct base_backup_end {
    struct wal_position position;
    struct timeline timeline;
    bool has_checksum_failures; /* the server's XX001 after all bytes were delivered */
    char checksum_words[512];   /* its own words */
};
/* After FINISHED. An error other than bad page checksums is an error here: the backup is void. */
bool base_backup_end(struct base_backup *backup, struct base_backup_end *ret_end, struct error *err) NODISCARD;

#endif
