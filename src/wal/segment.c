#include "pgcoffer/wal/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/text.h"

bool wal_segment_size_is_valid(uint64_t bytes)
{
    return bytes >= WAL_SEGMENT_SIZE_LEAST && bytes <= WAL_SEGMENT_SIZE_MOST && (bytes & (bytes - 1)) == 0;
}

bool wal_segment_size_parse(const char *text, struct wal_segment_size *ret_size, struct error *err)
{
    static const struct {
        const char *word;
        uint64_t bytes;
    } units[] = {{"kB", UINT64_C(1) << 10}, {"MB", UINT64_C(1) << 20}, {"GB", UINT64_C(1) << 30}};
    char digits[16];
    size_t count = strspn(text, "0123456789");

    if (count > 0 && count < sizeof digits) {
        uint64_t number = 0;
        memcpy(digits, text, count);
        digits[count] = '\0';
        if (text_parse_unsigned(digits, WAL_SEGMENT_SIZE_MOST, &number))
            for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
                if (strcmp(text + count, units[i].word) == 0 && wal_segment_size_is_valid(number * units[i].bytes)) {
                    *ret_size = (struct wal_segment_size){(uint32_t)(number * units[i].bytes)};
                    return true;
                }
    }
    return error_set(err, ERROR_SERVER, "\"%.64s\" is not a WAL segment size (1MB to 1GB, a power of two)", text);
}

/* How many segments share the high half of a position. */
static uint64_t segments_per_high_half(struct wal_segment_size size)
{
    return (UINT64_C(1) << 32) / size.bytes;
}

void wal_segment_format(struct wal_segment segment, struct wal_segment_size size, char ret_name[WAL_SEGMENT_NAME_SIZE])
{
    uint64_t count = segments_per_high_half(size);

    snprintf(ret_name, WAL_SEGMENT_NAME_SIZE, "%08" PRIX32 "%08" PRIX32 "%08" PRIX32, segment.timeline.value,
             (uint32_t)(segment.number / count), (uint32_t)(segment.number % count));
}

/* Eight digits as PostgreSQL writes them: upper case only, so that a name has one spelling. */
static bool parse_eight(const char *digits, uint64_t *ret_number)
{
    return strspn(digits, "0123456789ABCDEF") >= 8 && text_parse_hex(digits, 8, ret_number);
}

bool wal_segment_parse(const char *name, struct wal_segment_size size, struct wal_segment *ret_segment)
{
    uint64_t timeline = 0, high = 0, low = 0;
    uint64_t count = segments_per_high_half(size);

    if (strlen(name) != WAL_SEGMENT_NAME_SIZE - 1 || !parse_eight(name, &timeline) || !parse_eight(name + 8, &high) ||
        !parse_eight(name + 16, &low))
        return false;
    if (timeline == 0 || low >= count)
        return false;
    *ret_segment = (struct wal_segment){{(uint32_t)timeline}, high * count + low};
    return true;
}

void wal_history_format(struct timeline timeline, char ret_name[WAL_HISTORY_NAME_SIZE])
{
    snprintf(ret_name, WAL_HISTORY_NAME_SIZE, "%08" PRIX32 ".history", timeline.value);
}

bool wal_history_name_parse(const char *name, struct timeline *ret_timeline)
{
    uint64_t timeline = 0;

    if (strlen(name) != WAL_HISTORY_NAME_SIZE - 1 || !parse_eight(name, &timeline) || timeline == 0 ||
        strcmp(name + 8, ".history") != 0)
        return false;
    *ret_timeline = (struct timeline){(uint32_t)timeline};
    return true;
}

struct wal_segment wal_segment_at(struct timeline timeline, struct wal_position position, struct wal_segment_size size)
{
    return (struct wal_segment){timeline, position.value / size.bytes};
}

struct wal_segment wal_segment_before(struct timeline timeline, struct wal_position end, struct wal_segment_size size)
{
    return (struct wal_segment){timeline, end.value == 0 ? 0 : (end.value - 1) / size.bytes};
}

struct wal_position wal_segment_start(struct wal_segment segment, struct wal_segment_size size)
{
    return (struct wal_position){segment.number * size.bytes};
}

struct wal_position wal_segment_end(struct wal_segment segment, struct wal_segment_size size)
{
    uint64_t start = wal_segment_start(segment, size).value;

    /* The very last segment of the 64-bit space would end at 2^64. */
    return (struct wal_position){start > UINT64_MAX - size.bytes ? UINT64_MAX : start + size.bytes};
}
