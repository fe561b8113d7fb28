#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#include "repo/index_internal.h"
#include "repo/repo_internal.h"

/* How far one archive's lines have come, in plain and in stored bytes. */
struct archive_extent {
    char archive[16];
    uint64_t frames_end;
    uint64_t stored_end;
    uint64_t members_end;
};

struct index_reader {
    struct index_handler handler;
    struct buffer line;
    uint64_t line_number;
    uint64_t frames;
    uint64_t members;
    struct archive_extent *archives;
    size_t archive_count;
    size_t latest; /* index of the archive last spoken of */
    bool is_ended;
};

struct index_reader *index_reader_new(const struct index_handler *handler)
{
    struct index_reader *reader = memory_new(sizeof *reader);

    reader->handler = *handler;
    reader->line = BUFFER_WITH_LIMIT(INDEX_MOST_LINE);
    return reader;
}

void index_reader_free(struct index_reader *reader)
{
    if (reader == NULL)
        return;
    buffer_done(&reader->line);
    free(reader->archives);
    free(reader);
}

static bool find_extent(struct index_reader *reader, const char *archive, struct archive_extent **ret_extent,
                        struct error *err)
{
    size_t i = reader->latest;

    if (i >= reader->archive_count || strcmp(reader->archives[i].archive, archive) != 0)
        for (i = 0; i < reader->archive_count; i++)
            if (strcmp(reader->archives[i].archive, archive) == 0)
                break;
    if (i == reader->archive_count) {
        if (i == INDEX_MOST_ARCHIVES)
            return error_set(err, ERROR_INTEGRITY, "more than %d archives", INDEX_MOST_ARCHIVES);
        reader->archives = repo_grow(reader->archives, i, sizeof *reader->archives);
        reader->archives[i] = (struct archive_extent){0};
        snprintf(reader->archives[i].archive, sizeof reader->archives[i].archive, "%s", archive);
        reader->archive_count++;
    }
    reader->latest = i;
    *ret_extent = &reader->archives[i];
    return true;
}

static bool take_frame(struct index_reader *reader, const json_t *line, struct error *err)
{
    struct index_frame frame;
    struct archive_extent *extent = NULL;

    if (!index_parse_frame(line, &frame, err) || !find_extent(reader, frame.archive, &extent, err))
        return false;
    if (frame.offset != extent->frames_end)
        return error_set(err, ERROR_INTEGRITY, "a frame of \"%s\" is at %" PRIu64 ", expected %" PRIu64, frame.archive,
                         frame.offset, extent->frames_end);
    if (frame.backup[0] == '\0') {
        if (frame.stored_at < extent->stored_end)
            return error_set(err, ERROR_INTEGRITY, "frames of \"%s\" overlap at byte %" PRIu64 " of the archive",
                             frame.archive, frame.stored_at);
        extent->stored_end = frame.stored_at + frame.stored_length;
    }
    extent->frames_end += frame.length;
    reader->frames++;
    return reader->handler.frame == NULL || reader->handler.frame(reader->handler.context, &frame, err);
}

static bool pass_member(struct index_reader *reader, const struct index_member *member, struct error *err)
{
    struct archive_extent *extent = NULL;

    if (!find_extent(reader, member->archive, &extent, err))
        return false;
    if (member->data_offset < extent->members_end)
        return error_set(err, ERROR_INTEGRITY, "members of \"%s\" overlap at %" PRIu64, member->archive,
                         member->data_offset);
    extent->members_end = member->data_offset + member->size;
    reader->members++;
    return reader->handler.member == NULL || reader->handler.member(reader->handler.context, member, err);
}

static bool take_member(struct index_reader *reader, const json_t *line, struct error *err)
{
    struct index_member member;

    if (!index_parse_member(line, &member, err))
        return false;
    bool passed = pass_member(reader, &member, err);
    free(member.path);
    return passed;
}

/* Its counts prove that no line was lost, and by now every member's data must lie inside a frame. */
static bool take_end(struct index_reader *reader, const json_t *line, struct error *err)
{
    int64_t frames = 0, members = 0;

    if (!json_is_set(line, "end") || !json_get_number(line, "frames", 0, INT64_MAX, &frames, err) ||
        !json_get_number(line, "members", 0, INT64_MAX, &members, err))
        return error_set(err, ERROR_INTEGRITY, "the end line is damaged");
    if ((uint64_t)frames != reader->frames || (uint64_t)members != reader->members)
        return error_set(err, ERROR_INTEGRITY,
                         "%" PRIu64 " frames and %" PRIu64 " members were read, and the end line counts %" PRId64
                         " and %" PRId64,
                         reader->frames, reader->members, frames, members);
    for (size_t i = 0; i < reader->archive_count; i++)
        if (reader->archives[i].members_end > reader->archives[i].frames_end)
            return error_set(
                err, ERROR_INTEGRITY, "members of \"%s\" reach to %" PRIu64 ", and its frames end at %" PRIu64,
                reader->archives[i].archive, reader->archives[i].members_end, reader->archives[i].frames_end);
    reader->is_ended = true;
    return true;
}

static bool take_line(struct index_reader *reader, struct error *err)
{
    json_t *line SCOPED(scoped_json) = NULL;

    if (reader->is_ended)
        return error_set(err, ERROR_INTEGRITY, "lines follow the end line");
    line = json_parse_object((const char *)reader->line.bytes, reader->line.used, err);
    if (line == NULL)
        return false;
    if (reader->line_number == 1)
        return repo_check_format(line, INDEX_FORMAT, "the index", err);
    if (json_object_get(line, "frame") != NULL)
        return take_frame(reader, line, err);
    if (json_object_get(line, "member") != NULL)
        return take_member(reader, line, err);
    if (json_object_get(line, "end") != NULL)
        return take_end(reader, line, err);
    return error_set(err, ERROR_INTEGRITY, "the line is neither a frame nor a member nor the end");
}

bool index_reader_feed(struct index_reader *reader, const void *bytes, size_t size, struct error *err)
{
    for (const char *next = bytes; size > 0;) {
        const char *newline = memchr(next, '\n', size);
        size_t part = newline != NULL ? (size_t)(newline - next) : size;
        if (part > INDEX_MOST_LINE - reader->line.used)
            return error_set(err, ERROR_INTEGRITY, "index line %" PRIu64 " is longer than %d bytes",
                             reader->line_number + 1, INDEX_MOST_LINE);
        if (!buffer_append(&reader->line, next, part, err))
            return false;
        if (newline == NULL)
            return true;
        reader->line_number++;
        if (!take_line(reader, err)) {
            text_make_printable(err->message); /* it may quote the line */
            return error_wrap(err, "index line %" PRIu64, reader->line_number);
        }
        reader->line.used = 0;
        next += part + 1;
        size -= part + 1;
    }
    return true;
}

bool index_reader_finish(struct index_reader *reader, struct error *err)
{
    if (reader->line.used > 0 || !reader->is_ended)
        return error_set(err, ERROR_INTEGRITY, "the index ends too early, after line %" PRIu64, reader->line_number);
    return true;
}
