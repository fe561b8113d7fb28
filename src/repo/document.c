#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/crc32c.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#include "repo/repo_internal.h"

#define DOCUMENT_MOST_BYTES (1 << 20)
#define REPOSITORY_FORMAT   1
#define CHECKSUM_TEXT       9

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

bool repo_check_format(const json_t *document, int64_t format, const char *what, struct error *err)
{
    int64_t found = 0;

    if (!json_get_number(document, "format", 1, INT64_MAX, &found, err))
        return error_wrap(err, "%s is damaged", what);
    if (found <= format)
        return true;
    error_set(err, ERROR_INTEGRITY, "%s has format %lld, and this version reads up to %lld", what, (long long)found,
              (long long)format);
    return error_hint(err, "A newer pgcoffer wrote it. Use that version or a later one.");
}

/* errnum is ENOENT when there is no file; what is no JSON object is INTEGRITY. */
static bool read_object(const char *path, json_t **ret_object, struct error *err)
{
    struct buffer bytes SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(DOCUMENT_MOST_BYTES);

    if (!file_read_whole(path, &bytes, err)) {
        if (err->kind != ERROR_STORAGE)
            err->kind = ERROR_INTEGRITY;
        return false;
    }
    *ret_object = json_parse_object((const char *)bytes.bytes, bytes.used, err);
    return *ret_object != NULL || error_wrap(err, "\"%s\" is damaged", path);
}

bool repo_read_document(const char *path, json_t **ret_document, struct error *err)
{
    json_t *document SCOPED(scoped_json) = NULL;
    char *quoted SCOPED(scoped_free) = memory_text("\"%s\"", path);

    if (!read_object(path, &document, err) || !repo_check_format(document, REPOSITORY_FORMAT, quoted, err))
        return false;
    *ret_document = TAKE(document);
    return true;
}

bool repo_write_document(const struct repo *repo, const char *path, const json_t *document, struct error *err)
{
    char *line SCOPED(scoped_free) = json_to_line(document);
    char *text SCOPED(scoped_free) = memory_text("%s\n", line);

    return repo_put_file(repo, path, text, strlen(text), err);
}

bool repo_read_server(const struct repo *repo, const char *server, struct system_id *ret_system, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_server_path(repo, server, "server.json");
    json_t *document SCOPED(scoped_json) = NULL;
    const char *text = NULL;

    if (!repo_read_document(path, &document, err)) {
        if (err->errnum != ENOENT)
            return false;
        error_set(err, ERROR_INTEGRITY, "the repository \"%s\" has nothing of the server \"%s\"", repo->base_dir,
                  server);
        err->errnum = ENOENT;
        return error_hint(err, "Take a first backup: pgcoffer backup %s", server);
    }
    if (!json_get_text(document, "system_identifier", &text, err) || !system_id_parse(text, ret_system, err)) {
        err->kind = ERROR_INTEGRITY;
        return error_wrap(err, "\"%s\" is damaged", path);
    }
    return true;
}

bool repo_renew_server(const struct repo *repo, const char *server, const struct system_id *system,
                       json_t **ret_document, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_server_path(repo, server, "server.json");
    json_t *document SCOPED(scoped_json) = NULL;
    struct error problem;

    if (!read_object(path, &document, &problem)) {
        if (problem.kind == ERROR_STORAGE && problem.errnum != ENOENT) {
            *err = problem;
            return false;
        }
        document = json_object();
    } else if (json_number_or(document, "format", REPOSITORY_FORMAT) > REPOSITORY_FORMAT) {
        return repo_check_format(document, REPOSITORY_FORMAT, path, err);
    }
    json_object_set_new(document, "format", json_integer(REPOSITORY_FORMAT));
    json_object_set_new(document, "server", json_string(server));
    json_object_set_new(document, "system_identifier", json_string(system->text));
    *ret_document = TAKE(document);
    return true;
}

bool repo_write_server(const struct repo *repo, const char *server, const struct system_id *system, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_server_path(repo, server, "server.json");
    json_t *document SCOPED(scoped_json) = NULL;

    return repo_renew_server(repo, server, system, &document, err) && repo_write_document(repo, path, document, err);
}

void repo_set_number(json_t *object, const char *key, uint64_t number)
{
    json_object_set_new(object, key, json_integer((json_int_t)number));
}

void repo_set_position(json_t *object, const char *key, struct wal_position position)
{
    char text[WAL_POSITION_TEXT_SIZE];

    wal_position_format(position, text);
    json_object_set_new(object, key, json_string(text));
}

void repo_set_time(json_t *object, const char *key, struct timestamp time)
{
    if (time.microseconds != 0)
        json_object_set_new(object, key, json_time(time));
}

static bool fail_key(const char *key, struct error *err)
{
    err->kind = ERROR_INTEGRITY;
    return error_wrap(err, "\"%s\"", key);
}

bool repo_get_position(const json_t *object, const char *key, struct wal_position *ret_position, struct error *err)
{
    const char *text = NULL;

    return json_get_text(object, key, &text, err) &&
           (wal_position_parse(text, ret_position, err) || fail_key(key, err));
}

bool repo_get_time(const json_t *object, const char *key, struct timestamp *ret_time, struct error *err)
{
    const char *text = NULL;

    *ret_time = (struct timestamp){0};
    if (json_object_get(object, key) == NULL)
        return true;
    return json_get_text(object, key, &text, err) && (timestamp_parse(text, ret_time, err) || fail_key(key, err));
}

static void checksum_text(const json_t *document, char ret_text[CHECKSUM_TEXT])
{
    json_t *rest SCOPED(scoped_json) = json_copy((json_t *)document);

    json_object_del(rest, "checksum");
    char *line SCOPED(scoped_free) = json_to_line(rest);
    snprintf(ret_text, CHECKSUM_TEXT, "%08" PRIx32, crc32c_update(0, line, strlen(line)));
}

void repo_set_checksum(json_t *document)
{
    char checksum[CHECKSUM_TEXT];

    checksum_text(document, checksum);
    json_object_set_new(document, "checksum", json_string(checksum));
}

/* Every byte counts: those that the parser would not mind, too. */
bool repo_check_checksum(const json_t *document, const struct buffer *bytes, struct error *err)
{
    char *line SCOPED(scoped_free) = json_to_line(document);
    const char *stored = json_text_or_null(document, "checksum");
    char checksum[CHECKSUM_TEXT];
    size_t size = strlen(line);

    checksum_text(document, checksum);
    if (stored == NULL || strcmp(stored, checksum) != 0)
        return error_set(err, ERROR_INTEGRITY, "its checksum is wrong");
    return (bytes->used == size + 1 && memcmp(bytes->bytes, line, size) == 0 && bytes->bytes[size] == '\n') ||
           error_set(err, ERROR_INTEGRITY, "it is not in one line without blanks");
}
