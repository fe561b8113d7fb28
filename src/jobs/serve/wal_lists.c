#include <errno.h>
#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/serve/session_internal.h"
#include "pgcoffer/base/memory.h"

/* Ranges or gaps in one line; with more of them the newest are shown. */
#define MOST_RANGES 200

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

static bool send_file(struct session *session, const struct wal_archive *archive, const struct wal_file *file,
                      struct error *err)
{
    char name[WAL_SEGMENT_NAME_SIZE];

    wal_segment_format(file->segment, archive->segment_size, name);
    return control_send_item(session->client,
                             json_pack("{s:s, s:I, s:s, s:I, s:I, s:o}", "name", name, "timeline",
                                       (json_int_t)file->segment.timeline.value, "state", state_word(file->state),
                                       "held_bytes", (json_int_t)file->held_bytes, "stored_bytes",
                                       (json_int_t)file->stored_bytes, "written_at", events_time(file->written_at)),
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

static void append(json_t *list, struct timeline timeline, struct wal_position start, struct wal_position end,
                   const struct timestamp *written_at)
{
    json_t *row = json_pack("{s:I, s:o, s:o}", "timeline", (json_int_t)timeline.value, "start", events_position(start),
                            "end", events_position(end));

    if (written_at != NULL)
        json_object_set_new(row, "written_at", events_time(*written_at));
    if (json_array_size(list) == MOST_RANGES)
        json_array_remove(list, 0);
    json_array_append_new(list, row);
}

static void describe_ranges(const struct wal_ranges *ranges, json_t *ret_ranges, json_t *ret_gaps)
{
    for (size_t i = 0; i < ranges->count; i++) {
        const struct wal_range *range = &ranges->ranges[i];
        const struct wal_range *before = i > 0 ? &ranges->ranges[i - 1] : NULL;
        append(ret_ranges, range->timeline, range->start, range->end, &range->last_written_at);
        if (before != NULL && before->timeline.value == range->timeline.value)
            append(ret_gaps, range->timeline, before->end, range->start, NULL);
    }
}

bool answer_wal_status(struct session *session, const struct request *request, struct error *err)
{
    struct wal_archive archive;
    struct wal_files files SCOPED(scoped_wal_files) = {0};
    struct wal_ranges ranges SCOPED(scoped_wal_ranges) = {0};
    uint64_t stored_bytes = 0;

    if (!session_open_wal(session, request->server, NULL, &archive, err) || !wal_archive_list(&archive, &files, err) ||
        !wal_archive_ranges(&archive, &ranges, err))
        return false;
    for (size_t i = 0; i < files.count; i++)
        stored_bytes += files.files[i].stored_bytes;
    json_t *range_list = json_array();
    json_t *gap_list = json_array();
    describe_ranges(&ranges, range_list, gap_list);
    return control_send_result(session->client,
                               json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:o}", "server", request->server, "system_id",
                                         archive.system.text, "segment_size", (json_int_t)archive.segment_size.bytes,
                                         "segments", (json_int_t)files.count, "stored_bytes", (json_int_t)stored_bytes,
                                         "ranges", range_list, "gaps", gap_list),
                               err);
}
