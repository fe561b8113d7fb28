#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zstd.h>

#include "jobs/file_table_internal.h"
#include "jobs/verify/verify_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/pg/manifest.h"

#define PIECE_SIZE 131072

struct manifest_check {
    struct checked_backup *backup;
    const struct backup_file *file;
    struct file_table *members;
};

static bool tell(struct manifest_check *check, const struct error *failure, struct error *err)
{
    return verify_read_failure(check->backup->verify, check->backup->meta->id.text, check->file->name, VERIFY_NO_FRAME,
                               NULL, failure, err);
}

static bool take_file(void *context, const struct manifest_file *file, struct error *err)
{
    struct manifest_check *check = context;
    struct error failure;

    if (strcasecmp(file->algorithm[0] != '\0' ? file->algorithm : "NONE", check->backup->meta->checksum_algorithm) != 0)
        return verify_problem(check->backup->verify, check->backup->meta->id.text, check->file->name, VERIFY_NO_FRAME,
                              NULL, err, "file \"%s\" has a %s checksum, the backup has %s", file->path,
                              file->algorithm, check->backup->meta->checksum_algorithm);
    return file_table_match(check->members, file->path, file->size, file->checksum, &failure) ||
           tell(check, &failure, err);
}

static void manifest_path(const struct index_member *member, char *ret_path, size_t size)
{
    uint64_t oid = 0;

    if (!text_parse_unsigned(member->archive, UINT32_MAX, &oid))
        oid = 0; /* "base" */
    file_table_manifest_path((uint32_t)oid, member->path, ret_path, size);
}

static bool collect_members(struct manifest_check *check, struct error *err)
{
    const struct index *index = &check->backup->index;
    char path[4096];
    struct error failure;

    for (size_t i = 0; i < index->member_count; i++) {
        const struct index_member *member = &index->members[i];
        if (member->type != MEMBER_FILE)
            continue;
        manifest_path(member, path, sizeof path);
        if (!file_table_add(check->members, path, member->size, member->checksum, &failure) &&
            !tell(check, &failure, err))
            return false;
    }
    return true;
}

static bool tell_unmatched(struct manifest_check *check, struct error *err)
{
    const struct index *index = &check->backup->index;
    char path[4096];

    if (file_table_unmatched(check->members) == 0)
        return true;
    for (size_t i = 0; i < index->member_count; i++) {
        if (index->members[i].type != MEMBER_FILE)
            continue;
        manifest_path(&index->members[i], path, sizeof path);
        if (file_table_is_unmatched(check->members, path) &&
            !verify_problem(check->backup->verify, check->backup->meta->id.text, check->file->name, VERIFY_NO_FRAME,
                            NULL, err, "file \"%s\" of the backup is not in the manifest", path))
            return false;
    }
    return true;
}

static void scoped_decompressor(ZSTD_DCtx **decompressor)
{
    ZSTD_freeDCtx(*decompressor);
}

static void scoped_reader(struct manifest_reader **reader)
{
    manifest_reader_free(*reader);
}

/* One piece of the stored file through zstd into the reader. */
static bool feed_piece(ZSTD_DCtx *decompressor, ZSTD_inBuffer *input, uint8_t *plain, struct manifest_reader *reader,
                       size_t *ret_hint, struct error *err)
{
    while (input->pos < input->size) {
        ZSTD_outBuffer output = {plain, PIECE_SIZE, 0};
        *ret_hint = ZSTD_decompressStream(decompressor, &output, input);
        if (ZSTD_isError(*ret_hint))
            return error_set(err, ERROR_INTEGRITY, "could not decompress it: %s", ZSTD_getErrorName(*ret_hint));
        if (!manifest_reader_feed(reader, plain, output.pos, err))
            return false;
    }
    return true;
}

static bool read_all(struct manifest_check *check, struct manifest_reader *reader, uint64_t *ret_system,
                     struct error *err)
{
    char *path SCOPED(scoped_free) = memory_text("%s/%s", check->backup->folder, check->file->name);
    int fd SCOPED(scoped_close) = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ZSTD_DCtx *decompressor SCOPED(scoped_decompressor) = ZSTD_createDCtx();
    uint8_t *stored SCOPED(scoped_free) = memory_new(PIECE_SIZE);
    uint8_t *plain SCOPED(scoped_free) = memory_new(PIECE_SIZE);
    size_t hint = 1;

    if (fd < 0)
        return error_set_errno(err, "could not open \"%s\"", path);
    if (decompressor == NULL)
        return error_set(err, ERROR_FAILED, "could not start zstd");
    for (uint64_t at = 0; at < check->file->size;) {
        uint64_t left = check->file->size - at;
        size_t size = left < PIECE_SIZE ? (size_t)left : PIECE_SIZE;
        ZSTD_inBuffer input = {stored, size, 0};
        if (!file_read_exactly_at(fd, stored, size, at, path, err) ||
            !feed_piece(decompressor, &input, plain, reader, &hint, err))
            return false;
        at += size;
    }
    if (hint != 0)
        return error_set(err, ERROR_INTEGRITY, "could not decompress it: it ends too early");
    return manifest_reader_finish(reader, ret_system, err);
}

bool verify_manifest(struct checked_backup *backup, const struct backup_file *file, struct error *err)
{
    struct file_table *members SCOPED(scoped_file_table) = file_table_new();
    struct manifest_check check = {.backup = backup, .file = file, .members = members};
    const struct manifest_handler handler = {.file = take_file, .context = &check};
    struct manifest_reader *reader SCOPED(scoped_reader) = manifest_reader_new(&handler);
    uint64_t system = 0;
    struct error failure;

    if (!collect_members(&check, err))
        return false;
    if (!read_all(&check, reader, &system, &failure))
        return tell(&check, &failure, err);
    if (system != 0 && system != system_id_value(&backup->meta->system) &&
        !verify_problem(backup->verify, backup->meta->id.text, file->name, VERIFY_NO_FRAME, NULL, err,
                        "it is of the system %llu", (unsigned long long)system))
        return false;
    return tell_unmatched(&check, err);
}
