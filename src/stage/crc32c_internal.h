#ifndef PGCOFFER_STAGE_CRC32C_INTERNAL_H
#define PGCOFFER_STAGE_CRC32C_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

/* What checksum_crc32c() does on a processor without the instruction; tests compare the two. */
uint32_t checksum_crc32c_by_table(uint32_t previous, const void *data, size_t size);

#endif
