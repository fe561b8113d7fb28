#ifndef PGCOFFER_BASE_CRC32C_INTERNAL_H
#define PGCOFFER_BASE_CRC32C_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

/* What crc32c_update() does on a processor without the instruction; tests compare the two. */
uint32_t crc32c_update_by_table(uint32_t previous, const void *data, size_t size);

#endif
