#ifndef PGCOFFER_REPO_WAL_PACKER_H
#define PGCOFFER_REPO_WAL_PACKER_H

#include "pgcoffer/repo/wal_archive.h"

/*
 * Compresses segments, best consecutive ones, and notes beside each what it holds (wal_contents.h). Keeps between two
 * of them what is costly to make anew; for one thread at a time.
 */
struct wal_packer;

/* Copies the archive. */
struct wal_packer *wal_packer_new(const struct wal_archive *archive) NEVER_NULL;
/*
 * SEG to SEG.zst, as wal_archive_compress() does it. STORAGE with errnum ENOSPC when SEG.zst.tmp would become larger than
 * `most_bytes`; then it is gone, and SEG stays. A note that cannot be made or written is left out, and an old one
 * removed: it saves time and holds nothing that the segment does not.
 */
bool wal_packer_pack(struct wal_packer *packer, struct wal_segment segment, int level, uint64_t most_bytes,
                     struct error *err) NODISCARD;
/* Nothing to do for a while: some megabytes are given back until the next segment. */
void wal_packer_rest(struct wal_packer *packer);
void wal_packer_free(struct wal_packer *packer); /* NULL is fine */

#endif
