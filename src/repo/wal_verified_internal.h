#ifndef PGCOFFER_SRC_REPO_WAL_VERIFIED_INTERNAL_H
#define PGCOFFER_SRC_REPO_WAL_VERIFIED_INTERNAL_H

#include "pgcoffer/base/json.h"
#include "pgcoffer/repo/wal_verified.h"

/* The document: strict both ways. INTEGRITY. */
bool wal_verified_from_json(const json_t *document, struct wal_segment_size segment_size,
                            struct wal_verified *ret_verified, struct error *err) NODISCARD;
/* New reference, with format and checksum. */
json_t *wal_verified_to_json(const struct wal_verified *verified, struct wal_segment_size segment_size);

#endif
