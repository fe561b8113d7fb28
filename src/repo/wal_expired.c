#include "pgcoffer/repo/wal_expire.h"

#include "repo/repo_internal.h"

/* expired.json, read: pure. */

static void scoped_wal_ranges(struct wal_ranges *ranges)
{
    wal_ranges_done(ranges);
}

static bool parse_stretch(const json_t *item, struct wal_ranges *ranges, struct error *err)
{
    struct wal_range range = {.timeline = {0}};
    int64_t timeline = 0;

    if (!json_get_number(item, "timeline", 1, UINT32_MAX, &timeline, err) ||
        !repo_get_position(item, "start", &range.start, err) || !repo_get_position(item, "end", &range.end, err))
        return false;
    range.timeline.value = (uint32_t)timeline;
    if (range.start.value >= range.end.value)
        return error_set(err, ERROR_INTEGRITY, "a stretch ends before it begins");
    ranges->ranges = repo_grow(ranges->ranges, ranges->count, sizeof *ranges->ranges);
    ranges->ranges[ranges->count++] = range;
    return true;
}

bool wal_expired_parse(const char *text, size_t size, struct wal_ranges *ret_expired, struct error *err)
{
    struct wal_ranges ranges SCOPED(scoped_wal_ranges) = {NULL, 0};
    const struct buffer bytes = {.bytes = (uint8_t *)text, .used = size};
    json_t *document SCOPED(scoped_json) = json_parse_object(text, size, err);
    const json_t *item;
    size_t i;

    if (document == NULL || !repo_check_format(document, WAL_EXPIRED_FORMAT, "it", err) ||
        !repo_check_checksum(document, &bytes, err))
        return false;
    const json_t *list = json_object_get(document, "expired");
    if (!json_is_array(list) || json_array_size(list) > WAL_EXPIRED_MOST)
        return error_set(err, ERROR_INTEGRITY, "\"expired\" is not a list of at most %d", WAL_EXPIRED_MOST);
    json_array_foreach(list, i, item)
    {
        if (!parse_stretch(item, &ranges, err))
            return false;
    }
    *ret_expired = ranges;
    ranges = (struct wal_ranges){NULL, 0};
    return true;
}

bool wal_expired_has(const struct wal_ranges *expired, struct timeline timeline, struct wal_position start,
                     struct wal_position end)
{
    for (size_t i = 0; i < expired->count; i++) {
        const struct wal_range *range = &expired->ranges[i];
        if (range->timeline.value == timeline.value && range->start.value <= start.value &&
            end.value <= range->end.value)
            return true;
    }
    return false;
}

bool wal_expired_touches(const struct wal_ranges *expired, struct timeline timeline, struct wal_position start,
                         struct wal_position end)
{
    for (size_t i = 0; i < expired->count; i++) {
        const struct wal_range *range = &expired->ranges[i];
        if (range->timeline.value == timeline.value && range->start.value < end.value && start.value < range->end.value)
            return true;
    }
    return false;
}
