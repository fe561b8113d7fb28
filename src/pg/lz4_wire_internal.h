#ifndef PGCOFFER_PG_LZ4_WIRE_INTERNAL_H
#define PGCOFFER_PG_LZ4_WIRE_INTERNAL_H

#include <stddef.h>

#include "pgcoffer/base/error.h"

/* lz4 frames undone while they arrive, by libarchive's filter. */
struct lz4_wire;

/* Where the compressed bytes come from: as base_backup_read(), *ret_size 0 at the end. */
typedef bool lz4_wire_source(void *context, const void **ret_bytes, size_t *ret_size, struct error *err);

struct lz4_wire *lz4_wire_new(lz4_wire_source *source, void *context);
bool lz4_wire_read(struct lz4_wire *wire, const void **ret_bytes, size_t *ret_size, struct error *err) NODISCARD;
void lz4_wire_free(struct lz4_wire *wire); /* NULL is fine */

#endif
