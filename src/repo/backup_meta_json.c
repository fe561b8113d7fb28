#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#include "repo/backup_meta_internal.h"
#include "repo/repo_internal.h"

static void set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, repo_json_text(text));
}

static void set_boolean(json_t *object, const char *key, bool value)
{
    json_object_set_new(object, key, json_boolean(value));
}

static json_t *list_notices(const struct backup_meta *meta)
{
    json_t *list = json_array();

    for (size_t i = 0; i < meta->notice_count; i++)
        json_array_append_new(list, repo_json_text(meta->notices[i]));
    return list;
}

static json_t *list_tablespaces(const struct backup_meta *meta)
{
    json_t *list = json_array();

    for (size_t i = 0; i < meta->tablespace_count; i++) {
        const struct backup_tablespace *tablespace = &meta->tablespaces[i];
        json_t *entry = json_object();
        repo_set_number(entry, "oid", tablespace->oid);
        if (repo_is_plain_text(tablespace->path)) {
            set_text(entry, "path", tablespace->path);
        } else {
            char *hex SCOPED(scoped_free) = repo_hex_from_text(tablespace->path);
            set_text(entry, "path_hex", hex);
        }
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *list_files(const struct backup_meta *meta)
{
    json_t *list = json_array();

    for (size_t i = 0; i < meta->file_list_count; i++) {
        json_t *entry = json_object();
        set_text(entry, "name", meta->files[i].name);
        repo_set_number(entry, "size", meta->files[i].size);
        set_text(entry, "sha256", meta->files[i].sha256);
        json_array_append_new(list, entry);
    }
    return list;
}

static void set_server(json_t *object, const struct backup_meta *meta)
{
    set_text(object, "server", meta->server);
    set_text(object, "system_identifier", meta->system.text);
    repo_set_number(object, "server_version", (uint64_t)meta->server_version);
    set_text(object, "server_version_text", meta->server_version_text);
    set_boolean(object, "from_standby", meta->from_standby);
    set_boolean(object, "data_checksums", meta->has_data_checksums);
    set_text(object, "data_directory_mode", meta->data_directory_mode);
    repo_set_number(object, "wal_segment_size", meta->segment_size.bytes);
    set_text(object, "tls_version", meta->tls_version);
    set_text(object, "tls_cipher", meta->tls_cipher);
}

static void set_range(json_t *object, const struct backup_meta *meta)
{
    repo_set_number(object, "start_timeline", meta->start_timeline.value);
    repo_set_number(object, "end_timeline", meta->end_timeline.value);
    repo_set_position(object, "start_lsn", meta->start_position);
    repo_set_position(object, "end_lsn", meta->end_position);
    repo_set_time(object, "started_at", meta->started_at);
    repo_set_time(object, "stopped_at", meta->stopped_at);
    repo_set_time(object, "server_started_at", meta->server_started_at);
    repo_set_time(object, "server_stopped_at", meta->server_stopped_at);
}

json_t *backup_meta_to_json(const struct backup_meta *meta)
{
    json_t *object = meta->unknown != NULL ? json_deep_copy(meta->unknown) : json_object();

    repo_set_number(object, "format", BACKUP_META_FORMAT);
    set_text(object, "id", meta->id.text);
    set_text(object, "kind", "full");
    set_text(object, "state", backup_state_word(meta->state));
    set_text(object, "label", meta->label);
    set_text(object, "tool_version", meta->tool_version);
    set_text(object, "checksum_algorithm", meta->checksum_algorithm);
    set_boolean(object, "fast_checkpoint", meta->is_fast_checkpoint);
    set_server(object, meta);
    set_range(object, meta);
    repo_set_number(object, "size_bytes", meta->size_bytes);
    repo_set_number(object, "stored_bytes", meta->stored_bytes);
    repo_set_number(object, "file_count", meta->file_count);
    repo_set_number(object, "checksum_failures", meta->checksum_failures);
    json_object_set_new(object, "notices", list_notices(meta));
    json_object_set_new(object, "tablespaces", list_tablespaces(meta));
    json_object_set_new(object, "files", list_files(meta));
    json_object_set_new(object, "requires_features", json_array());
    json_object_set_new(object, "requires_backups", json_array());
    return object;
}

char *backup_meta_canonical_text(const json_t *document)
{
    char *text = json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS);

    if (text == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return text;
}

void backup_meta_digest(const json_t *document, char ret_hex[BACKUP_META_DIGEST_SIZE])
{
    char *text SCOPED(scoped_free) = backup_meta_canonical_text(document);
    uint8_t digest[EVP_MAX_MD_SIZE];

    if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1) {
        fputs("could not compute SHA-256\n", stderr);
        abort();
    }
    text_from_hex_bytes(digest, (BACKUP_META_DIGEST_SIZE - 1) / 2, ret_hex);
}

char *backup_meta_to_text(const struct backup_meta *meta)
{
    char digest[BACKUP_META_DIGEST_SIZE];
    json_t *document SCOPED(scoped_json) = backup_meta_to_json(meta);

    backup_meta_digest(document, digest);
    set_text(document, "sha256", digest);
    char *text SCOPED(scoped_free) = backup_meta_canonical_text(document);
    return memory_text("%s\n", text);
}
