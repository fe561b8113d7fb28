#include "pgcoffer/repo/backup_meta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#include "repo/backup_meta_internal.h"
#include "repo/repo_internal.h"

#define MOST_NOTICES 100

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

struct backup_meta *backup_meta_new(void)
{
    return memory_new(sizeof(struct backup_meta));
}

void backup_meta_free(struct backup_meta *meta)
{
    if (meta == NULL)
        return;
    for (size_t i = 0; i < meta->notice_count; i++)
        free(meta->notices[i]);
    for (size_t i = 0; i < meta->tablespace_count; i++)
        free(meta->tablespaces[i].path);
    for (size_t i = 0; i < meta->file_list_count; i++)
        free(meta->files[i].name);
    free(meta->notices);
    free(meta->tablespaces);
    free(meta->files);
    json_decref(meta->unknown);
    free(meta);
}

void backup_meta_add_notice(struct backup_meta *meta, const char *text)
{
    if (meta->notice_count == MOST_NOTICES)
        return;
    meta->notices = repo_grow(meta->notices, meta->notice_count, sizeof *meta->notices);
    char *notice = memory_copy_text(text);
    text_make_printable(notice);
    meta->notices[meta->notice_count++] = notice;
}

void backup_meta_add_file(struct backup_meta *meta, const char *name, uint64_t size, const char *sha256)
{
    meta->files = repo_grow(meta->files, meta->file_list_count, sizeof *meta->files);
    struct backup_file *file = &meta->files[meta->file_list_count++];
    *file = (struct backup_file){.name = memory_copy_text(name), .size = size};
    snprintf(file->sha256, sizeof file->sha256, "%s", sha256);
}

void backup_meta_add_tablespace(struct backup_meta *meta, uint32_t oid, const char *path)
{
    meta->tablespaces = repo_grow(meta->tablespaces, meta->tablespace_count, sizeof *meta->tablespaces);
    meta->tablespaces[meta->tablespace_count++] = (struct backup_tablespace){oid, memory_copy_text(path)};
}

static const char *const state_words[] = {
    [BACKUP_COMPLETE] = "complete", [BACKUP_DAMAGED] = "damaged", [BACKUP_COPIED] = "copied"};

const char *backup_state_word(enum backup_state state)
{
    return state_words[state];
}

bool backup_state_from_word(const char *word, enum backup_state *ret_state)
{
    for (size_t i = 0; i < sizeof state_words / sizeof state_words[0]; i++)
        if (strcmp(word, state_words[i]) == 0) {
            *ret_state = (enum backup_state)i;
            return true;
        }
    return false;
}

/* One of the two documents; errnum is ENOENT when there is none of that name. */
static bool read_document(const char *path, bool is_copied, const struct system_id *system, const struct backup_id *id,
                          struct backup_meta **ret_meta, struct error *err)
{
    struct buffer text SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(BACKUP_META_MOST_BYTES);
    struct backup_meta *meta SCOPED(scoped_backup_meta) = NULL;

    if (!file_read_whole(path, &text, err)) {
        if (err->kind != ERROR_STORAGE)
            err->kind = ERROR_INTEGRITY;
        return false;
    }
    if (!backup_meta_parse((const char *)text.bytes, text.used, &meta, err))
        return error_wrap(err, "\"%s\"", path);
    if (strcmp(meta->id.text, id->text) != 0 || strcmp(meta->system.text, system->text) != 0)
        return error_set(err, ERROR_INTEGRITY, "\"%s\" belongs to the backup %s of the system %s", path, meta->id.text,
                         meta->system.text);
    if (is_copied != (meta->state == BACKUP_COPIED))
        return error_set(err, ERROR_INTEGRITY, "\"%s\" says that the backup is %s", path,
                         backup_state_word(meta->state));
    *ret_meta = TAKE(meta);
    return true;
}

bool backup_meta_read(const struct repo *repo, const char *server, const struct system_id *system,
                      const struct backup_id *id, struct backup_meta **ret_meta, struct error *err)
{
    static const char *const names[] = {"backup.json", "copied.json", "backup.json"}; /* it may complete in between */
    struct error problem;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path SCOPED(scoped_free) = repo_backup_path(repo, server, system, id, names[i]);
        if (read_document(path, i == 1, system, id, ret_meta, &problem))
            return true;
        if (problem.errnum != ENOENT)
            break;
    }
    if (problem.errnum == ENOENT)
        problem.kind = ERROR_INTEGRITY;
    *err = problem;
    return false;
}

bool backup_meta_write(const struct repo *repo, const struct backup_meta *meta, struct error *err)
{
    char *copied SCOPED(scoped_free) = repo_backup_path(repo, meta->server, &meta->system, &meta->id, "copied.json");
    char *complete SCOPED(scoped_free) = repo_backup_path(repo, meta->server, &meta->system, &meta->id, "backup.json");
    char *text SCOPED(scoped_free) = backup_meta_to_text(meta);

    if (strlen(text) > BACKUP_META_MOST_BYTES)
        return error_set(err, ERROR_FAILED, "the metadata of backup %s is too large", meta->id.text);
    if (meta->state == BACKUP_COPIED)
        return repo_put_file(repo, copied, text, strlen(text), err);
    if (!repo_put_file(repo, complete, text, strlen(text), err))
        return false;
    if (unlink(copied) < 0)
        return errno == ENOENT || error_set_errno(err, "could not remove \"%s\"", copied);
    return file_sync_parent(copied, err);
}
