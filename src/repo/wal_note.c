#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/json.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#include "repo/repo_internal.h"
#include "repo/wal_contents_internal.h"
#include "repo/wal_internal.h"

#define SHA256_SIZE 32
#define SHA256_TEXT (2 * SHA256_SIZE + 1)
#define NOTE_FORMAT 1
/* 64 restore points with the longest names, and more than that for keys of later versions. */
#define NOTE_MOST_BYTES 65536

bool wal_is_note_name(const char *name)
{
    return strlen(name) == WAL_SEGMENT_NAME_SIZE - 1 + strlen(WAL_NOTE_SUFFIX) &&
           strspn(name, "0123456789ABCDEF") == WAL_SEGMENT_NAME_SIZE - 1 && text_ends_with(name, WAL_NOTE_SUFFIX);
}

/* The digest is the end of the trailer. */
static void digest_text(const uint8_t trailer[WAL_TRAILER_SIZE], char ret_text[SHA256_TEXT])
{
    text_from_hex_bytes(trailer + WAL_TRAILER_SIZE - SHA256_SIZE, SHA256_SIZE, ret_text);
}

/* ---- writing ---- */

static json_t *points_to_json(const struct wal_contents *contents)
{
    json_t *list = json_array();

    for (size_t i = 0; i < contents->point_count; i++) {
        const struct wal_contents_point *point = &contents->points[i];
        json_t *entry = json_object();
        char *hex SCOPED(scoped_free) = repo_hex_from_text(point->name);
        bool is_plain = repo_is_plain_text(point->name);
        json_object_set_new(entry, is_plain ? "name" : "name_hex", json_string(is_plain ? point->name : hex));
        repo_set_time(entry, "at", point->time);
        repo_set_position(entry, "lsn", point->position);
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *timelines_to_json(const struct wal_contents *contents)
{
    json_t *list = json_array();

    for (size_t i = 0; i < contents->timeline_count; i++) {
        const struct wal_contents_timeline *mark = &contents->timelines[i];
        json_t *entry = json_object();
        repo_set_number(entry, "timeline", mark->timeline.value);
        repo_set_number(entry, "previous", mark->previous.value);
        repo_set_time(entry, "at", mark->time);
        repo_set_position(entry, "lsn", mark->position);
        json_array_append_new(list, entry);
    }
    return list;
}

static void set_contents(json_t *document, const struct wal_contents *contents)
{
    repo_set_number(document, "commits", contents->commits);
    repo_set_number(document, "aborts", contents->aborts);
    repo_set_time(document, "first_commit_at", contents->first_commit_at);
    repo_set_time(document, "last_commit_at", contents->last_commit_at);
    repo_set_time(document, "first_end_at", contents->first_end_at);
    repo_set_time(document, "last_end_at", contents->last_end_at);
    if (contents->has_transactions) {
        repo_set_number(document, "lowest_xid", contents->lowest_transaction);
        repo_set_number(document, "highest_xid", contents->highest_transaction);
    }
    json_object_set_new(document, "restore_points", points_to_json(contents));
    json_object_set_new(document, "more_restore_points", json_boolean(contents->has_more_points));
    json_object_set_new(document, "timelines", timelines_to_json(contents));
    repo_set_number(document, "unread", contents->unread);
}

bool wal_note_write(const struct wal_archive *archive, struct wal_segment segment, const struct wal_noted *noted,
                    const uint8_t trailer[WAL_TRAILER_SIZE], struct error *err)
{
    char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, WAL_NOTE_SUFFIX);
    json_t *document SCOPED(scoped_json) = json_object();
    char name[WAL_SEGMENT_NAME_SIZE], digest[SHA256_TEXT];

    wal_segment_format(segment, archive->segment_size, name);
    digest_text(trailer, digest);
    repo_set_number(document, "format", NOTE_FORMAT);
    json_object_set_new(document, "segment", json_string(name));
    json_object_set_new(document, "sha256", json_string(digest));
    json_object_set_new(document, "lacks_start", json_boolean(noted->lacks_start));
    set_contents(document, &noted->contents);
    repo_set_checksum(document);
    return repo_write_document(archive->repo, path, document, err);
}

/* ---- reading ---- */

static bool get_count(const json_t *object, const char *key, uint64_t most, uint64_t *ret_number, struct error *err)
{
    int64_t number = 0;

    if (!json_get_number(object, key, 0, (int64_t)most, &number, err))
        return false;
    *ret_number = (uint64_t)number;
    return true;
}

static bool get_32(const json_t *object, const char *key, uint32_t *ret_number, struct error *err)
{
    uint64_t number = 0;

    if (!get_count(object, key, UINT32_MAX, &number, err))
        return false;
    *ret_number = (uint32_t)number;
    return true;
}

static bool get_name(const json_t *object, char ret_name[WAL_RESTORE_POINT_SIZE], struct error *err)
{
    const char *text = json_text_or_null(object, "name");
    const char *hex = json_text_or_null(object, "name_hex");
    char *bytes SCOPED(scoped_free) =
        hex != NULL ? repo_text_from_hex(hex) : memory_copy_text(text != NULL ? text : "");

    if ((text == NULL && hex == NULL) || bytes == NULL || strlen(bytes) >= WAL_RESTORE_POINT_SIZE)
        return error_set(err, ERROR_INTEGRITY, "\"name\" is missing or none");
    snprintf(ret_name, WAL_RESTORE_POINT_SIZE, "%s", bytes);
    return true;
}

static bool get_points(const json_t *document, struct wal_contents *contents, struct error *err)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(json_object_get(document, "restore_points"), i, entry)
    {
        if (i == WAL_CONTENTS_MOST_POINTS)
            return error_set(err, ERROR_INTEGRITY, "\"restore_points\" has too many");
        struct wal_contents_point *point = &contents->points[contents->point_count++];
        if (!get_name(entry, point->name, err) || !repo_get_time(entry, "at", &point->time, err) ||
            !repo_get_position(entry, "lsn", &point->position, err))
            return error_wrap(err, "\"restore_points\"");
    }
    return true;
}

static bool get_timelines(const json_t *document, struct wal_contents *contents, struct error *err)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(json_object_get(document, "timelines"), i, entry)
    {
        if (i == WAL_CONTENTS_MOST_TIMELINES)
            return error_set(err, ERROR_INTEGRITY, "\"timelines\" has too many");
        struct wal_contents_timeline *mark = &contents->timelines[contents->timeline_count++];
        if (!get_32(entry, "timeline", &mark->timeline.value, err) ||
            !get_32(entry, "previous", &mark->previous.value, err) || !repo_get_time(entry, "at", &mark->time, err) ||
            !repo_get_position(entry, "lsn", &mark->position, err))
            return error_wrap(err, "\"timelines\"");
    }
    return true;
}

static bool get_transactions(const json_t *document, struct wal_contents *contents, struct error *err)
{
    contents->has_transactions = json_object_get(document, "lowest_xid") != NULL;
    return !contents->has_transactions || (get_32(document, "lowest_xid", &contents->lowest_transaction, err) &&
                                           get_32(document, "highest_xid", &contents->highest_transaction, err));
}

static bool get_contents(const json_t *document, struct wal_contents *contents, struct error *err)
{
    return get_count(document, "commits", INT64_MAX, &contents->commits, err) &&
           get_count(document, "aborts", INT64_MAX, &contents->aborts, err) &&
           repo_get_time(document, "first_commit_at", &contents->first_commit_at, err) &&
           repo_get_time(document, "last_commit_at", &contents->last_commit_at, err) &&
           repo_get_time(document, "first_end_at", &contents->first_end_at, err) &&
           repo_get_time(document, "last_end_at", &contents->last_end_at, err) &&
           get_transactions(document, contents, err) && get_points(document, contents, err) &&
           json_get_boolean(document, "more_restore_points", &contents->has_more_points, err) &&
           get_timelines(document, contents, err) && get_count(document, "unread", INT64_MAX, &contents->unread, err);
}

/* The end of SEG.zst; false in *ret_is_there when the segment is in another state. */
static bool read_trailer(const struct wal_archive *archive, struct wal_segment segment,
                         uint8_t ret_trailer[WAL_TRAILER_SIZE], bool *ret_is_there, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, ".zst");
    int fd SCOPED(scoped_close) = -1;
    struct wal_file file;

    *ret_is_there = false;
    if (!wal_archive_open_segment(archive, segment, &fd, &file, err))
        return false;
    if (file.state != WAL_FILE_COMPRESSED || file.stored_bytes < WAL_TRAILER_SIZE)
        return true;
    *ret_is_there = true;
    return file_read_exactly_at(fd, ret_trailer, WAL_TRAILER_SIZE, file.stored_bytes - WAL_TRAILER_SIZE, path, err);
}

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

/* errnum is ENOENT when there is none. */
static bool read_document(const char *path, json_t **ret_document, struct error *err)
{
    struct buffer bytes SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(NOTE_MOST_BYTES);
    json_t *document SCOPED(scoped_json) = NULL;

    if (!file_read_whole(path, &bytes, err))
        return false;
    document = json_parse_object((const char *)bytes.bytes, bytes.used, err);
    if (document == NULL || !repo_check_format(document, NOTE_FORMAT, "the note", err) ||
        !repo_check_checksum(document, &bytes, err))
        return error_wrap(err, "\"%s\" is damaged", path);
    *ret_document = TAKE(document);
    return true;
}

static bool parse_note(const json_t *document, const char *name, const char *digest, struct wal_noted *noted,
                       bool *ret_is_about, struct error *err)
{
    const char *segment = NULL, *sha256 = NULL;

    if (!json_get_text(document, "segment", &segment, err) || !json_get_text(document, "sha256", &sha256, err))
        return false;
    *ret_is_about = strcmp(segment, name) == 0 && strcmp(sha256, digest) == 0;
    return !*ret_is_about || (json_get_boolean(document, "lacks_start", &noted->lacks_start, err) &&
                              get_contents(document, &noted->contents, err));
}

bool wal_archive_has_note(const struct wal_archive *archive, struct wal_segment segment)
{
    char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, WAL_NOTE_SUFFIX);

    return access(path, F_OK) == 0;
}

bool wal_archive_read_note(const struct wal_archive *archive, struct wal_segment segment, struct wal_noted *ret_noted,
                           bool *ret_is_noted, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, WAL_NOTE_SUFFIX);
    json_t *document SCOPED(scoped_json) = NULL;
    struct wal_noted *noted SCOPED(scoped_free) = memory_new(sizeof *noted);
    char name[WAL_SEGMENT_NAME_SIZE], digest[SHA256_TEXT];
    uint8_t trailer[WAL_TRAILER_SIZE];
    struct error problem;
    bool is_there = false;

    *ret_is_noted = false;
    if (!read_document(path, &document, &problem)) {
        if (problem.errnum == ENOENT)
            return true;
        *err = problem;
        return false;
    }
    if (!read_trailer(archive, segment, trailer, &is_there, err))
        return false;
    wal_segment_format(segment, archive->segment_size, name);
    digest_text(trailer, digest);
    if (is_there && !parse_note(document, name, digest, noted, &is_there, err)) {
        err->kind = ERROR_INTEGRITY;
        return error_wrap(err, "\"%s\" is damaged", path);
    }
    if (is_there)
        *ret_noted = *noted;
    *ret_is_noted = is_there;
    return true;
}
