#include "jobs/backup/copy_state_internal.h"
#include "pgcoffer/repo/index.h"

#include <stdio.h>
#include <string.h>

#define INDEX_NAME "index.jsonl"
/* Lines are gathered up to this size before they are compressed. */
#define GATHERED_LINES 32768

static bool hand_over(struct copy *copy, size_t least, struct error *err)
{
    if (copy->lines.used < least || copy->lines.used == 0)
        return true;
    if (!stage_write(copy->index, copy->lines.bytes, copy->lines.used, err))
        return error_wrap(err, "could not write the index");
    copy->lines.used = 0;
    return true;
}

bool copy_index_begin(struct copy *copy, struct error *err)
{
    copy->index = stage_compress_new(stage_digest_new(copy_store_new(copy), &copy->index_digest), copy->options->level);
    copy->lines = BUFFER_WITH_LIMIT(GATHERED_LINES + INDEX_MOST_LINE);
    return stage_open(copy->index, INDEX_NAME, err) && index_write_begin(&copy->lines, err);
}

bool copy_index_frame(struct copy *copy, const struct frame_info *frame, struct error *err)
{
    struct index_frame row = {
        .offset = frame->offset,
        .length = frame->length,
        .stored_at = frame->stored_at,
        .stored_length = frame->stored_length,
    };

    snprintf(row.archive, sizeof row.archive, "%s", copy->archive);
    snprintf(row.sha256, sizeof row.sha256, "%s", frame->sha256);
    copy->frames++;
    return index_write_frame(&copy->lines, &row, err) && hand_over(copy, GATHERED_LINES, err);
}

bool copy_index_member(struct copy *copy, const char *path, bool is_directory, uint32_t mode, uint64_t size,
                       uint64_t data_offset, const char *checksum, struct error *err)
{
    struct index_member row = {
        .path = (char *)(uintptr_t)path, /* only read */
        .type = is_directory ? MEMBER_DIRECTORY : MEMBER_FILE,
        .mode = mode,
        .size = size,
        .data_offset = data_offset,
    };

    snprintf(row.archive, sizeof row.archive, "%s", copy->archive);
    snprintf(row.checksum, sizeof row.checksum, "%s", checksum);
    copy->members++;
    return index_write_member(&copy->lines, &row, err) && hand_over(copy, GATHERED_LINES, err);
}

bool copy_index_finish(struct copy *copy, struct error *err)
{
    return index_write_end(&copy->lines, copy->frames, copy->members, err) && hand_over(copy, 0, err) &&
           stage_finish(copy->index, err) && copy_keep_file(copy, INDEX_NAME ".zst", &copy->index_digest, err);
}
