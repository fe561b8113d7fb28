#ifndef PGCOFFER_STAGE_CHECKSUM_H
#define PGCOFFER_STAGE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include "pgcoffer/base/error.h"

/* The checksums of PostgreSQL's backup manifest, printed as the manifest prints them (CRC32C: memory order). */
enum checksum_algorithm {
    CHECKSUM_NONE,
    CHECKSUM_CRC32C,
    CHECKSUM_SHA224,
    CHECKSUM_SHA256,
    CHECKSUM_SHA384,
    CHECKSUM_SHA512
};

#define CHECKSUM_HEX_SIZE 129

bool checksum_algorithm_from_word(const char *word, enum checksum_algorithm *ret_algorithm);
const char *checksum_algorithm_word(enum checksum_algorithm algorithm);

struct checksum;
struct checksum *checksum_new(enum checksum_algorithm algorithm);
void checksum_free(struct checksum *checksum);
void checksum_restart(struct checksum *checksum);
void checksum_update(struct checksum *checksum, const void *data, size_t size);
void checksum_final(struct checksum *checksum, char ret_hex[CHECKSUM_HEX_SIZE]);

#endif
