#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/repo/layout.h"

#include "repo/index_internal.h"
#include "repo/repo_internal.h"

/* "base" or a tablespace's oid in its one spelling. */
static bool get_archive(const json_t *line, const char *key, char ret_archive[16], struct error *err)
{
    const char *text = NULL;
    uint64_t oid = 0;

    if (!json_get_text(line, key, &text, err))
        return false;
    if (strcmp(text, "base") != 0 && (text[0] == '0' || !text_parse_unsigned(text, UINT32_MAX, &oid)))
        return error_set(err, ERROR_INTEGRITY, "\"%.32s\" is not the name of an archive", text);
    if (strlen(text) >= 16)
        return error_set(err, ERROR_INTEGRITY, "the name of an archive is too long");
    snprintf(ret_archive, 16, "%s", text);
    return true;
}

/* The backup that holds the frame; "" is this one. */
static bool get_backup(const json_t *line, char ret_backup[24], struct error *err)
{
    const char *text = NULL;
    struct backup_id id;

    ret_backup[0] = '\0';
    if (json_object_get(line, "backup") == NULL)
        return true;
    if (!json_get_text(line, "backup", &text, err))
        return false;
    if (!backup_id_parse(text, &id))
        return error_set(err, ERROR_INTEGRITY, "\"backup\" is not the name of a backup");
    snprintf(ret_backup, 24, "%s", id.text);
    return true;
}

bool index_parse_frame(const json_t *line, struct index_frame *ret_frame, struct error *err)
{
    struct index_frame frame = {0};
    const char *sha256 = NULL;
    int64_t offset = 0, length = 0, stored_at = 0, stored_length = 0;

    /* Incompressible bytes grow a little. */
    if (!get_archive(line, "frame", frame.archive, err) || !get_backup(line, frame.backup, err) ||
        !json_get_number(line, "offset", 0, INT64_MAX - INDEX_MOST_FRAME_LENGTH, &offset, err) ||
        !json_get_number(line, "length", 1, INDEX_MOST_FRAME_LENGTH, &length, err) ||
        !json_get_number(line, "at", 0, INT64_MAX - 2 * (int64_t)INDEX_MOST_FRAME_LENGTH, &stored_at, err) ||
        !json_get_number(line, "stored", 1, 2 * (int64_t)INDEX_MOST_FRAME_LENGTH, &stored_length, err) ||
        !json_get_text(line, "sha256", &sha256, err))
        return false;
    if (!repo_is_hex(sha256, 64))
        return error_set(err, ERROR_INTEGRITY, "\"sha256\" is not a digest");
    frame.offset = (uint64_t)offset;
    frame.length = (uint32_t)length;
    frame.stored_at = (uint64_t)stored_at;
    frame.stored_length = (uint32_t)stored_length;
    snprintf(frame.sha256, sizeof frame.sha256, "%s", sha256);
    *ret_frame = frame;
    return true;
}

/* A path that stays in the directory it is put into. */
static bool is_safe_path(const char *path)
{
    if (path[0] == '\0' || strlen(path) > INDEX_MOST_PATH)
        return false;
    for (const char *start = path;;) {
        size_t size = strcspn(start, "/");
        if (size == 0 || size > INDEX_MOST_NAME || (size == 1 && start[0] == '.') ||
            (size == 2 && memcmp(start, "..", 2) == 0))
            return false;
        if (start[size] == '\0')
            return true;
        start += size + 1;
    }
}

static bool get_path(const json_t *line, char **ret_path, struct error *err)
{
    const char *text = NULL;
    bool is_hex = json_object_get(line, "path_hex") != NULL;

    if (!json_get_text(line, is_hex ? "path_hex" : "path", &text, err))
        return false;
    char *path SCOPED(scoped_free) = is_hex ? repo_text_from_hex(text) : memory_copy_text(text);
    if (path == NULL || !is_safe_path(path))
        return error_set(err, ERROR_INTEGRITY, "a member's path is not allowed: \"%.200s\"", text);
    *ret_path = TAKE(path);
    return true;
}

static bool get_type(const json_t *line, enum member_type *ret_type, struct error *err)
{
    const char *text = NULL;

    if (!json_get_text(line, "type", &text, err))
        return false;
    *ret_type = strcmp(text, "file") == 0 ? MEMBER_FILE : MEMBER_DIRECTORY;
    return *ret_type == MEMBER_FILE || strcmp(text, "directory") == 0 ||
           error_set(err, ERROR_INTEGRITY, "a member is neither file nor directory");
}

static bool get_checksum(const json_t *line, char *ret_checksum, size_t room, struct error *err)
{
    const char *text = NULL;

    ret_checksum[0] = '\0';
    if (json_object_get(line, "checksum") == NULL)
        return true;
    if (!json_get_text(line, "checksum", &text, err))
        return false;
    if (strlen(text) >= room || !repo_is_hex(text, strlen(text)))
        return error_set(err, ERROR_INTEGRITY, "\"checksum\" is not a checksum");
    snprintf(ret_checksum, room, "%s", text);
    return true;
}

bool index_parse_member(const json_t *line, struct index_member *ret_member, struct error *err)
{
    struct index_member member = {0};
    int64_t mode = 0, size = 0, data = 0;

    if (!get_archive(line, "member", member.archive, err) || !get_type(line, &member.type, err) ||
        !json_get_number(line, "mode", 0, 07777, &mode, err) ||
        !json_get_number(line, "size", 0, INT64_MAX / 2, &size, err) ||
        !json_get_number(line, "data", 0, INT64_MAX / 2, &data, err) ||
        !get_checksum(line, member.checksum, sizeof member.checksum, err))
        return false;
    if (member.type == MEMBER_DIRECTORY && size != 0)
        return error_set(err, ERROR_INTEGRITY, "a directory has %" PRId64 " bytes", size);
    member.mode = (uint32_t)mode;
    member.size = (uint64_t)size;
    member.data_offset = (uint64_t)data;
    if (!get_path(line, &member.path, err))
        return false;
    *ret_member = member;
    return true;
}
