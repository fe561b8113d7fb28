#include <stdlib.h>
#include <string.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"

/*
 * Frames come in the order of the tar stream, members stand in the index in the same order: so one member at a time
 * is open, and nothing is looked up. What lies between members (tar headers, padding) is passed over.
 */
struct member_stream {
    const struct index *index;
    const char *backup;
    const struct member_sink *sink;
    char archive[sizeof((struct index_frame){0}).archive]; /* "" before the first frame */
    uint64_t position;                                     /* of the archive's plain stream */
    size_t member;                                         /* the next or the open one */
    bool is_open;
};

struct member_stream *member_stream_new(const struct index *index, const char *backup, const struct member_sink *sink)
{
    struct member_stream *stream = memory_new(sizeof *stream);

    *stream = (struct member_stream){.index = index, .backup = backup, .sink = sink};
    return stream;
}

void member_stream_free(struct member_stream *stream)
{
    free(stream);
}

/* The next member, when it belongs to the archive at hand. */
static const struct index_member *current_member(const struct member_stream *stream)
{
    if (stream->archive[0] == '\0' || stream->member >= stream->index->member_count)
        return NULL;
    const struct index_member *member = &stream->index->members[stream->member];
    return strcmp(member->archive, stream->archive) == 0 ? member : NULL;
}

bool member_stream_fail(const char *backup, const char *archive, struct error *err)
{
    return error_set(err, ERROR_INTEGRITY, "the index of backup %s does not fit its archive \"%s\"", backup, archive);
}

static bool fail_index(const struct member_stream *stream, const char *archive, struct error *err)
{
    return member_stream_fail(stream->backup, archive, err);
}

static bool begin_archive(struct member_stream *stream, const char *archive, struct error *err)
{
    if (current_member(stream) != NULL)
        return fail_index(stream, stream->archive, err);
    memcpy(stream->archive, archive, sizeof stream->archive);
    stream->position = 0;
    return stream->sink->archive(stream->sink->context, archive, err);
}

static bool end_member(struct member_stream *stream, const struct index_member *member, struct error *err)
{
    stream->is_open = false;
    stream->member++;
    return stream->sink->end(stream->sink->context, member, err);
}

/* The part of `member` that lies in the `size` bytes from stream->position on. *ret_is_whole: it ends there. */
static bool take_part(struct member_stream *stream, const struct index_member *member, const uint8_t *bytes,
                      uint64_t size, bool *ret_is_whole, struct error *err)
{
    const struct member_sink *sink = stream->sink;
    uint64_t stop = stream->position + size;
    uint64_t member_end = member->data_offset + member->size;
    uint64_t from = member->data_offset > stream->position ? member->data_offset : stream->position;
    uint64_t to = member_end < stop ? member_end : stop;

    if (!stream->is_open) {
        if (member->data_offset < stream->position && member->size > 0)
            return fail_index(stream, member->archive, err);
        if (!sink->begin(sink->context, member, err))
            return false;
        stream->is_open = true;
    }
    *ret_is_whole = member_end <= stop;
    if (member->size == 0 || to == from)
        return true;
    return sink->data(sink->context, member, from - member->data_offset, bytes + (from - stream->position),
                      (size_t)(to - from), err);
}

bool member_stream_take(struct member_stream *stream, const struct index_frame *frame, const void *plain,
                        struct error *err)
{
    if (strcmp(stream->archive, frame->archive) != 0 && !begin_archive(stream, frame->archive, err))
        return false;
    if (frame->offset != stream->position)
        return fail_index(stream, frame->archive, err);
    uint64_t stop = stream->position + frame->length;
    for (const struct index_member *member; (member = current_member(stream)) != NULL;) {
        /* An empty member may lie on the very end of the frame, one with bytes begins in the next. */
        if (member->data_offset > stop || (member->data_offset == stop && member->size > 0))
            break;
        bool is_whole = false;
        if (!take_part(stream, member, plain, frame->length, &is_whole, err))
            return false;
        if (!is_whole)
            break;
        if (!end_member(stream, member, err))
            return false;
    }
    stream->position = stop;
    return true;
}

bool member_stream_finish(const struct member_stream *stream, struct error *err)
{
    const struct index *index = stream->index;

    if (!stream->is_open && stream->member == index->member_count)
        return true;
    return fail_index(stream, stream->member < index->member_count ? index->members[stream->member].archive : "base",
                      err);
}
