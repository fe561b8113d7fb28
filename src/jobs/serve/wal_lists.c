#include <errno.h>
#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/gap_told_internal.h"
#include "jobs/serve/moments_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/wal_contents.h"
#include "pgcoffer/repo/wal_gaps.h"

/* All in one line of 64 KiB; with more of them the newest are shown. */
#define MOST_RANGES 120
#define MOST_GAPS   60
#define MOST_WORDS  16
#define MOST_FILLED 16

static const char *state_word(enum wal_file_state state)
{
    switch (state) {
    case WAL_FILE_MISSING:
        return "missing";
    case WAL_FILE_PARTIAL:
        return "partial";
    case WAL_FILE_RAW:
        return "raw";
    case WAL_FILE_COMPRESSED:
        return "compressed";
    }
    return "unknown";
}

static json_t *points_to_json(const struct wal_contents *contents)
{
    json_t *list = json_array();

    for (size_t i = 0; i < contents->point_count; i++) {
        const struct wal_contents_point *point = &contents->points[i];
        json_array_append_new(list, json_pack("{s:o, s:o, s:o}", "name", control_text(point->name), "at",
                                              json_time(point->time), "lsn", events_position(point->position)));
    }
    return list;
}

static json_t *timelines_to_json(const struct wal_contents *contents)
{
    json_t *list = json_array();

    for (size_t i = 0; i < contents->timeline_count; i++) {
        const struct wal_contents_timeline *mark = &contents->timelines[i];
        json_array_append_new(list, json_pack("{s:I, s:I, s:o, s:o}", "timeline", (json_int_t)mark->timeline.value,
                                              "previous", (json_int_t)mark->previous.value, "at", json_time(mark->time),
                                              "lsn", events_position(mark->position)));
    }
    return list;
}

/* What is noted of it; null without a note. */
static json_t *contents_of(const struct wal_archive *archive, const struct wal_file *file)
{
    struct wal_noted *noted SCOPED(scoped_free) = memory_new(sizeof *noted);
    const struct wal_contents *contents = &noted->contents;
    bool is_noted = false;
    struct error ignored; /* verify tells */

    if (!wal_archive_read_note(archive, file->segment, noted, &is_noted, &ignored) || !is_noted)
        return json_null();
    json_t *json =
        json_pack("{s:I, s:I, s:o, s:o, s:o, s:b, s:o}", "commits", (json_int_t)contents->commits, "aborts",
                  (json_int_t)contents->aborts, "first_commit_at", json_time(contents->first_commit_at),
                  "last_commit_at", json_time(contents->last_commit_at), "restore_points", points_to_json(contents),
                  "more_restore_points", (int)contents->has_more_points, "timelines", timelines_to_json(contents));
    if (contents->has_transactions) {
        json_object_set_new(json, "lowest_xid", json_integer(contents->lowest_transaction));
        json_object_set_new(json, "highest_xid", json_integer(contents->highest_transaction));
    }
    return json;
}

static bool send_file(struct session *session, const struct wal_archive *archive, const struct wal_file *file,
                      struct error *err)
{
    char name[WAL_SEGMENT_NAME_SIZE];

    wal_segment_format(file->segment, archive->segment_size, name);
    return control_send_item(session->client,
                             json_pack("{s:s, s:I, s:s, s:I, s:I, s:o, s:o}", "name", name, "timeline",
                                       (json_int_t)file->segment.timeline.value, "state", state_word(file->state),
                                       "held_bytes", (json_int_t)file->held_bytes, "stored_bytes",
                                       (json_int_t)file->stored_bytes, "written_at", json_time(file->written_at),
                                       "contents", contents_of(archive, file)),
                             err);
}

static bool send_histories(struct session *session, const struct wal_archive *archive, struct error *err)
{
    struct timeline *timelines SCOPED(scoped_free) = NULL;
    size_t count = 0;
    char name[WAL_HISTORY_NAME_SIZE];

    if (!wal_archive_timelines(archive, &timelines, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        struct buffer text SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(HISTORY_MOST_BYTES);
        struct error failure;
        if (!wal_archive_read_history(archive, timelines[i], &text, &failure) && failure.errnum == ENOENT)
            continue;
        wal_history_format(timelines[i], name);
        if (!control_send_item(session->client,
                               json_pack("{s:s, s:I, s:s}", "name", name, "timeline", (json_int_t)timelines[i].value,
                                         "state", "history"),
                               err))
            return false;
    }
    return true;
}

bool answer_wal_list(struct session *session, const struct request *request, struct error *err)
{
    struct wal_archive archive;
    struct wal_files files SCOPED(scoped_wal_files) = {0};

    if (!session_open_wal(session, request->server, NULL, &archive, err) || !wal_archive_list(&archive, &files, err) ||
        !send_histories(session, &archive, err))
        return false;
    for (size_t i = 0; i < files.count; i++)
        if (!send_file(session, &archive, &files.files[i], err))
            return false;
    return control_send_result(session->client,
                               json_pack("{s:I, s:s}", "segment_size", (json_int_t)archive.segment_size.bytes,
                                         "system_id", archive.system.text),
                               err);
}

static void append(json_t *list, size_t most, json_t *row)
{
    if (json_array_size(list) == most)
        json_array_remove(list, 0);
    json_array_append_new(list, row);
}

static json_t *ranges_to_json(const struct wal_ranges *ranges)
{
    json_t *list = json_array();

    for (size_t i = 0; i < ranges->count; i++) {
        const struct wal_range *range = &ranges->ranges[i];
        append(list, MOST_RANGES,
               json_pack("{s:I, s:o, s:o, s:o}", "timeline", (json_int_t)range->timeline.value, "start",
                         events_position(range->start), "end", events_position(range->end), "written_at",
                         json_time(range->last_written_at)));
    }
    return list;
}

/* Words may be long: of many gaps only the newest have them, so that all fit into the line. */
static json_t *gaps_to_json(const struct wal_gaps *gaps, struct wal_segment_size size)
{
    json_t *list = json_array();

    for (size_t i = 0; i < gaps->count; i++) {
        json_t *gap = gap_to_json(&gaps->gaps[i], size);
        if (gaps->count - i > MOST_WORDS)
            json_object_del(gap, "words");
        append(list, MOST_GAPS, gap);
    }
    return list;
}

static json_t *filled_to_json(const struct wal_gaps *filled, struct wal_segment_size size)
{
    json_t *list = json_array();

    for (size_t i = 0; i < filled->count; i++) {
        json_t *gap = gap_to_json(&filled->gaps[i], size);
        json_object_del(gap, "words");
        json_object_set_new(gap, "filled_at", json_time(filled->gaps[i].filled_at));
        append(list, MOST_FILLED, gap);
    }
    return list;
}

bool answer_wal_status(struct session *session, const struct request *request, struct error *err)
{
    struct wal_archive archive;
    struct wal_files files SCOPED(scoped_wal_files) = {0};
    struct wal_ranges ranges SCOPED(scoped_wal_ranges) = {0};
    struct wal_gaps gaps SCOPED(scoped_wal_gaps) = {0};
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    struct catalogue catalogue SCOPED(scoped_catalogue) = {0};
    struct held_wal held SCOPED(held_wal_done) = {.is_open = false};
    uint64_t stored_bytes = 0;

    if (!session_open_wal(session, request->server, NULL, &archive, err) || !wal_archive_list(&archive, &files, err) ||
        !wal_gaps_read(&archive, &record, err) || !wal_gaps_look(&archive, &record, &ranges, &gaps, err) ||
        !catalogue_read(session->repo, request->server, &catalogue, err) ||
        !held_wal_open(&held, session, request->server, &archive.system, err))
        return false;
    for (size_t i = 0; i < files.count; i++)
        stored_bytes += files.files[i].stored_bytes;
    return control_send_result(
        session->client,
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:I, s:o, s:o, s:o}", "server", request->server, "system_id",
                  archive.system.text, "segment_size", (json_int_t)archive.segment_size.bytes, "segments",
                  (json_int_t)files.count, "stored_bytes", (json_int_t)stored_bytes, "ranges", ranges_to_json(&ranges),
                  "gap_count", (json_int_t)gaps.count, "gaps", gaps_to_json(&gaps, archive.segment_size), "filled",
                  filled_to_json(&record.filled, archive.segment_size), "moments", moments_to_json(&held, &catalogue)),
        err);
}
