#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/backup_notes.h"

#include "repo/repo_internal.h"

#define KEY_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"

void backup_annotations_done(struct backup_annotations *annotations)
{
    for (size_t i = 0; i < annotations->count; i++) {
        free(annotations->entries[i].key);
        free(annotations->entries[i].value);
    }
    annotations->count = 0;
}

static bool check(const char *key, const char *value, struct error *err)
{
    size_t size = strlen(key);

    if (size == 0 || size > BACKUP_ANNOTATION_KEY_MOST || strspn(key, KEY_LETTERS) != size) {
        error_set(err, ERROR_USAGE, "the key of an annotation is not one to %d of A-Z a-z 0-9 _ . -",
                  BACKUP_ANNOTATION_KEY_MOST);
        return error_hint(err, "Write it as KEY=VALUE, such as ticket=OPS-1234.");
    }
    if (strlen(value) > BACKUP_ANNOTATION_VALUE_MOST)
        return error_set(err, ERROR_USAGE, "the annotation \"%s\" is longer than %d bytes", key,
                         BACKUP_ANNOTATION_VALUE_MOST);
    if (!repo_is_plain_text(value))
        return error_set(err, ERROR_USAGE, "the annotation \"%s\" has control characters or is not UTF-8", key);
    return true;
}

/* The place of the key, or where it belongs. */
static size_t find(const struct backup_annotations *annotations, const char *key, bool *ret_is_there)
{
    size_t at = 0;

    while (at < annotations->count && strcmp(annotations->entries[at].key, key) < 0)
        at++;
    *ret_is_there = at < annotations->count && strcmp(annotations->entries[at].key, key) == 0;
    return at;
}

/* As JSON, where quotes and backslashes take two bytes: `list` sends them in one line with the backup. */
static size_t size_of(const char *key, const char *value)
{
    size_t bytes = strlen(key) + strlen(value);

    for (; *value != '\0'; value++)
        bytes += *value == '"' || *value == '\\';
    return bytes;
}

static size_t count_bytes(const struct backup_annotations *annotations)
{
    size_t bytes = 0;

    for (size_t i = 0; i < annotations->count; i++)
        bytes += size_of(annotations->entries[i].key, annotations->entries[i].value);
    return bytes;
}

static void take_out(struct backup_annotations *annotations, size_t at)
{
    struct backup_annotation *entry = &annotations->entries[at];

    free(entry->key);
    free(entry->value);
    memmove(entry, entry + 1, (annotations->count - at - 1) * sizeof *entry);
    annotations->count--;
}

static void put_in(struct backup_annotations *annotations, size_t at, const char *key, const char *value)
{
    struct backup_annotation *entry = &annotations->entries[at];

    memmove(entry + 1, entry, (annotations->count - at) * sizeof *entry);
    *entry = (struct backup_annotation){memory_copy_text(key), memory_copy_text(value)};
    annotations->count++;
}

bool backup_annotations_set(struct backup_annotations *annotations, const char *key, const char *value,
                            struct error *err)
{
    bool is_there = false;

    if (!check(key, value, err))
        return false;
    size_t at = find(annotations, key, &is_there);
    size_t former = is_there ? size_of(key, annotations->entries[at].value) : 0;
    if (value[0] != '\0' && !is_there && annotations->count == BACKUP_ANNOTATIONS_MOST)
        return error_set(err, ERROR_USAGE, "a backup has at most %d annotations", BACKUP_ANNOTATIONS_MOST);
    if (value[0] != '\0' && count_bytes(annotations) - former + size_of(key, value) > BACKUP_ANNOTATIONS_MOST_BYTES)
        return error_set(err, ERROR_USAGE, "the annotations of a backup have at most %d bytes",
                         BACKUP_ANNOTATIONS_MOST_BYTES);
    if (is_there)
        take_out(annotations, at);
    if (value[0] != '\0')
        put_in(annotations, at, key, value);
    return true;
}
