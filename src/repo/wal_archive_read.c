#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/wal_archive.h"

#include "repo/repo_internal.h"
#include "repo/wal_internal.h"

#define PLAIN_PIECE 131072

static bool read_plain(struct wal_reader *reader, struct buffer *bytes, struct error *err)
{
    uint8_t *piece SCOPED(scoped_free) = memory_new(PLAIN_PIECE);

    for (size_t size = 1; size > 0;)
        if (!wal_reader_next(reader, piece, PLAIN_PIECE, &size, err) || !buffer_append(bytes, piece, size, err))
            return false;
    return true;
}

static bool append_zeros(struct buffer *bytes, size_t size, struct error *err)
{
    static const uint8_t zeros[4096];

    for (size_t piece; size > 0; size -= piece) {
        piece = size < sizeof zeros ? size : sizeof zeros;
        if (!buffer_append(bytes, zeros, piece, err))
            return false;
    }
    return true;
}

bool wal_archive_read_segment(const struct wal_archive *archive, struct wal_segment segment, struct buffer *ret_bytes,
                              struct wal_file *ret_file, struct error *err)
{
    struct wal_reader *reader SCOPED(scoped_wal_reader) = NULL;

    ret_bytes->used = 0;
    if (!wal_reader_open(archive, segment, &reader, err))
        return false;
    if (reader == NULL) {
        *ret_file = (struct wal_file){.segment = segment, .state = WAL_FILE_MISSING};
        return true;
    }
    if (!read_plain(reader, ret_bytes, err) ||
        !append_zeros(ret_bytes, archive->segment_size.bytes - ret_bytes->used, err)) {
        ret_bytes->used = 0;
        return false;
    }
    *ret_file = *wal_reader_file(reader);
    return true;
}

bool wal_archive_compare(const struct wal_archive *archive, struct wal_segment segment, uint32_t offset,
                         const void *bytes, size_t size, struct error *err)
{
    struct wal_reader *reader SCOPED(scoped_wal_reader) = NULL;
    uint8_t *piece SCOPED(scoped_free) = memory_new(PLAIN_PIECE);
    const uint8_t *next = bytes;
    char name[WAL_SEGMENT_NAME_SIZE];

    if (!wal_reader_open(archive, segment, &reader, err) || (reader != NULL && !wal_reader_skip(reader, offset, err)))
        return false;
    while (size > 0) {
        size_t got = 0;
        if (reader != NULL && !wal_reader_next(reader, piece, size < PLAIN_PIECE ? size : PLAIN_PIECE, &got, err))
            return false;
        if (got == 0) {
            wal_segment_format(segment, archive->segment_size, name);
            return error_set(err, ERROR_INTEGRITY, "WAL segment %s is not held at offset %" PRIu32, name, offset);
        }
        for (size_t i = 0; i < got; i++)
            if (piece[i] != next[i])
                return wal_fail_difference(archive, segment, offset + (uint32_t)i, err);
        next += got;
        offset += (uint32_t)got;
        size -= got;
    }
    return true;
}

bool wal_archive_read_history(const struct wal_archive *archive, struct timeline timeline, struct buffer *ret_text,
                              struct error *err)
{
    char name[WAL_HISTORY_NAME_SIZE];

    wal_history_format(timeline, name);
    char *path SCOPED(scoped_free) = wal_path(archive, name);
    if (file_read_whole(path, ret_text, err))
        return true;
    if (err->kind != ERROR_STORAGE || err->errnum == ENOENT)
        err->kind = ERROR_INTEGRITY;
    return false;
}

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

bool wal_archive_history(const struct wal_archive *archive, struct timeline timeline, struct history *ret_history,
                         struct error *err)
{
    struct buffer text SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(HISTORY_MOST_BYTES);

    if (timeline.value == 1) {
        *ret_history = (struct history){.timeline = timeline};
        return true;
    }
    return wal_archive_read_history(archive, timeline, &text, err) &&
           history_parse(timeline, text.bytes, text.used, ret_history, err);
}

void wal_histories_done(struct wal_histories *histories)
{
    for (size_t i = 0; i < histories->count; i++)
        history_done(&histories->histories[i]);
    free(histories->histories);
    *histories = (struct wal_histories){.count = 0};
}

bool wal_archive_histories(const struct wal_archive *archive, struct wal_histories *ret_histories, struct error *err)
{
    struct timeline *timelines SCOPED(scoped_free) = NULL;
    struct wal_histories histories = {.count = 0};
    struct error failure;
    size_t count = 0;

    if (!wal_archive_timelines(archive, &timelines, &count, err))
        return false;
    histories.histories = memory_new((count + 1) * sizeof *histories.histories);
    histories.histories[histories.count++] = (struct history){.timeline = {1}};
    for (size_t i = 0; i < count; i++) {
        if (timelines[i].value <= 1)
            continue;
        if (wal_archive_history(archive, timelines[i], &histories.histories[histories.count], &failure))
            histories.count++;
        else if (failure.errnum != ENOENT && !histories.has_damage) { /* segments may come before the history */
            histories.has_damage = true;
            histories.damage = failure;
        }
    }
    *ret_histories = histories;
    return true;
}
