#include <pthread.h>
#include <string.h>

#include "base/crc32c_internal.h"
#include "pgcoffer/base/crc32c.h"

#define CASTAGNOLI_REVERSED UINT32_C(0x82F63B78)

/* tables[k][byte] is what `byte` followed by k zero bytes does to a checksum: eight bytes cost eight look-ups. */
static uint32_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t value = byte;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ CASTAGNOLI_REVERSED : value >> 1;
        tables[0][byte] = value;
    }
    for (int zeros = 1; zeros < 8; zeros++)
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t value = tables[zeros - 1][byte];
            tables[zeros][byte] = value >> 8 ^ tables[0][value & 0xFF];
        }
}

uint32_t crc32c_update_by_table(uint32_t previous, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint32_t value = ~previous;

    pthread_once(&tables_once, make_tables);
    for (; size >= 8; size -= 8, bytes += 8) {
        uint32_t mixed[2] = {bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24,
                             bytes[4] | (uint32_t)bytes[5] << 8 | (uint32_t)bytes[6] << 16 | (uint32_t)bytes[7] << 24};
        mixed[0] ^= value;
        value = tables[7][mixed[0] & 0xFF] ^ tables[6][mixed[0] >> 8 & 0xFF] ^ tables[5][mixed[0] >> 16 & 0xFF] ^
                tables[4][mixed[0] >> 24] ^ tables[3][mixed[1] & 0xFF] ^ tables[2][mixed[1] >> 8 & 0xFF] ^
                tables[1][mixed[1] >> 16 & 0xFF] ^ tables[0][mixed[1] >> 24];
    }
    for (; size > 0; size--)
        value = value >> 8 ^ tables[0][(value ^ *bytes++) & 0xFF];
    return ~value;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc32c_by_instruction(uint32_t previous, const uint8_t *bytes,
                                                                        size_t size)
{
    uint64_t value = ~previous;

    for (; size >= 8; size -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, sizeof word);
        value = _mm_crc32_u64(value, word);
    }
    for (; size > 0; size--)
        value = _mm_crc32_u8((uint32_t)value, *bytes++);
    return ~(uint32_t)value;
}

uint32_t crc32c_update(uint32_t previous, const void *data, size_t size)
{
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_by_instruction(previous, data, size);
    return crc32c_update_by_table(previous, data, size);
}
#else
uint32_t crc32c_update(uint32_t previous, const void *data, size_t size)
{
    return crc32c_update_by_table(previous, data, size);
}
#endif
