#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#include "repo/backup_meta_internal.h"
#include "repo/repo_internal.h"

/* Copies a text that must fit into `room`. */
static bool get_text(const json_t *object, const char *key, char *ret_text, size_t room, struct error *err)
{
    const char *text = NULL;

    if (!json_get_text(object, key, &text, err))
        return false;
    if (strlen(text) >= room)
        return error_set(err, ERROR_INTEGRITY, "\"%s\" is longer than %zu bytes", key, room - 1);
    snprintf(ret_text, room, "%s", text);
    return true;
}

static bool get_size(const json_t *object, const char *key, uint64_t *ret_size, struct error *err)
{
    int64_t number = 0;

    if (!json_get_number(object, key, 0, INT64_MAX, &number, err))
        return false;
    *ret_size = (uint64_t)number;
    return true;
}

static bool get_timeline(const json_t *object, const char *key, struct timeline *ret_timeline, struct error *err)
{
    int64_t number = 0;

    if (!json_get_number(object, key, 1, UINT32_MAX, &number, err))
        return false;
    *ret_timeline = (struct timeline){(uint32_t)number};
    return true;
}

static bool get_list(const json_t *object, const char *key, const json_t **ret_list, struct error *err)
{
    *ret_list = json_object_get(object, key);
    return json_is_array(*ret_list) || error_set(err, ERROR_INTEGRITY, "\"%s\" is not a list", key);
}

/* What a backup leans on and this version does not know would be missing in a restore. */
static bool check_requirements(const json_t *document, struct error *err)
{
    static const char *const keys[] = {"requires_features", "requires_backups"};
    const json_t *list = NULL;

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (!get_list(document, keys[i], &list, err))
            return false;
        if (json_array_size(list) == 0)
            continue;
        const char *first = json_string_value(json_array_get(list, 0));
        error_set(err, ERROR_INTEGRITY, "the backup requires the %s \"%.64s\", which this version cannot use",
                  i == 0 ? "feature" : "backup", first != NULL ? first : "?");
        text_make_printable(err->message);
        return error_hint(err, "A newer pgcoffer wrote it. Use that version or a later one.");
    }
    return true;
}

static bool parse_identity(const json_t *document, struct backup_meta *meta, struct error *err)
{
    char text[64];

    if (!get_text(document, "id", text, sizeof text, err))
        return false;
    if (!backup_id_parse(text, &meta->id))
        return error_set(err, ERROR_INTEGRITY, "\"id\" is not the name of a backup");
    if (!get_text(document, "state", text, sizeof text, err))
        return false;
    if (!backup_state_from_word(text, &meta->state))
        return error_set(err, ERROR_INTEGRITY, "\"state\" is not known");
    if (!get_text(document, "kind", text, sizeof text, err))
        return false;
    if (strcmp(text, "full") != 0)
        return error_set(err, ERROR_INTEGRITY, "\"kind\" is not known");
    if (!get_text(document, "server", meta->server, sizeof meta->server, err))
        return false;
    if (!text_is_server_name(meta->server))
        return error_set(err, ERROR_INTEGRITY, "\"server\" is not the name of a server");
    if (!get_text(document, "system_identifier", text, sizeof text, err))
        return false;
    if (system_id_parse(text, &meta->system, err))
        return true;
    err->kind = ERROR_INTEGRITY;
    return false;
}

static bool parse_settings(const json_t *document, struct backup_meta *meta, struct error *err)
{
    int64_t version = 0, segment_size = 0;

    if (!json_get_number(document, "server_version", 0, INT32_MAX, &version, err) ||
        !json_get_number(document, "wal_segment_size", WAL_SEGMENT_SIZE_LEAST, WAL_SEGMENT_SIZE_MOST, &segment_size,
                         err))
        return false;
    if (!wal_segment_size_is_valid((uint64_t)segment_size))
        return error_set(err, ERROR_INTEGRITY, "\"wal_segment_size\" is not a power of two");
    meta->server_version = (int)version;
    meta->segment_size = (struct wal_segment_size){(uint32_t)segment_size};
    return get_text(document, "server_version_text", meta->server_version_text, sizeof meta->server_version_text,
                    err) &&
           get_text(document, "tool_version", meta->tool_version, sizeof meta->tool_version, err) &&
           get_text(document, "label", meta->label, sizeof meta->label, err) &&
           get_text(document, "checksum_algorithm", meta->checksum_algorithm, sizeof meta->checksum_algorithm, err) &&
           get_text(document, "data_directory_mode", meta->data_directory_mode, sizeof meta->data_directory_mode,
                    err) &&
           get_text(document, "tls_version", meta->tls_version, sizeof meta->tls_version, err) &&
           get_text(document, "tls_cipher", meta->tls_cipher, sizeof meta->tls_cipher, err) &&
           json_get_boolean(document, "from_standby", &meta->from_standby, err) &&
           json_get_boolean(document, "fast_checkpoint", &meta->is_fast_checkpoint, err) &&
           json_get_boolean(document, "data_checksums", &meta->has_data_checksums, err);
}

static bool parse_range(const json_t *document, struct backup_meta *meta, struct error *err)
{
    return get_timeline(document, "start_timeline", &meta->start_timeline, err) &&
           get_timeline(document, "end_timeline", &meta->end_timeline, err) &&
           repo_get_position(document, "start_lsn", &meta->start_position, err) &&
           repo_get_position(document, "end_lsn", &meta->end_position, err) &&
           repo_get_time(document, "started_at", &meta->started_at, err) &&
           repo_get_time(document, "stopped_at", &meta->stopped_at, err) &&
           repo_get_time(document, "server_started_at", &meta->server_started_at, err) &&
           repo_get_time(document, "server_stopped_at", &meta->server_stopped_at, err) &&
           get_size(document, "size_bytes", &meta->size_bytes, err) &&
           get_size(document, "stored_bytes", &meta->stored_bytes, err) &&
           get_size(document, "file_count", &meta->file_count, err) &&
           get_size(document, "checksum_failures", &meta->checksum_failures, err);
}

static bool parse_notices(const json_t *document, struct backup_meta *meta, struct error *err)
{
    const json_t *list = NULL, *entry;
    size_t i;

    if (!get_list(document, "notices", &list, err))
        return false;
    json_array_foreach(list, i, entry)
    {
        if (!json_is_string(entry))
            return error_set(err, ERROR_INTEGRITY, "\"notices\" holds something else than texts");
        backup_meta_add_notice(meta, json_string_value(entry));
    }
    return true;
}

static bool parse_tablespaces(const json_t *document, struct backup_meta *meta, struct error *err)
{
    const json_t *list = NULL, *entry;
    size_t i;

    if (!get_list(document, "tablespaces", &list, err))
        return false;
    json_array_foreach(list, i, entry)
    {
        int64_t oid = 0;
        const char *path = json_text_or_null(entry, "path"), *hex = json_text_or_null(entry, "path_hex");
        if (!json_get_number(entry, "oid", 1, UINT32_MAX, &oid, err))
            return error_wrap(err, "\"tablespaces\"");
        char *decoded SCOPED(scoped_free) = path == NULL && hex != NULL ? repo_text_from_hex(hex) : NULL;
        if (path == NULL)
            path = decoded;
        if (text_is_empty(path))
            return error_set(err, ERROR_INTEGRITY, "tablespace %" PRId64 " has no path", oid);
        backup_meta_add_tablespace(meta, (uint32_t)oid, path);
    }
    return true;
}

/* A name within the backup's folder. */
static bool is_file_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strlen(name) < 256 && strchr(name, '/') == NULL;
}

static bool parse_files(const json_t *document, struct backup_meta *meta, struct error *err)
{
    const json_t *list = NULL, *entry;
    size_t i;

    if (!get_list(document, "files", &list, err))
        return false;
    json_array_foreach(list, i, entry)
    {
        const char *name = NULL, *sha256 = NULL;
        uint64_t size = 0;
        if (!json_get_text(entry, "name", &name, err) || !get_size(entry, "size", &size, err) ||
            !json_get_text(entry, "sha256", &sha256, err))
            return error_wrap(err, "\"files\"");
        if (!is_file_name(name) || !repo_is_hex(sha256, 64))
            return error_set(err, ERROR_INTEGRITY, "\"files\" holds a bad name or digest");
        backup_meta_add_file(meta, name, size, sha256);
    }
    return true;
}

/* What this version does not know is carried along. */
static json_t *keep_unknown(const json_t *document, const struct backup_meta *meta)
{
    json_t *known SCOPED(scoped_json) = backup_meta_to_json(meta);
    json_t *unknown SCOPED(scoped_json) = json_copy((json_t *)document);
    static const char *const optional[] = {"started_at", "stopped_at", "server_started_at", "server_stopped_at"};
    const char *key;
    json_t *value;

    json_object_foreach(known, key, value) json_object_del(unknown, key);
    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++)
        json_object_del(unknown, optional[i]);
    return json_object_size(unknown) > 0 ? TAKE(unknown) : NULL;
}

/* Takes "sha256" out of the document. Every byte counts, white space too: the text must be the canonical one. */
static bool check_digest(const char *text, size_t size, json_t *document, struct error *err)
{
    char stored[BACKUP_META_DIGEST_SIZE], digest[BACKUP_META_DIGEST_SIZE];
    char *canonical SCOPED(scoped_free) = backup_meta_canonical_text(document);

    if (!get_text(document, "sha256", stored, sizeof stored, err))
        return false;
    json_object_del(document, "sha256");
    backup_meta_digest(document, digest);
    size_t expected = strlen(canonical);
    if (strcmp(stored, digest) != 0 || size != expected + 1 || memcmp(text, canonical, expected) != 0 ||
        text[expected] != '\n')
        return error_set(err, ERROR_INTEGRITY, "its own SHA-256 does not match: bytes were altered");
    return true;
}

bool backup_meta_parse(const char *text, size_t size, struct backup_meta **ret_meta, struct error *err)
{
    struct backup_meta *meta SCOPED(scoped_backup_meta) = backup_meta_new();

    if (size > BACKUP_META_MOST_BYTES)
        return error_set(err, ERROR_INTEGRITY, "the metadata of a backup is too large: %zu bytes", size);
    json_t *document SCOPED(scoped_json) = json_parse_object(text, size, err);
    if (document == NULL)
        return error_wrap(err, "the metadata of a backup is damaged");
    /* A newer program may define the digest anew, so its format is looked at first. */
    if (!repo_check_format(document, BACKUP_META_FORMAT, "the metadata of a backup", err))
        return false;
    if (!check_digest(text, size, document, err))
        return error_wrap(err, "the metadata of a backup is damaged");
    if (!check_requirements(document, err))
        return false;
    if (!parse_identity(document, meta, err) || !parse_settings(document, meta, err) ||
        !parse_range(document, meta, err) || !parse_notices(document, meta, err) ||
        !parse_tablespaces(document, meta, err) || !parse_files(document, meta, err))
        return error_wrap(err, "the metadata of a backup is damaged");
    meta->unknown = keep_unknown(document, meta);
    *ret_meta = TAKE(meta);
    return true;
}
