#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/backup/copy_state_internal.h"
#include "jobs/backup/label_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/tar_copy.h"

bool copy_read(struct copy *copy, const void **ret_bytes, size_t *ret_size, struct error *err)
{
    if (!base_backup_read(copy->source, ret_bytes, ret_size, err))
        return false;
    copy->bytes_read += *ret_size;
    return copy->options->advance(copy->options->context, copy->bytes_read, copy->item, err);
}

struct stage *copy_store_new(const struct copy *copy)
{
    struct stage *store = stage_store_new(copy->options->folder, copy->options->repo->file_mode);

    return reserve_stage_new(store, &copy->options->reserve);
}

bool copy_keep_file(struct copy *copy, const char *name, const struct digest_result *digest, struct error *err)
{
    const struct repo *repo = copy->options->repo;
    char *path SCOPED(scoped_free) = memory_text("%s/%s", copy->options->folder, name);
    int fd SCOPED(scoped_close) = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return error_set_errno(err, "could not open \"%s\"", path);
    if (!repo_adopt(repo, fd, repo->file_mode, path, err))
        return false;
    backup_meta_add_file(copy->meta, name, digest->size, digest->sha256);
    copy->meta->stored_bytes += digest->size;
    return true;
}

static bool read_piece(void *context, const void **ret_bytes, size_t *ret_size, struct error *err)
{
    return copy_read(context, ret_bytes, ret_size, err);
}

static bool take_frame(void *context, const struct frame_info *frame, struct error *err)
{
    return copy_index_frame(context, frame, err);
}

static bool take_member(void *context, const struct tar_member *member, struct error *err)
{
    struct copy *copy = context;
    char path[4096];

    file_table_manifest_path(copy->tablespace_oid, member->path, path, sizeof path);
    snprintf(copy->item, sizeof copy->item, "%s", path);
    if (!copy_index_member(copy, member->path, member->is_directory, member->mode, member->size, member->data_offset,
                           member->checksum, err))
        return false;
    if (member->is_directory)
        return true;
    copy->meta->file_count++;
    return file_table_add(copy->files, path, member->size, member->checksum, err);
}

static bool take_label(void *context, const char *path, const void *bytes, size_t size, struct error *err)
{
    struct copy *copy = context;

    if (!buffer_append(&copy->outcome->label, bytes, size, err))
        return error_wrap(err, "could not keep \"%s\"", path);
    return true;
}

static uint32_t mode_mask(const struct backup_meta *meta)
{
    return strcmp(meta->data_directory_mode, "0750") == 0 ? 0750 : 0700;
}

/* The tar has ended for libarchive; the server must be at the end of the archive too. */
static bool expect_end_of_archive(struct copy *copy, struct error *err)
{
    const void *bytes = NULL;
    size_t size = 0;

    if (!copy_read(copy, &bytes, &size, err))
        return false;
    return size == 0 || error_set(err, ERROR_INTEGRITY, "bytes follow the end of the server's tar");
}

static bool copy_members(struct copy *copy, struct stage *frames, struct error *err)
{
    static const char *const tap_paths[] = {"backup_label", NULL};
    struct tar_copy_options options = {
        .read = read_piece,
        .member = take_member,
        .data = copy->tablespace_oid == 0 ? take_label : NULL,
        .tap_paths = copy->tablespace_oid == 0 ? tap_paths : NULL,
        .context = copy,
        .algorithm = copy->options->algorithm,
        .mode_mask = mode_mask(copy->meta),
    };
    uint64_t plain_bytes = 0;

    if (!tar_copy(&options, frames, &plain_bytes, err) || !expect_end_of_archive(copy, err))
        return false;
    copy->meta->size_bytes += plain_bytes;
    return true;
}

static bool copy_archive(struct copy *copy, const struct base_backup_tablespace *tablespace, struct error *err)
{
    struct digest_result digest = {0};
    struct frames_options options = {
        .level = copy->options->level,
        .workers = copy->options->workers,
        .on_frame = take_frame,
        .context = copy,
    };

    copy->tablespace_oid = tablespace->oid;
    if (tablespace->oid == 0)
        snprintf(copy->archive, sizeof copy->archive, "base");
    else
        snprintf(copy->archive, sizeof copy->archive, "%" PRIu32, tablespace->oid);
    char *name SCOPED(scoped_free) = memory_text("%s.tar", copy->archive);
    char *stored_name SCOPED(scoped_free) = memory_text("%s.zst", name);
    struct stage *frames SCOPED(scoped_stage) =
        stage_frames_new(stage_digest_new(copy_store_new(copy), &digest), &options);

    return stage_open(frames, name, err) && copy_members(copy, frames, err) && stage_finish(frames, err) &&
           copy_keep_file(copy, stored_name, &digest, err);
}

static bool copy_items(struct copy *copy, struct error *err)
{
    bool has_base = false;
    bool has_manifest = false;

    for (;;) {
        enum base_backup_item item;
        const struct base_backup_tablespace *tablespace = NULL;
        if (!base_backup_next(copy->source, &item, &tablespace, err))
            return false;
        switch (item) {
        case BASE_BACKUP_ARCHIVE:
            if (has_base)
                return error_set(err, ERROR_INTEGRITY, "the server sent an archive after the data directory's");
            if (!copy_archive(copy, tablespace, err))
                return false;
            has_base = tablespace->oid == 0;
            break;
        case BASE_BACKUP_MANIFEST:
            /* All archives are there: the index is complete, and the manifest can be held against it. */
            if (has_manifest || !has_base)
                return error_set(err, ERROR_INTEGRITY, "the server sent its manifest out of turn");
            if (!copy_index_finish(copy, err) || !copy_manifest(copy, err))
                return false;
            has_manifest = true;
            break;
        case BASE_BACKUP_FINISHED:
            return has_manifest || error_set(err, ERROR_INTEGRITY, "the server sent no manifest");
        }
    }
}

bool copy_all(struct base_backup *source, const struct copy_options *options, struct backup_meta *meta,
              struct copy_outcome *ret_outcome, struct error *err)
{
    struct file_table *files SCOPED(scoped_file_table) = file_table_new();
    struct copy copy = {.source = source, .options = options, .meta = meta, .outcome = ret_outcome, .files = files};

    *ret_outcome = (struct copy_outcome){.label = BUFFER_WITH_LIMIT(LABEL_MOST_BYTES)};
    bool ok = copy_index_begin(&copy, err) && copy_items(&copy, err);
    stage_free(copy.index);
    buffer_done(&copy.lines);
    return ok;
}
