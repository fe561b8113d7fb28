#ifndef PGCOFFER_BASE_CRC32C_H
#define PGCOFFER_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * CRC-32C (Castagnoli), which PostgreSQL puts into its WAL records and into the backup manifest. Uses the processor's
 * instruction where it has one. Start with 0; pieces in a row give the same as the whole.
 */
uint32_t crc32c_update(uint32_t previous, const void *data, size_t size);

#endif
