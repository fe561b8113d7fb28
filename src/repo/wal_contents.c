#include "pgcoffer/repo/wal_contents.h"

#include <stdlib.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"

#include "repo/wal_contents_internal.h"
#include "repo/wal_internal.h"

static bool add_event(void *context, const struct wal_event *event, struct error *err)
{
    (void)err;
    wal_contents_add(context, event);
    return true;
}

/* It may have come since: from another server, or back from elsewhere. */
bool wal_note_is_outdated(const struct wal_archive *archive, struct wal_segment segment, const struct wal_noted *noted)
{
    struct wal_segment before = {segment.timeline, segment.number - 1};
    struct wal_file file;
    struct error ignored;

    return noted->lacks_start && segment.number > 0 && wal_archive_stat(archive, before, &file, &ignored) &&
           file.state != WAL_FILE_MISSING;
}

bool wal_archive_contents(const struct wal_archive *archive, struct wal_segment segment, struct wal_noted *ret_noted,
                          bool *ret_was_read, struct wal_file *ret_file, struct error *err)
{
    struct error ignored; /* without a note the segment itself tells the same */
    bool is_noted = false;

    *ret_was_read = false;
    *ret_noted = (struct wal_noted){.lacks_start = false};
    if (!wal_archive_stat(archive, segment, ret_file, err))
        return false;
    if (ret_file->state == WAL_FILE_MISSING)
        return true;
    if (ret_file->state == WAL_FILE_COMPRESSED &&
        wal_archive_read_note(archive, segment, ret_noted, &is_noted, &ignored) && is_noted &&
        !wal_note_is_outdated(archive, segment, ret_noted))
        return true;
    *ret_noted = (struct wal_noted){.lacks_start = false};
    *ret_was_read = true;
    struct wal_walk *walk SCOPED(scoped_wal_walk) = wal_walk_new(archive, add_event, &ret_noted->contents);
    if (!wal_walk_segment(walk, segment, ret_file, err))
        return false;
    ret_noted->lacks_start = wal_walk_lacks_start(walk);
    return true;
}

/* ---- the last commit ---- */

/* Notes cost little, segments without one are read. */
#define LAST_COMMIT_MOST_NOTES 256
#define LAST_COMMIT_MOST_READ  3

struct last_commit {
    struct wal_position end;
    struct timestamp time;
};

static bool keep_last_commit(void *context, const struct wal_event *event, struct error *err)
{
    struct last_commit *last = context;

    (void)err;
    if (event->kind == WAL_EVENT_COMMIT && event->position.value < last->end.value &&
        event->time.microseconds > last->time.microseconds)
        last->time = event->time;
    return true;
}

/* False: it could not be read. */
static bool look_for_commit(const struct wal_archive *archive, struct wal_segment segment, struct last_commit *last,
                            unsigned *read_count)
{
    struct wal_noted *noted SCOPED(scoped_free) = memory_new(sizeof *noted);
    struct wal_file file;
    struct error ignored;
    bool is_noted = false;

    if (wal_segment_end(segment, archive->segment_size).value <= last->end.value &&
        wal_archive_read_note(archive, segment, noted, &is_noted, &ignored) && is_noted) {
        last->time = noted->contents.last_commit_at;
        return true;
    }
    struct wal_walk *walk SCOPED(scoped_wal_walk) = wal_walk_new(archive, keep_last_commit, last);
    return ++*read_count <= LAST_COMMIT_MOST_READ && wal_walk_segment(walk, segment, &file, &ignored) &&
           file.state != WAL_FILE_MISSING;
}

struct timestamp wal_archive_last_commit(const struct wal_archive *archive, const struct history *history,
                                         struct timeline timeline, struct wal_position end)
{
    struct last_commit last = {.end = end};
    struct wal_segment segment = wal_segment_before(timeline, end, archive->segment_size);
    unsigned read_count = 0;

    for (unsigned i = 0; i < LAST_COMMIT_MOST_NOTES; i++) {
        if (!look_for_commit(archive, segment, &last, &read_count) || last.time.microseconds != 0 ||
            segment.number == 0)
            break;
        struct wal_position before = {wal_segment_start(segment, archive->segment_size).value - 1};
        segment = wal_segment_at(history_timeline_at(history, before), before, archive->segment_size);
    }
    return last.time;
}

/* ---- noting ---- */

struct wal_noter {
    struct wal_archive archive;
    struct wal_walk *walk;
    struct wal_segment segment;
    struct wal_noted noted;
    bool is_good; /* up to now all bytes of the segment are read */
};

struct wal_noter *wal_noter_new(const struct wal_archive *archive)
{
    struct wal_noter *noter = memory_new(sizeof *noter);

    noter->archive = *archive;
    noter->walk = wal_walk_new(archive, add_event, &noter->noted.contents);
    return noter;
}

void wal_noter_free(struct wal_noter *noter)
{
    if (noter == NULL)
        return;
    wal_walk_free(noter->walk);
    free(noter);
}

void wal_noter_begin(struct wal_noter *noter, struct wal_segment segment)
{
    struct error ignored;

    if (noter == NULL)
        return;
    noter->segment = segment;
    noter->noted = (struct wal_noted){.lacks_start = false};
    noter->is_good = wal_walk_enter(noter->walk, segment, &ignored);
}

/* Damage is found again by whoever reads the segment for its own sake. */
void wal_noter_feed(struct wal_noter *noter, const void *bytes, size_t size)
{
    struct error ignored;

    if (noter != NULL && noter->is_good)
        noter->is_good = wal_walk_feed(noter->walk, bytes, size, &ignored);
}

void wal_noter_end(struct wal_noter *noter, const uint8_t trailer[WAL_TRAILER_SIZE])
{
    struct error ignored;

    if (noter == NULL)
        return;
    noter->noted.lacks_start = wal_walk_lacks_start(noter->walk);
    if (noter->is_good && wal_note_write(&noter->archive, noter->segment, &noter->noted, trailer, &ignored))
        return;
    char *path SCOPED(scoped_free) = wal_segment_path(&noter->archive, noter->segment, WAL_NOTE_SUFFIX);
    unlink(path);
}
