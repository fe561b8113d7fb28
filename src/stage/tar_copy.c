#include "pgcoffer/stage/tar_copy.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>

#include "pgcoffer/base/text.h"
#include "stage/name_set_internal.h"
#include "stage/tar_path_internal.h"

#define TAR_BLOCK_SIZE  512
#define TAR_END_SIZE    1024 /* two blocks of zeros */
#define TAR_OWNER       "postgres"
#define ANY_EXECUTE_BIT 0111u

struct tar_copy {
    const struct tar_copy_options *options;
    struct stage *frames;
    struct archive *reader;
    struct archive *writer;
    struct archive_entry *target; /* used again for each member */
    struct checksum *checksum;
    struct name_set *names;
    uint64_t bytes_read;
    uint64_t bytes_written;
    bool is_source_at_end;
    bool has_failed;   /* a callback failed and filled *err: nothing may overwrite that, nor be written any more */
    bool is_abandoned; /* the writer is being freed before its end */
    struct error *err;
};

static la_ssize_t read_piece(struct archive *reader, void *context, const void **ret_bytes)
{
    struct tar_copy *copy = context;
    size_t size = 0;

    if (copy->is_source_at_end)
        return 0;
    if (!copy->options->read(copy->options->context, ret_bytes, &size, copy->err)) {
        copy->has_failed = true;
        archive_set_error(reader, EIO, "the source failed");
        return ARCHIVE_FATAL;
    }
    copy->is_source_at_end = size == 0;
    copy->bytes_read += size;
    return (la_ssize_t)size;
}

/*
 * libarchive frees a writer's memory only if none of its calls failed. So a failure is kept here, for has_written() to
 * find. Only when the writer is freed half way must it be stopped: it would pad the member to its announced size.
 */
static la_ssize_t write_piece(struct archive *writer, void *context, const void *bytes, size_t size)
{
    struct tar_copy *copy = context;

    if (copy->is_abandoned) {
        archive_set_error(writer, EIO, "abandoned");
        return -1;
    }
    if (!copy->has_failed && stage_write(copy->frames, bytes, size, copy->err))
        copy->bytes_written += size;
    else
        copy->has_failed = true;
    return (la_ssize_t)size;
}

/* What the reader complains of is the server's doing; its warnings count as well. */
static bool fail_reading(struct tar_copy *copy)
{
    if (copy->has_failed)
        return false;
    const char *reason = archive_error_string(copy->reader);
    error_set(copy->err, ERROR_INTEGRITY, "could not read the server's tar: %s", reason ? reason : "unknown reason");
    text_make_printable(copy->err->message);
    return false;
}

/* Whether a call to the writer did all it should. */
static bool has_written(struct tar_copy *copy, bool is_ok)
{
    if (copy->has_failed)
        return false;
    if (is_ok)
        return true;
    const char *reason = archive_error_string(copy->writer);
    error_set(copy->err, ERROR_FAILED, "could not write the archive: %s", reason ? reason : "unknown reason");
    text_make_printable(copy->err->message);
    return false;
}

static bool refuse(struct tar_copy *copy, const char *raw_path, const char *reason)
{
    char printable[TAR_PATH_PRINTABLE_SIZE];

    tar_path_printable(raw_path, printable);
    return error_set(copy->err, ERROR_INTEGRITY, "could not accept \"%s\" from the server's tar: %s", printable,
                     reason);
}

static bool start(struct tar_copy *copy)
{
    copy->reader = archive_read_new();
    copy->writer = archive_write_new();
    copy->target = archive_entry_new();
    if (copy->reader == NULL || copy->writer == NULL || copy->target == NULL)
        return error_set(copy->err, ERROR_FAILED, "could not start libarchive");
    copy->checksum = checksum_new(copy->options->algorithm);
    copy->names = name_set_new();
    /*
     * Without a charset option names are raw bytes on both sides, whatever the locale. What follows an end mark is
     * read as members too and so under the same rules: nothing of the server's bytes stays unlooked at.
     */
    if (archive_read_support_format_tar(copy->reader) != ARCHIVE_OK ||
        archive_read_set_format_option(copy->reader, "tar", "read_concatenated_archives", "1") != ARCHIVE_OK ||
        archive_read_open(copy->reader, copy, NULL, read_piece, NULL) != ARCHIVE_OK)
        return fail_reading(copy);
    /* Without blocks of its own the writer hands over each header and piece at once, so a cut lies where it should. */
    return has_written(copy, archive_write_set_format_gnutar(copy->writer) == ARCHIVE_OK &&
                                 archive_write_set_bytes_per_block(copy->writer, 0) == ARCHIVE_OK &&
                                 archive_write_open(copy->writer, copy, NULL, write_piece, NULL) == ARCHIVE_OK);
}

static void tar_copy_done(struct tar_copy *copy)
{
    copy->is_abandoned = true;
    archive_write_free(copy->writer);
    archive_read_free(copy->reader);
    archive_entry_free(copy->target);
    checksum_free(copy->checksum);
    name_set_free(copy->names);
}

/* Fills *ret_member, with its path in `path`, from a member that may pass. */
static bool accept_member(struct tar_copy *copy, struct archive_entry *source, char path[TAR_PATH_SIZE],
                          struct tar_member *ret_member)
{
    const char *raw = archive_entry_pathname(source);
    mode_t type = archive_entry_filetype(source);
    bool is_new;

    if (raw == NULL)
        return refuse(copy, "", "it has no name");
    if (!tar_path_normalise(raw, path))
        return refuse(copy, raw, "unsafe name");
    if (archive_entry_hardlink(source) != NULL)
        return refuse(copy, raw, "it is a hard link");
    if (type == AE_IFLNK)
        return refuse(copy, raw, "it is a symbolic link");
    if (type != AE_IFREG && type != AE_IFDIR)
        return refuse(copy, raw, "it is neither a file nor a directory");
    if (archive_entry_sparse_count(source) > 0)
        return refuse(copy, raw, "it is a sparse file");
    if (!archive_entry_size_is_set(source) || archive_entry_size(source) < 0)
        return refuse(copy, raw, "its size is unknown");
    if (type == AE_IFDIR && archive_entry_size(source) > 0)
        return refuse(copy, raw, "it is a directory with data");
    if (!name_set_add(copy->names, path, &is_new, copy->err))
        return false;
    if (!is_new)
        return refuse(copy, raw, "its name came before");

    *ret_member = (struct tar_member){
        .path = path,
        .is_directory = type == AE_IFDIR,
        .mode = archive_entry_perm(source) & copy->options->mode_mask & (type == AE_IFDIR ? ~0u : ~ANY_EXECUTE_BIT),
        .size = (uint64_t)archive_entry_size(source),
    };
    return true;
}

/* Nothing of the source's host passes but mode and time. */
static bool write_header(struct tar_copy *copy, struct archive_entry *source, struct tar_member *member)
{
    struct archive_entry *target = archive_entry_clear(copy->target);

    archive_entry_copy_pathname(target, member->path);
    archive_entry_set_filetype(target, member->is_directory ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(target, member->mode);
    archive_entry_set_size(target, (la_int64_t)member->size);
    archive_entry_set_mtime(target, archive_entry_mtime(source), 0);
    archive_entry_set_uid(target, 0);
    archive_entry_set_gid(target, 0);
    archive_entry_set_uname(target, TAR_OWNER);
    archive_entry_set_gname(target, TAR_OWNER);
    if (!has_written(copy, archive_write_header(copy->writer, target) == ARCHIVE_OK))
        return false;
    member->data_offset = copy->bytes_written;
    return true;
}

static bool is_tapped(const struct tar_copy_options *options, const char *path)
{
    if (options->data == NULL || options->tap_paths == NULL)
        return false;
    for (const char *const *tapped = options->tap_paths; *tapped != NULL; tapped++)
        if (strcmp(*tapped, path) == 0)
            return true;
    return false;
}

static bool tap(struct tar_copy *copy, const char *path, const void *bytes, size_t size)
{
    copy->has_failed = !copy->options->data(copy->options->context, path, bytes, size, copy->err);
    return !copy->has_failed;
}

static bool copy_data(struct tar_copy *copy, const struct tar_member *member)
{
    bool has_tap = is_tapped(copy->options, member->path);
    uint64_t passed = 0;

    for (;;) {
        const void *bytes;
        size_t size;
        la_int64_t offset;
        int result = archive_read_data_block(copy->reader, &bytes, &size, &offset);
        if (result == ARCHIVE_EOF)
            break;
        if (result != ARCHIVE_OK)
            return fail_reading(copy);
        if (offset < 0 || (uint64_t)offset != passed || size > member->size - passed)
            return refuse(copy, member->path, "its data does not fit its size");
        checksum_update(copy->checksum, bytes, size);
        if (has_tap && !tap(copy, member->path, bytes, size))
            return false;
        if (size > 0 && !has_written(copy, archive_write_data(copy->writer, bytes, size) == (la_ssize_t)size))
            return false;
        passed += size;
    }
    return passed == member->size || refuse(copy, member->path, "its data ends too early");
}

static bool copy_member(struct tar_copy *copy, struct archive_entry *source)
{
    char path[TAR_PATH_SIZE];
    struct tar_member member;

    if (!accept_member(copy, source, path, &member) || !write_header(copy, source, &member))
        return false;
    bool has_own_frames = member.size >= FRAME_OWN_MEMBER_SIZE;
    checksum_restart(copy->checksum);
    if (has_own_frames && !stage_frames_cut(copy->frames, copy->err))
        return false;
    if (!copy_data(copy, &member))
        return false;
    /* The padding and the headers that follow belong to the next shared frame. */
    if (has_own_frames && !stage_frames_cut(copy->frames, copy->err))
        return false;
    if (!has_written(copy, archive_write_finish_entry(copy->writer) == ARCHIVE_OK))
        return false;
    if (!member.is_directory)
        checksum_final(copy->checksum, member.checksum);
    return copy->options->member == NULL || copy->options->member(copy->options->context, &member, copy->err);
}

/* Where the last member ends in the source is known, so a missing end mark is a tar that was cut off. */
static bool check_end(struct tar_copy *copy, uint64_t last_member_end)
{
    if (copy->bytes_read >= last_member_end + TAR_END_SIZE)
        return true;
    return error_set(copy->err, ERROR_INTEGRITY, "could not read the server's tar: it ends without its end mark");
}

static bool copy_members(struct tar_copy *copy)
{
    uint64_t last_member_end = 0;

    for (;;) {
        struct archive_entry *source;
        int result = archive_read_next_header(copy->reader, &source);
        if (result == ARCHIVE_EOF)
            return check_end(copy, last_member_end);
        if (result != ARCHIVE_OK)
            return fail_reading(copy);
        if (!copy_member(copy, source))
            return false;
        uint64_t data_end = (uint64_t)archive_filter_bytes(copy->reader, -1);
        last_member_end = (data_end + TAR_BLOCK_SIZE - 1) / TAR_BLOCK_SIZE * TAR_BLOCK_SIZE;
    }
}

bool tar_copy(const struct tar_copy_options *options, struct stage *frames, uint64_t *ret_bytes, struct error *err)
{
    struct tar_copy copy SCOPED(tar_copy_done) = {.options = options, .frames = frames, .err = err};

    if (!start(&copy) || !copy_members(&copy) || !has_written(&copy, archive_write_close(copy.writer) == ARCHIVE_OK))
        return false;
    *ret_bytes = copy.bytes_written;
    return true;
}
