#ifndef PGCOFFER_STAGE_SEEK_TABLE_INTERNAL_H
#define PGCOFFER_STAGE_SEEK_TABLE_INTERNAL_H

#include <stdint.h>

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/error.h"

/*
 * The seek table of zstd's seekable format: a skippable frame at the end of the file that tells where each frame
 * lies. Ordinary readers skip it. It is built in the form it is written: the header's place is kept free.
 */
struct seek_table {
    struct buffer bytes;
    uint32_t frames;
};

bool seek_table_begin(struct seek_table *table, struct error *err) NODISCARD;
/* `checksum` is the low 32 bits of XXH64 of the content. */
bool seek_table_add(struct seek_table *table, uint32_t stored_length, uint32_t length, uint32_t checksum,
                    struct error *err) NODISCARD;
/* After this table->bytes is the whole skippable frame. */
bool seek_table_finish(struct seek_table *table, struct error *err) NODISCARD;
void seek_table_done(struct seek_table *table);

#endif
