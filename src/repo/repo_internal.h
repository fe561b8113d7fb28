#ifndef PGCOFFER_SRC_REPO_REPO_INTERNAL_H
#define PGCOFFER_SRC_REPO_REPO_INTERNAL_H

#include <dirent.h>

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/json.h"
#include "pgcoffer/repo/layout.h"
#include "pgcoffer/wal/position.h"

/* What the files of this layer share: folders, small JSON documents and directory listings. */

/* One folder; its parent must exist. *ret_made (may be NULL) tells whether it is new. */
bool repo_make_folder(const struct repo *repo, const char *path, bool *ret_made, struct error *err) NODISCARD;

/* "\"format\" is 2": a document of a newer program is refused and says so. */
bool repo_check_format(const json_t *document, int64_t format, const char *what, struct error *err) NODISCARD;
/* A small document of format 1. errnum is ENOENT when the file does not exist; damage is INTEGRITY. */
bool repo_read_document(const char *path, json_t **ret_document, struct error *err) NODISCARD;
bool repo_write_document(const struct repo *repo, const char *path, const json_t *document,
                         struct error *err) NODISCARD;

/* Members of a document. An unknown time (0) has no key. */
void repo_set_number(json_t *object, const char *key, uint64_t number);
void repo_set_position(json_t *object, const char *key, struct wal_position position);
void repo_set_time(json_t *object, const char *key, struct timestamp time);
/* The same, read: INTEGRITY with the key's name. A position must be there; a time without a key is 0. */
bool repo_get_position(const json_t *object, const char *key, struct wal_position *ret_position,
                       struct error *err) NODISCARD;
bool repo_get_time(const json_t *object, const char *key, struct timestamp *ret_time, struct error *err) NODISCARD;
/*
 * The key "checksum" is the CRC-32C of the line without it: for a document in which nobody would see that something is
 * missing or another number, so that a flipped bit makes it useless. To be set last.
 */
void repo_set_checksum(json_t *document);
/* INTEGRITY: the document that was read from these bytes is not what was written. */
bool repo_check_checksum(const json_t *document, const struct buffer *bytes, struct error *err) NODISCARD;

/*
 * server.json with this system identifier, to be written. What else it held is kept; a damaged one is begun anew, for
 * all it says is learnt from the server.
 */
bool repo_renew_server(const struct repo *repo, const char *server, const struct system_id *system,
                       json_t **ret_document, struct error *err) NODISCARD;

/* For texts of a peer, which may be in any encoding: bytes that are not UTF-8 become '?'. Never NULL. */
json_t *repo_json_text(const char *text);
/* Valid UTF-8 without control characters: the same bytes may stand in JSON. */
bool repo_is_plain_text(const char *text);
char *repo_hex_from_text(const char *text);
/* NULL unless `hex` is lower case hex of a text without a zero byte. */
char *repo_text_from_hex(const char *hex);
bool repo_is_hex(const char *text, size_t size);

/* The names in a directory but "." and "..", sorted. A missing directory has none. */
struct name_list {
    char **names;
    size_t count;
};
bool name_list_read(const char *directory, struct name_list *ret_names, struct error *err) NODISCARD;
void name_list_done(struct name_list *names);

/* realloc of an array that grows by one, doubling; never NULL. */
void *repo_grow(void *array, size_t count, size_t element_size);

#endif
