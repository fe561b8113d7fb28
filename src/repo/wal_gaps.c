#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/wal_expire.h"

#include "repo/wal_gaps_internal.h"
#include "repo/wal_internal.h"

#define FILE_NAME "gaps.json"

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

static void scoped_wal_ranges(struct wal_ranges *ranges)
{
    wal_ranges_done(ranges);
}

/* ---- reading ---- */

static char *document_path(const struct wal_archive *archive)
{
    return wal_path(archive, FILE_NAME);
}

static bool load(const struct wal_archive *archive, struct wal_gap_record *ret_record, json_t **ret_document,
                 struct error *err)
{
    char *path SCOPED(scoped_free) = document_path(archive);

    if (wal_gaps_load(path, ret_record, ret_document, err))
        return true;
    if (err->kind == ERROR_INTEGRITY && err->hint[0] == '\0')
        error_hint(
            err,
            "The receiver sets it aside with its next connection; without one, rename it. Holes are found again in "
            "the files, and what is damaged by \"pgcoffer verify %s --wal-only\".",
            archive->server);
    return false;
}

bool wal_gaps_read(const struct wal_archive *archive, struct wal_gap_record *ret_record, struct error *err)
{
    json_t *document SCOPED(scoped_json) = NULL;

    return load(archive, ret_record, &document, err);
}

/* Everything wal_gaps_find() is told but the record. Takes as long as a listing of the archive. */
struct gathered {
    struct wal_files files;
    struct wal_histories histories; /* one that cannot be read is told by others; along it nothing is found */
};

static void scoped_gathered(struct gathered *gathered)
{
    wal_files_done(&gathered->files);
    wal_histories_done(&gathered->histories);
}

static bool gather(const struct wal_archive *archive, struct gathered *gathered, struct error *err)
{
    return wal_archive_list(archive, &gathered->files, err) &&
           wal_archive_histories(archive, &gathered->histories, err);
}

static void find(const struct wal_archive *archive, const struct gathered *gathered,
                 const struct wal_gap_record *record, struct wal_ranges *ret_ranges, struct wal_gaps *ret_gaps)
{
    const struct wal_files *files = &gathered->files;
    bool *is_damaged SCOPED(scoped_free) = memory_new((files->count + 1) * sizeof *is_damaged);
    const struct wal_gaps nothing = {NULL, 0};
    struct wal_ranges expired SCOPED(scoped_wal_ranges) = {NULL, 0};

    wal_expired_read(archive, &expired);
    for (size_t i = 0; i < files->count && record != NULL; i++)
        is_damaged[i] = wal_gaps_damage(archive, record, &files->files[i]) != NULL;
    const struct wal_gaps_input input = {
        .segment_size = archive->segment_size,
        .files = files,
        .is_damaged = is_damaged,
        .histories = gathered->histories.histories,
        .history_count = gathered->histories.count,
        .recorded = record != NULL ? &record->open : &nothing,
        .expired = &expired,
    };
    wal_gaps_find(&input, ret_ranges, ret_gaps);
}

bool wal_gaps_look(const struct wal_archive *archive, const struct wal_gap_record *record,
                   struct wal_ranges *ret_ranges, struct wal_gaps *ret_gaps, struct error *err)
{
    struct gathered gathered SCOPED(scoped_gathered) = {.files = {NULL, 0}};

    if (!gather(archive, &gathered, err))
        return false;
    find(archive, &gathered, record, ret_ranges, ret_gaps);
    return true;
}

/* ---- writing ---- */

static bool store(const struct wal_archive *archive, struct wal_gap_record *record, const json_t *former,
                  struct error *err)
{
    char *path SCOPED(scoped_free) = document_path(archive);

    wal_gaps_prune_damaged(record);
    if (!wal_gaps_limit(&record->open))
        return error_set(err, ERROR_INTEGRITY, "\"%s\" has no room for more than %d damaged stretches", path,
                         WAL_GAPS_MOST);
    return wal_gaps_store(archive->repo, path, record, former, err);
}

static void copy_gaps(const struct wal_gaps *gaps, struct wal_gaps *ret_copy)
{
    *ret_copy = (struct wal_gaps){NULL, 0};
    for (size_t i = 0; i < gaps->count; i++)
        wal_gaps_add(ret_copy, &gaps->gaps[i]);
}

/* Not before the damaged files were written last, whatever the clock says: what is written later is sound. */
static void date_damage(const struct wal_archive *archive, struct wal_gap *gap)
{
    struct wal_segment segment = wal_segment_at(gap->timeline, gap->start, archive->segment_size);
    struct wal_segment last = wal_segment_before(gap->timeline, gap->end, archive->segment_size);
    struct wal_file file;
    struct error ignored;

    for (; segment.number <= last.number; segment.number++)
        if (wal_archive_stat(archive, segment, &file, &ignored) && file.state != WAL_FILE_MISSING &&
            file.written_at.microseconds > gap->noticed_at.microseconds)
            gap->noticed_at = file.written_at;
}

/* What lies in the files need not be read while others wait for the record. */
static size_t digest_damage(const struct wal_archive *archive, const struct wal_gap *gap,
                            struct wal_damaged_file **ret_damaged)
{
    *ret_damaged = NULL;
    if (gap->reason != WAL_GAP_DAMAGED || gap->end.value == 0)
        return 0;
    *ret_damaged = memory_new(WAL_GAPS_MOST * sizeof **ret_damaged);
    return wal_gaps_digest(archive, gap, WAL_GAPS_MOST, *ret_damaged);
}

bool wal_gaps_record(const struct wal_archive *archive, const struct wal_gap *gap, struct error *err)
{
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    struct wal_gaps before SCOPED(scoped_wal_gaps) = {NULL, 0};
    struct wal_damaged_file *damaged SCOPED(scoped_free) = NULL;
    json_t *document SCOPED(scoped_json) = NULL;
    struct wal_gap noticed = *gap;
    int lock SCOPED(scoped_close) = -1;
    bool is_new = false;

    if (noticed.noticed_at.microseconds == 0)
        noticed.noticed_at = clock_now();
    if (noticed.reason == WAL_GAP_DAMAGED)
        date_damage(archive, &noticed);
    size_t damaged_count = digest_damage(archive, gap, &damaged);
    if (!repo_create_system(archive->repo, archive->server, &archive->system, err) ||
        !wal_gaps_lock(archive, &lock, err) || !load(archive, &record, &document, err))
        return false;
    copy_gaps(&record.open, &before);
    wal_gaps_merge(&record.open, &noticed);
    for (size_t i = 0; i < damaged_count; i++)
        is_new = wal_gaps_put_damaged(&record, &damaged[i]) || is_new;
    return (!is_new && wal_gaps_are_same(&before, &record.open)) || store(archive, &record, document, err);
}

static void add_filled(struct wal_gap_record *record, const struct wal_gap *gap)
{
    struct wal_gap filled = *gap;

    filled.filled_at = clock_now();
    wal_gaps_add(&record->filled, &filled);
    while (record->filled.count > WAL_GAPS_MOST_FILLED) {
        record->filled.count--;
        memmove(&record->filled.gaps[0], &record->filled.gaps[1], record->filled.count * sizeof record->filled.gaps[0]);
    }
}

static bool is_left(const struct wal_gaps *gaps, const struct wal_gap *gap)
{
    for (size_t i = 0; i < gaps->count; i++)
        if (gaps->gaps[i].timeline.value == gap->timeline.value && gaps->gaps[i].start.value < wal_gap_end(gap) &&
            gap->start.value < wal_gap_end(&gaps->gaps[i]))
            return true;
    return false;
}

/* Every byte of it; of an open one, which ends where the next byte held begins, a byte. */
static bool is_held(const struct wal_ranges *ranges, const struct wal_gap *gap)
{
    uint64_t end = gap->end.value != 0 ? gap->end.value : gap->start.value + 1;

    for (size_t i = 0; i < ranges->count; i++)
        if (ranges->ranges[i].timeline.value == gap->timeline.value &&
            ranges->ranges[i].start.value <= gap->start.value && ranges->ranges[i].end.value >= end)
            return true;
    return false;
}

bool wal_gaps_settle(const struct wal_archive *archive, struct wal_ranges *ret_ranges, struct wal_gaps *ret_gaps,
                     struct error *err)
{
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    struct wal_gaps found SCOPED(scoped_wal_gaps) = {NULL, 0};
    struct wal_ranges ranges SCOPED(scoped_wal_ranges) = {NULL, 0};
    struct gathered gathered SCOPED(scoped_gathered) = {.files = {NULL, 0}};
    json_t *document SCOPED(scoped_json) = NULL;
    int lock SCOPED(scoped_close) = -1;

    if (!repo_create_system(archive->repo, archive->server, &archive->system, err) ||
        !gather(archive, &gathered, err) || !wal_gaps_lock(archive, &lock, err) ||
        !load(archive, &record, &document, err))
        return false;
    find(archive, &gathered, &record, &ranges, &found);
    for (size_t i = 0; i < found.count; i++)
        if (found.gaps[i].noticed_at.microseconds == 0)
            found.gaps[i].noticed_at = clock_now();
    if (!wal_gaps_are_same(&record.open, &found)) {
        for (size_t i = 0; i < record.open.count; i++)
            if (!is_left(&found, &record.open.gaps[i]) && is_held(&ranges, &record.open.gaps[i]))
                add_filled(&record, &record.open.gaps[i]);
        wal_gaps_done(&record.open);
        copy_gaps(&found, &record.open);
        if (!store(archive, &record, document, err))
            return false;
    }
    *ret_gaps = found;
    *ret_ranges = ranges;
    found = (struct wal_gaps){NULL, 0};
    ranges = (struct wal_ranges){NULL, 0};
    return true;
}

bool wal_gaps_mend(const struct wal_archive *archive, struct wal_segment segment, struct error *err)
{
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    json_t *document SCOPED(scoped_json) = NULL;
    struct wal_position start = wal_segment_start(segment, archive->segment_size);
    int lock SCOPED(scoped_close) = -1;

    if (!wal_gaps_lock(archive, &lock, err) || !load(archive, &record, &document, err))
        return false;
    const struct wal_gap *known = wal_gaps_at(&record.open, segment.timeline, start);
    if (known == NULL || known->reason != WAL_GAP_DAMAGED)
        return true;
    struct wal_gap filled = *known;
    filled.start = start;
    filled.end = wal_segment_end(segment, archive->segment_size);
    if (known->end.value < filled.end.value)
        filled.end = known->end;
    wal_gaps_cut(&record.open, WAL_GAP_DAMAGED, segment.timeline, filled.start, filled.end);
    add_filled(&record, &filled);
    return store(archive, &record, document, err);
}

/* A newer program's record is whole, whatever this one makes of it. */
static bool is_of_newer_program(const char *path)
{
    struct buffer bytes SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(1 << 20);
    json_t *object SCOPED(scoped_json) = NULL;
    struct error ignored;

    if (file_read_whole(path, &bytes, &ignored))
        object = json_parse_object((const char *)bytes.bytes, bytes.used, &ignored);
    return object != NULL && json_number_or(object, "format", 1) > 1;
}

bool wal_gaps_set_aside(const struct wal_archive *archive, char **ret_new_path, struct error *err)
{
    char *path SCOPED(scoped_free) = document_path(archive);
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    json_t *document SCOPED(scoped_json) = NULL;
    int lock SCOPED(scoped_close) = -1;

    *ret_new_path = NULL;
    if (!wal_gaps_lock(archive, &lock, err))
        return false;
    if (wal_gaps_load(path, &record, &document, err))
        return true; /* somebody was faster */
    return err->kind == ERROR_INTEGRITY && !is_of_newer_program(path) && wal_set_aside(path, ret_new_path, err);
}

bool wal_gaps_clean(const struct wal_archive *archive, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_path(archive, FILE_NAME ".tmp");
    int lock SCOPED(scoped_close) = -1;

    if (!wal_gaps_lock(archive, &lock, err))
        return false;
    return unlink(path) == 0 || errno == ENOENT || error_set_errno(err, "could not remove \"%s\"", path);
}
