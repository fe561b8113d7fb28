#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/index.h"

#include "repo/index_internal.h"
#include "repo/repo_internal.h"

/* Takes `object`; a line too long for the reader is refused here already. */
static bool append_line(struct buffer *lines, json_t *object, struct error *err)
{
    json_t *owned SCOPED(scoped_json) = object;
    char *line SCOPED(scoped_free) = json_to_line(owned);
    size_t size = strlen(line);

    if (size >= INDEX_MOST_LINE)
        return error_set(err, ERROR_FAILED, "an index line would have %zu bytes", size);
    line[size] = '\n'; /* in place of the final NUL */
    return buffer_append(lines, line, size + 1, err);
}

bool index_write_begin(struct buffer *lines, struct error *err)
{
    json_t *line = json_object();

    repo_set_number(line, "format", INDEX_FORMAT);
    return append_line(lines, line, err);
}

bool index_write_frame(struct buffer *lines, const struct index_frame *frame, struct error *err)
{
    json_t *line = json_object();

    json_object_set_new(line, "frame", json_string(frame->archive));
    repo_set_number(line, "offset", frame->offset);
    repo_set_number(line, "length", frame->length);
    repo_set_number(line, "at", frame->stored_at);
    repo_set_number(line, "stored", frame->stored_length);
    json_object_set_new(line, "sha256", json_string(frame->sha256));
    if (frame->backup[0] != '\0')
        json_object_set_new(line, "backup", json_string(frame->backup));
    return append_line(lines, line, err);
}

bool index_write_member(struct buffer *lines, const struct index_member *member, struct error *err)
{
    json_t *line = json_object();

    json_object_set_new(line, "member", json_string(member->archive));
    if (repo_is_plain_text(member->path)) {
        json_object_set_new(line, "path", json_string(member->path));
    } else {
        char *hex SCOPED(scoped_free) = repo_hex_from_text(member->path);
        json_object_set_new(line, "path_hex", json_string(hex));
    }
    json_object_set_new(line, "type", json_string(member->type == MEMBER_FILE ? "file" : "directory"));
    repo_set_number(line, "mode", member->mode);
    repo_set_number(line, "size", member->size);
    repo_set_number(line, "data", member->data_offset);
    if (member->checksum[0] != '\0')
        json_object_set_new(line, "checksum", json_string(member->checksum));
    return append_line(lines, line, err);
}

bool index_write_end(struct buffer *lines, uint64_t frames, uint64_t members, struct error *err)
{
    json_t *line = json_object();

    json_object_set_new(line, "end", json_true());
    repo_set_number(line, "frames", frames);
    repo_set_number(line, "members", members);
    return append_line(lines, line, err);
}
