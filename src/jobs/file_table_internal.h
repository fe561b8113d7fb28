#ifndef PGCOFFER_JOBS_FILE_TABLE_INTERNAL_H
#define PGCOFFER_JOBS_FILE_TABLE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "pgcoffer/base/error.h"

/*
 * What has passed of a backup, to be compared with the server's manifest: for each file the first 128 bits of its
 * path's SHA-256, its size, and the first 128 bits of its checksum. 40 bytes a file, so that 200 000 files stay
 * below 16 MB even while the table grows.
 */
#define FILE_TABLE_MOST_FILES (UINT32_C(1) << 26)

struct file_table;

struct file_table *file_table_new(void);
void file_table_free(struct file_table *table); /* NULL is fine */
static inline void scoped_file_table(struct file_table **table)
{
    file_table_free(*table);
}

/* A file has passed. Twice the same path is INTEGRITY. */
bool file_table_add(struct file_table *table, const char *path, uint64_t size, const char *checksum,
                    struct error *err) NODISCARD;
/* The manifest names a file: it must have passed, once, with that size and checksum. INTEGRITY says what differs. */
bool file_table_match(struct file_table *table, const char *path, uint64_t size, const char *checksum,
                      struct error *err) NODISCARD;
/* Files that passed and that no file_table_match() has named. */
size_t file_table_unmatched(const struct file_table *table);
/* Is `path` one of those? */
bool file_table_is_unmatched(struct file_table *table, const char *path);

/* "pg_tblspc/16389/PG_15_.../1" for a member of a tablespace's archive; the path itself with oid 0. */
void file_table_manifest_path(uint32_t tablespace_oid, const char *member_path, char *ret_path, size_t size);

#endif
