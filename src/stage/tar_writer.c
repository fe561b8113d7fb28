#include "pgcoffer/stage/tar_writer.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define TAR_OWNER  "postgres"
#define BLOCK_SIZE 65536

struct tar_writer {
    struct archive *archive;
    struct archive_entry *entry; /* used again for each member */
    int fd;
    char *name;
    struct timestamp mtime;
    uint64_t left;    /* bytes of the open member */
    bool has_failed;  /* `failure` tells why, and nothing is written any more */
    bool is_finished; /* or is not to be: nothing is written any more */
    struct error failure;
};

/*
 * libarchive frees a writer's memory only if none of its calls failed: a failure is kept here, and told by the call
 * that caused it.
 */
static la_ssize_t write_piece(struct archive *archive, void *context, const void *bytes, size_t size)
{
    struct tar_writer *writer = context;

    (void)archive;
    if (!writer->has_failed && !writer->is_finished &&
        !file_write_all(writer->fd, bytes, size, writer->name, &writer->failure))
        writer->has_failed = true;
    return (la_ssize_t)size;
}

static bool check(struct tar_writer *writer, bool is_ok, struct error *err)
{
    if (writer->has_failed) {
        *err = writer->failure;
        return false;
    }
    if (is_ok)
        return true;
    const char *reason = archive_error_string(writer->archive);
    error_set(err, ERROR_FAILED, "could not write the tar \"%s\": %s", writer->name,
              reason != NULL ? reason : "unknown reason");
    text_make_printable(err->message);
    return false;
}

static bool add_compression(const struct tar_writer *writer, int level)
{
    char *text SCOPED(scoped_free) = memory_text("%d", level);

    return archive_write_add_filter_zstd(writer->archive) == ARCHIVE_OK &&
           archive_write_set_filter_option(writer->archive, "zstd", "compression-level", text) == ARCHIVE_OK;
}

bool tar_writer_new(const struct tar_writer_options *options, struct tar_writer **ret_writer, struct error *err)
{
    struct tar_writer *writer = memory_new(sizeof *writer);

    writer->archive = archive_write_new();
    writer->entry = archive_entry_new();
    writer->fd = options->fd;
    writer->name = memory_copy_text(options->name);
    writer->mtime = options->mtime;
    if (writer->archive == NULL || writer->entry == NULL)
        abort(); /* no memory */
    /* A last block without padding: what follows the end mark would be zeros of no use. */
    bool is_open = archive_write_set_format_gnutar(writer->archive) == ARCHIVE_OK &&
                   (!options->is_compressed || add_compression(writer, options->level)) &&
                   archive_write_set_bytes_per_block(writer->archive, BLOCK_SIZE) == ARCHIVE_OK &&
                   archive_write_set_bytes_in_last_block(writer->archive, 1) == ARCHIVE_OK &&
                   archive_write_open(writer->archive, writer, NULL, write_piece, NULL) == ARCHIVE_OK;
    if (!check(writer, is_open, err)) {
        tar_writer_free(writer);
        return false;
    }
    *ret_writer = writer;
    return true;
}

static bool add_member(struct tar_writer *writer, const char *path, mode_t type, mode_t mode, uint64_t size,
                       struct error *err)
{
    struct archive_entry *entry = writer->entry;

    archive_entry_clear(entry);
    archive_entry_copy_pathname(entry, path);
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, mode);
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_mtime(entry, writer->mtime.microseconds / 1000000, 0);
    archive_entry_set_uname(entry, TAR_OWNER);
    archive_entry_set_gname(entry, TAR_OWNER);
    writer->left = size;
    return check(writer, archive_write_header(writer->archive, entry) == ARCHIVE_OK, err);
}

bool tar_writer_folder(struct tar_writer *writer, const char *path, mode_t mode, struct error *err)
{
    return add_member(writer, path, AE_IFDIR, mode, 0, err);
}

bool tar_writer_file(struct tar_writer *writer, const char *path, mode_t mode, uint64_t size, struct error *err)
{
    return add_member(writer, path, AE_IFREG, mode, size, err);
}

bool tar_writer_data(struct tar_writer *writer, const void *bytes, size_t size, struct error *err)
{
    if (size > writer->left)
        return error_set(err, ERROR_FAILED, "a member of the tar is longer than it was announced");
    writer->left -= size;
    return check(writer, archive_write_data(writer->archive, bytes, size) == (la_ssize_t)size, err);
}

bool tar_writer_finish(struct tar_writer *writer, struct error *err)
{
    if (writer->left > 0) /* libarchive would fill it up with zeros */
        return error_set(err, ERROR_FAILED, "a member of the tar is shorter than it was announced");
    bool is_closed = check(writer, archive_write_close(writer->archive) == ARCHIVE_OK, err);
    writer->is_finished = true;
    return is_closed;
}

void tar_writer_free(struct tar_writer *writer)
{
    if (writer == NULL)
        return;
    writer->is_finished = true;
    archive_write_free(writer->archive);
    archive_entry_free(writer->entry);
    free(writer->name);
    free(writer);
}
