#include "pgcoffer/repo/wal_verified.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#include "repo/backup_notes_internal.h"
#include "repo/repo_internal.h"
#include "repo/wal_gaps_internal.h"
#include "repo/wal_internal.h"
#include "repo/wal_verified_internal.h"

#define NAME "verified.json"

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

/* ---- pure ---- */

/* Place of the first range that ends behind this segment. */
static size_t find(const struct wal_verified *verified, struct timeline timeline, uint64_t number)
{
    size_t at = 0;

    while (at < verified->count &&
           (verified->ranges[at].timeline.value < timeline.value ||
            (verified->ranges[at].timeline.value == timeline.value && verified->ranges[at].end <= number)))
        at++;
    return at;
}

static void remove_at(struct wal_verified *verified, size_t at)
{
    struct wal_verified_range *range = &verified->ranges[at];

    memmove(range, range + 1, (verified->count - at - 1) * sizeof *range);
    verified->count--;
}

static bool are_neighbours(const struct wal_verified_range *one, const struct wal_verified_range *next)
{
    return one->timeline.value == next->timeline.value && one->end == next->first;
}

static int64_t distance(const struct wal_verified_range *one, const struct wal_verified_range *next)
{
    return llabs(one->at.microseconds - next->at.microseconds);
}

static void join(struct wal_verified *verified, size_t at)
{
    struct wal_verified_range *one = &verified->ranges[at], *next = one + 1;

    if (next->at.microseconds < one->at.microseconds)
        one->at = next->at;
    one->end = next->end;
    remove_at(verified, at + 1);
}

/* Joins those two neighbours whose times differ least; without any neighbours the one verified longest ago is
 * forgotten. */
static void make_room(struct wal_verified *verified)
{
    size_t best = verified->count, oldest = 0;

    for (size_t i = 0; i < verified->count; i++) {
        const struct wal_verified_range *range = &verified->ranges[i];
        if (range->at.microseconds < verified->ranges[oldest].at.microseconds)
            oldest = i;
        if (i + 1 < verified->count && are_neighbours(range, range + 1) &&
            (best == verified->count ||
             distance(range, range + 1) < distance(&verified->ranges[best], &verified->ranges[best + 1])))
            best = i;
    }
    if (best < verified->count)
        join(verified, best);
    else
        remove_at(verified, oldest);
}

static void insert(struct wal_verified *verified, const struct wal_verified_range *range)
{
    if (verified->count == WAL_VERIFIED_MOST)
        make_room(verified);
    size_t at = find(verified, range->timeline, range->first);
    struct wal_verified_range *place = &verified->ranges[at];
    memmove(place + 1, place, (verified->count - at) * sizeof *place);
    *place = *range;
    verified->count++;
}

/* What was noted of these segments is forgotten; what reaches beyond them is cut. */
static void cut_out(struct wal_verified *verified, const struct wal_verified_range *range)
{
    size_t at = find(verified, range->timeline, range->first);

    while (at < verified->count && verified->ranges[at].timeline.value == range->timeline.value &&
           verified->ranges[at].first < range->end) {
        struct wal_verified_range before = verified->ranges[at], behind = before;
        remove_at(verified, at);
        before.end = range->first;
        behind.first = range->end;
        if (before.first < before.end)
            insert(verified, &before);
        if (behind.first < behind.end)
            insert(verified, &behind);
        at = find(verified, range->timeline, range->first);
    }
}

void wal_verified_set(struct wal_verified *verified, const struct wal_verified_range *range)
{
    cut_out(verified, range);
    if (range->at.microseconds == 0)
        return;
    insert(verified, range);
    for (size_t i = verified->count; i-- > 1;)
        if (are_neighbours(&verified->ranges[i - 1], &verified->ranges[i]) &&
            distance(&verified->ranges[i - 1], &verified->ranges[i]) == 0)
            join(verified, i - 1);
}

struct timestamp wal_verified_at(const struct wal_verified *verified, struct wal_segment segment)
{
    size_t at = find(verified, segment.timeline, segment.number);

    if (at < verified->count && verified->ranges[at].timeline.value == segment.timeline.value &&
        verified->ranges[at].first <= segment.number)
        return verified->ranges[at].at;
    return (struct timestamp){0};
}

struct timestamp wal_verified_file_at(const struct wal_verified *verified, const struct wal_file *file,
                                      struct timestamp now)
{
    struct timestamp at = wal_verified_at(verified, file->segment);
    bool counts = file->state == WAL_FILE_COMPRESSED && at.microseconds <= now.microseconds &&
                  file->written_at.microseconds <= at.microseconds;

    return counts ? at : (struct timestamp){0};
}

/* ---- the document ---- */

static bool parse_range(const json_t *entry, struct wal_segment_size size, struct wal_verified_range *ret_range,
                        struct error *err)
{
    struct wal_position start, end;
    int64_t timeline = 0;

    if (!json_get_number(entry, "timeline", 1, UINT32_MAX, &timeline, err) ||
        !repo_get_position(entry, "start", &start, err) || !repo_get_position(entry, "end", &end, err) ||
        !repo_get_time(entry, "at", &ret_range->at, err))
        return false;
    if (start.value % size.bytes != 0 || end.value % size.bytes != 0 || start.value >= end.value ||
        ret_range->at.microseconds <= 0)
        return error_set(err, ERROR_INTEGRITY, "a stretch of segments is none");
    ret_range->timeline.value = (uint32_t)timeline;
    ret_range->first = start.value / size.bytes;
    ret_range->end = end.value / size.bytes;
    return true;
}

bool wal_verified_from_json(const json_t *document, struct wal_segment_size segment_size,
                            struct wal_verified *ret_verified, struct error *err)
{
    const json_t *list = json_object_get(document, "ranges");
    const json_t *entry;
    size_t i;

    ret_verified->count = 0;
    if (!json_is_array(list) || json_array_size(list) > WAL_VERIFIED_MOST)
        return error_set(err, ERROR_INTEGRITY, "\"ranges\" is no list of at most %d", WAL_VERIFIED_MOST);
    json_array_foreach(list, i, entry)
    {
        struct wal_verified_range range;
        if (!parse_range(entry, segment_size, &range, err))
            return error_wrap(err, "number %zu of \"ranges\"", i + 1);
        wal_verified_set(ret_verified, &range);
    }
    return true;
}

json_t *wal_verified_to_json(const struct wal_verified *verified, struct wal_segment_size segment_size)
{
    json_t *document = json_object(), *list = json_array();

    for (size_t i = 0; i < verified->count; i++) {
        const struct wal_verified_range *range = &verified->ranges[i];
        json_t *entry = json_object();
        repo_set_number(entry, "timeline", range->timeline.value);
        repo_set_position(entry, "start", (struct wal_position){range->first * segment_size.bytes});
        repo_set_position(entry, "end", (struct wal_position){range->end * segment_size.bytes});
        repo_set_time(entry, "at", range->at);
        json_array_append_new(list, entry);
    }
    repo_set_number(document, "format", BACKUP_NOTE_FORMAT);
    json_object_set_new(document, "ranges", list);
    repo_set_checksum(document);
    return document;
}

/* ---- files ---- */

static bool read_bytes(const char *path, struct buffer *bytes, bool *ret_is_there, struct error *err)
{
    struct error failure;

    *ret_is_there = file_read_whole(path, bytes, &failure);
    if (*ret_is_there || failure.errnum == ENOENT)
        return true;
    *err = failure;
    return false;
}

bool wal_verified_read(const struct wal_archive *archive, struct wal_verified *ret_verified, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_path(archive, NAME);
    struct buffer bytes SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(WAL_VERIFIED_MOST_BYTES);
    json_t *document SCOPED(scoped_json) = NULL;
    bool is_there = false;

    ret_verified->count = 0;
    if (!read_bytes(path, &bytes, &is_there, err))
        return false;
    if (!is_there)
        return true;
    document = backup_note_parse((const char *)bytes.bytes, bytes.used, err);
    if (document != NULL && wal_verified_from_json(document, archive->segment_size, ret_verified, err))
        return true;
    ret_verified->count = 0;
    return error_wrap(err, "\"%s\" is damaged", path);
}

bool wal_verified_record(const struct wal_archive *archive, const struct wal_verified_range *range, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_path(archive, NAME);
    struct wal_verified *verified SCOPED(scoped_free) = memory_new(sizeof *verified);
    int lock SCOPED(scoped_close) = -1;
    struct error failure;

    if (!wal_gaps_lock(archive, &lock, err))
        return false;
    if (!wal_verified_read(archive, verified, &failure) && failure.kind != ERROR_INTEGRITY) {
        *err = failure;
        return false;
    }
    wal_verified_set(verified, range);
    json_t *document SCOPED(scoped_json) = wal_verified_to_json(verified, archive->segment_size);
    return repo_write_document(archive->repo, path, document, err);
}
