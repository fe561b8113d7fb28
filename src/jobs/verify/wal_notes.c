#include "jobs/verify/wal_notes_internal.h"

#include <stdlib.h>

#include "pgcoffer/base/memory.h"

static bool add_event(void *context, const struct wal_event *event, struct error *err)
{
    (void)err;
    wal_contents_add(context, event);
    return true;
}

void wal_notes_begin(struct wal_notes *notes, struct checked_wal *wal)
{
    *notes = (struct wal_notes){.wal = wal, .found = memory_new(sizeof *notes->found)};
    notes->walk = wal_walk_new(&wal->archive, add_event, notes->found);
}

void wal_notes_done(struct wal_notes *notes)
{
    wal_walk_free(notes->walk);
    free(notes->found);
    *notes = (struct wal_notes){.wal = NULL};
}

/* No backup suffers: without the note the segment itself is read. */
static bool tell(struct wal_notes *notes, struct wal_segment segment, const char *what, struct error *err)
{
    char name[WAL_SEGMENT_NAME_SIZE];

    wal_segment_format(segment, notes->wal->archive.segment_size, name);
    char *file SCOPED(scoped_free) = memory_text("%s.contents.json", name);
    return verify_problem(notes->wal->verify, NULL, file, VERIFY_NO_FRAME, json_array(), err,
                          "%s; the segment itself is sound, and nothing is lost when this file is removed", what);
}

static bool read_segment(struct wal_notes *notes, const uint8_t *bytes, const struct wal_file *file,
                         struct error *failure)
{
    *notes->found = (struct wal_contents){.commits = 0};
    return wal_walk_enter(notes->walk, file->segment, failure) &&
           wal_walk_feed(notes->walk, bytes, file->held_bytes, failure);
}

bool wal_notes_check(struct wal_notes *notes, const uint8_t *bytes, const struct wal_file *file, struct error *err)
{
    const struct wal_archive *archive = &notes->wal->archive;
    struct wal_noted *noted SCOPED(scoped_free) = memory_new(sizeof *noted);
    bool is_noted = false;
    struct error failure;

    if (file->state != WAL_FILE_COMPRESSED || !wal_archive_has_note(archive, file->segment))
        return true;
    if (!wal_archive_read_note(archive, file->segment, noted, &is_noted, &failure))
        return tell(notes, file->segment, failure.message, err);
    if (!is_noted)
        return tell(notes, file->segment, "it is about other bytes than those held", err);
    if (!read_segment(notes, bytes, file, &failure))
        return tell(notes, file->segment, "it tells what records hold that cannot be read", err);
    /* What is held before the segment may have changed since; readers look at that, too. */
    if (noted->lacks_start != wal_walk_lacks_start(notes->walk) || wal_contents_is_same(&noted->contents, notes->found))
        return true;
    return tell(notes, file->segment, "it does not tell what the segment holds", err);
}
