#include "stage/seek_table_internal.h"

#define SKIPPABLE_MAGIC UINT32_C(0x184D2A5E)
#define SEEKABLE_MAGIC  UINT32_C(0x8F92EAB1)
#define HAS_CHECKSUMS   0x80
#define HEADER_SIZE     8
#define ENTRY_SIZE      12
#define FOOTER_SIZE     9
/* The format's own ceiling. */
#define MOST_FRAMES UINT32_C(0x8000000)

static void put_little_endian(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

bool seek_table_begin(struct seek_table *table, struct error *err)
{
    static const uint8_t header_place[HEADER_SIZE];

    *table = (struct seek_table){
        .bytes = BUFFER_WITH_LIMIT(HEADER_SIZE + (size_t)MOST_FRAMES * ENTRY_SIZE + FOOTER_SIZE),
    };
    return buffer_append(&table->bytes, header_place, sizeof header_place, err);
}

bool seek_table_add(struct seek_table *table, uint32_t stored_length, uint32_t length, uint32_t checksum,
                    struct error *err)
{
    uint8_t entry[ENTRY_SIZE];

    if (table->frames == MOST_FRAMES)
        return error_set(err, ERROR_FAILED, "could not add a frame: an archive holds at most %u",
                         (unsigned)MOST_FRAMES);
    put_little_endian(entry, stored_length);
    put_little_endian(entry + 4, length);
    put_little_endian(entry + 8, checksum);
    table->frames++;
    return buffer_append(&table->bytes, entry, sizeof entry, err);
}

bool seek_table_finish(struct seek_table *table, struct error *err)
{
    uint8_t footer[FOOTER_SIZE];

    put_little_endian(footer, table->frames);
    footer[4] = HAS_CHECKSUMS;
    put_little_endian(footer + 5, SEEKABLE_MAGIC);
    if (!buffer_append(&table->bytes, footer, sizeof footer, err))
        return false;
    put_little_endian(table->bytes.bytes, SKIPPABLE_MAGIC);
    put_little_endian(table->bytes.bytes + 4, (uint32_t)(table->bytes.used - HEADER_SIZE));
    return true;
}

void seek_table_done(struct seek_table *table)
{
    buffer_done(&table->bytes);
}
