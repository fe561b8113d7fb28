#include <stdlib.h>
#include <string.h>

#include "pgcoffer/wal/contents.h"

/*
 * One record, its checksum being right: version and byte order, resource manager, info, how many bytes are held (two),
 * and its data. What is held may be all or the beginning, and must never be told otherwise than the whole.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER = 5 };

static bool read_event(const uint8_t *data, const uint8_t *bytes, uint32_t held, uint32_t size,
                       struct wal_event *ret_event)
{
    static const uint16_t magics[] = {0xD106, 0xD10D, 0xD110, 0xD113, 0xD116, 0xD118, 0xD1FF};
    uint8_t *exact = malloc(held > 0 ? held : 1); /* so that a byte too far is seen */

    if (exact == NULL)
        abort();
    memcpy(exact, bytes, held);
    const struct wal_record record = {.position = {0x1000028},
                                      .transaction = 4711,
                                      .resource_manager = data[1],
                                      .info = data[2],
                                      .is_big_endian = (data[0] & 0x80) != 0,
                                      .page_magic = magics[(data[0] & 0x7F) % 7],
                                      .data = exact,
                                      .data_held = held,
                                      .data_size = size};
    bool is_event = wal_event_read(&record, ret_event);
    free(exact);
    return is_event;
}

static bool is_same(const struct wal_event *one, const struct wal_event *other)
{
    return one->kind == other->kind && one->time.microseconds == other->time.microseconds &&
           one->transaction == other->transaction && one->has_transaction == other->has_transaction &&
           strcmp(one->name, other->name) == 0 && one->timeline.value == other->timeline.value;
}

static void add_up(const struct wal_event *whole, const struct wal_event *part)
{
    static struct wal_contents contents;

    contents = (struct wal_contents){.commits = 0};
    wal_contents_add(&contents, whole);
    wal_contents_add(&contents, part);
    for (int i = 0; i < WAL_CONTENTS_MOST_POINTS; i++)
        wal_contents_add(&contents, whole);
    if (whole->has_transaction && !wal_contents_may_have(&contents, whole->transaction))
        abort();
    if (!wal_contents_is_same(&contents, &contents))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wal_event whole, part;

    if (size < HEADER)
        return 0;
    uint32_t all = (uint32_t)(size - HEADER);
    uint32_t held = (uint32_t)(data[3] | data[4] << 8);
    bool is_event = read_event(data, data + HEADER, all, all, &whole);
    if (!read_event(data, data + HEADER, held < all ? held : all, all, &part) || !is_event)
        return 0;
    if (part.is_whole && !is_same(&whole, &part))
        abort();
    add_up(&whole, &part);
    return 0;
}
