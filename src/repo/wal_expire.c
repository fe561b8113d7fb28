#include "pgcoffer/repo/wal_expire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#include "repo/repo_internal.h"
#include "repo/wal_contents_internal.h"
#include "repo/wal_internal.h"

#define EXPIRED_MOST_BYTES (1 << 20)
#define COMPLETE_FILE      "complete.json"

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

static void scoped_wal_ranges(struct wal_ranges *ranges)
{
    wal_ranges_done(ranges);
}

/* ---- the document ---- */

static char *document_path(const struct wal_archive *archive)
{
    return wal_path(archive, "expired.json");
}

static void add(struct wal_ranges *ranges, const struct wal_range *range)
{
    ranges->ranges = repo_grow(ranges->ranges, ranges->count, sizeof *ranges->ranges);
    ranges->ranges[ranges->count++] = *range;
}

void wal_expired_read(const struct wal_archive *archive, struct wal_ranges *ret_expired)
{
    char *path SCOPED(scoped_free) = document_path(archive);
    struct buffer bytes SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(EXPIRED_MOST_BYTES);
    struct error ignored;

    *ret_expired = (struct wal_ranges){NULL, 0};
    if (file_read_whole(path, &bytes, &ignored) &&
        !wal_expired_parse((const char *)bytes.bytes, bytes.used, ret_expired, &ignored))
        *ret_expired = (struct wal_ranges){NULL, 0};
}

static int compare(const void *one, const void *other)
{
    const struct wal_range *left = one, *right = other;

    if (left->timeline.value != right->timeline.value)
        return left->timeline.value < right->timeline.value ? -1 : 1;
    return left->start.value < right->start.value ? -1 : left->start.value > right->start.value;
}

/* Sorted, and neighbours joined. */
static void arrange(struct wal_ranges *ranges)
{
    size_t kept = 0;

    if (ranges->count > 0)
        qsort(ranges->ranges, ranges->count, sizeof *ranges->ranges, compare);
    for (size_t i = 0; i < ranges->count; i++) {
        struct wal_range *last = kept > 0 ? &ranges->ranges[kept - 1] : NULL;
        const struct wal_range *range = &ranges->ranges[i];
        if (range->start.value >= range->end.value)
            continue;
        if (last == NULL || last->timeline.value != range->timeline.value || last->end.value < range->start.value)
            ranges->ranges[kept++] = *range;
        else if (last->end.value < range->end.value)
            last->end = range->end;
    }
    ranges->count = kept;
}

/* What is left of each before and behind `kept`. */
static void take_out(struct wal_ranges *ranges, const struct wal_range *kept)
{
    size_t count = ranges->count;

    for (size_t i = 0; i < count; i++) {
        struct wal_range *range = &ranges->ranges[i], behind = *range;
        if (range->timeline.value != kept->timeline.value || range->end.value <= kept->start.value ||
            range->start.value >= kept->end.value)
            continue;
        behind.start = kept->end;
        if (range->start.value < kept->start.value)
            range->end = kept->start;
        else
            range->end = range->start; /* empty: arrange() drops it */
        if (behind.start.value < behind.end.value)
            add(ranges, &behind);
    }
}

static bool write_document(const struct wal_archive *archive, const struct wal_ranges *ranges, struct error *err)
{
    char *path SCOPED(scoped_free) = document_path(archive);
    json_t *document SCOPED(scoped_json) = json_object();
    json_t *list = json_array();
    size_t first = ranges->count > WAL_EXPIRED_MOST ? ranges->count - WAL_EXPIRED_MOST : 0;

    repo_set_number(document, "format", WAL_EXPIRED_FORMAT);
    json_object_set_new(document, "expired", list);
    for (size_t i = first; i < ranges->count; i++) {
        json_t *item = json_object();
        repo_set_number(item, "timeline", ranges->ranges[i].timeline.value);
        repo_set_position(item, "start", ranges->ranges[i].start);
        repo_set_position(item, "end", ranges->ranges[i].end);
        json_array_append_new(list, item);
    }
    repo_set_checksum(document);
    return repo_write_document(archive->repo, path, document, err);
}

bool wal_expired_note(const struct wal_archive *archive, const struct wal_ranges *expired,
                      const struct wal_ranges *kept, struct error *err)
{
    struct wal_ranges ranges SCOPED(scoped_wal_ranges) = {NULL, 0};
    struct wal_ranges former SCOPED(scoped_wal_ranges) = {NULL, 0};

    wal_expired_read(archive, &ranges);
    wal_expired_read(archive, &former);
    for (size_t i = 0; i < expired->count; i++)
        add(&ranges, &expired->ranges[i]);
    arrange(&ranges);
    for (size_t i = 0; i < kept->count; i++)
        take_out(&ranges, &kept->ranges[i]);
    arrange(&ranges);
    bool is_same = ranges.count == former.count;
    for (size_t i = 0; is_same && i < ranges.count; i++)
        is_same = compare(&ranges.ranges[i], &former.ranges[i]) == 0 &&
                  ranges.ranges[i].end.value == former.ranges[i].end.value;
    return is_same || write_document(archive, &ranges, err);
}

/* ---- the files ---- */

static bool remove_file(const char *path, struct error *err)
{
    return unlink(path) == 0 || errno == ENOENT || error_set_errno(err, "could not remove \"%s\"", path);
}

/* The note first: without its segment it would tell nothing, and a segment without one is whole. */
static bool remove_segment(const struct wal_archive *archive, struct wal_segment segment, struct error *err)
{
    static const char *const suffixes[] = {WAL_NOTE_SUFFIX, ".zst", "", ".partial"};

    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, suffixes[i]);
        if (!remove_file(path, err))
            return false;
    }
    return true;
}

/* Also of a timeline: what is left of one without segments says how far they were complete. */
static bool remove_empty_folders(const char *folder, struct error *err)
{
    char *of_timeline SCOPED(scoped_free) = memory_copy_text(folder);

    if (rmdir(folder) < 0)
        return errno == ENOTEMPTY || errno == EEXIST || errno == ENOENT ||
               error_set_errno(err, "could not remove directory \"%s\"", folder);
    *strrchr(of_timeline, '/') = '\0';
    struct name_list names;
    if (!file_sync_directory(of_timeline, err) || !name_list_read(of_timeline, &names, err))
        return false;
    bool is_empty = names.count == 0 || (names.count == 1 && strcmp(names.names[0], COMPLETE_FILE) == 0);
    name_list_done(&names);
    if (!is_empty)
        return true;
    char *complete SCOPED(scoped_free) = memory_text("%s/" COMPLETE_FILE, of_timeline);
    if (!remove_file(complete, err))
        return false;
    if (rmdir(of_timeline) < 0)
        return errno == ENOTEMPTY || errno == ENOENT ||
               error_set_errno(err, "could not remove directory \"%s\"", of_timeline);
    return file_sync_parent(of_timeline, err);
}

static bool end_folder(const struct wal_archive *archive, struct wal_segment last_removed, struct error *err)
{
    char *folder SCOPED(scoped_free) = wal_folder_path(archive, last_removed);

    return file_sync_directory(folder, err) && remove_empty_folders(folder, err);
}

static bool is_of_same_folder(const struct wal_archive *archive, struct wal_segment one, struct wal_segment other)
{
    char *left SCOPED(scoped_free) = wal_folder_path(archive, one);
    char *right SCOPED(scoped_free) = wal_folder_path(archive, other);

    return strcmp(left, right) == 0;
}

bool wal_archive_expire(const struct wal_archive *archive, const struct wal_files *files, const bool *is_removed,
                        uint64_t *ret_segments, uint64_t *ret_bytes, struct error *err)
{
    const struct wal_file *last = NULL;

    *ret_segments = *ret_bytes = 0;
    for (size_t i = 0; i < files->count; i++) {
        if (!is_removed[i])
            continue;
        if (last != NULL && !is_of_same_folder(archive, last->segment, files->files[i].segment) &&
            !end_folder(archive, last->segment, err))
            return false;
        last = &files->files[i];
        if (!remove_segment(archive, last->segment, err))
            return false;
        (*ret_segments)++;
        *ret_bytes += last->stored_bytes;
    }
    return last == NULL || end_folder(archive, last->segment, err);
}
