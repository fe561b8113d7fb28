#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#include "repo/repo_internal.h"
#include "repo/wal_internal.h"

#define COMPARED_PIECE 16384
#define WRITTEN_PIECE  4096 /* the kernel writes, or does not write, by pages */

struct wal_partial {
    struct wal_archive archive;
    struct wal_segment segment;
    char *path;
    int fd;
    uint32_t held;
    uint32_t durable;
    uint32_t held_before; /* when it was opened */
    bool is_new;
    bool is_failed; /* an fsync failed: the descriptor is not trusted again */
};

static void scoped_wal_partial(struct wal_partial **partial)
{
    wal_partial_free(*partial);
}

static bool fail_with_name(const struct wal_partial *partial, enum error_kind kind, const char *what, struct error *err)
{
    char name[WAL_SEGMENT_NAME_SIZE];

    wal_segment_format(partial->segment, partial->archive.segment_size, name);
    return error_set(err, kind, "WAL segment %s %s", name, what);
}

/* Room for the whole segment, so that a full disk is met now and not in the middle. */
static bool reserve(const struct wal_partial *partial, struct error *err)
{
    int result;

    do
        result = fallocate(partial->fd, FALLOC_FL_KEEP_SIZE, 0, partial->archive.segment_size.bytes);
    while (result < 0 && errno == EINTR);
    if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
        return true;
    error_set_errno(err, "could not reserve %" PRIu32 " bytes for \"%s\"", partial->archive.segment_size.bytes,
                    partial->path);
    if (err->errnum == ENOSPC || err->errnum == EDQUOT)
        error_hint(err, "Make room on the file system that holds the repository.");
    return false;
}

void wal_give_up_file(const char *path, struct error *err)
{
    bool is_full = err->errnum == ENOSPC || err->errnum == EDQUOT;
    struct error ignored;
    char *aside SCOPED(scoped_free) = NULL;

    if (is_full && unlink(path) == 0)
        error_detail(err, "the file is removed, and the segment will be received again");
    else if (wal_set_aside(path, &aside, &ignored))
        error_detail(err, "the file is kept aside as \"%s\", and the segment will be received again", aside);
    else
        error_detail(err, "%s", ignored.message);
}

/*
 * What the kernel could not write it may have dropped, and a second fsync of the same file would then succeed for
 * nothing. So nobody reads this file again.
 */
static bool sync_or_set_aside(struct wal_partial *partial, struct error *err)
{
    if (fdatasync(partial->fd) == 0)
        return true;
    error_set_errno(err, "could not fdatasync \"%s\"", partial->path);
    partial->is_failed = true;
    wal_give_up_file(partial->path, err);
    return false;
}

static bool make_file(struct wal_partial *partial, struct error *err)
{
    const struct repo *repo = partial->archive.repo;

    if (repo_adopt(repo, partial->fd, repo->file_mode, partial->path, err) && reserve(partial, err) &&
        file_sync(partial->fd, partial->path, err) && file_sync_parent(partial->path, err))
        return true;
    unlink(partial->path);
    return false;
}

static bool take_over_file(struct wal_partial *partial, struct error *err)
{
    struct stat status;

    partial->fd = open(partial->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (partial->fd < 0 || fstat(partial->fd, &status) < 0)
        return error_set_errno(err, "could not open \"%s\"", partial->path);
    if (status.st_size > partial->archive.segment_size.bytes)
        return error_set(err, ERROR_INTEGRITY, "\"%s\" is larger than a segment", partial->path);
    partial->held = (uint32_t)status.st_size;
    if (!reserve(partial, err)) {
        /* The room goes back. The name stays: the first of a timeline keeps recoveries off the branch that died. */
        if (ftruncate(partial->fd, status.st_size) < 0)
            return error_detail(err, "what was reserved of it could not be given back");
        return false;
    }
    if (!sync_or_set_aside(partial, err) || !file_sync_parent(partial->path, err))
        return false;
    partial->durable = partial->held;
    return true;
}

static bool open_partial(const struct wal_archive *archive, struct wal_segment segment, bool is_beside,
                         struct wal_partial **ret_partial, struct error *err)
{
    struct wal_partial *partial SCOPED(scoped_wal_partial) = memory_new(sizeof *partial);

    partial->archive = *archive;
    partial->segment = segment;
    partial->fd = -1;
    partial->path = wal_segment_path(archive, segment, ".partial");
    if (!is_beside && wal_is_finished(archive, segment))
        return fail_with_name(partial, ERROR_BUSY, "is finished already and is never overwritten", err);
    if (!wal_prepare_folders(archive, segment, err))
        return false;
    partial->fd = open(partial->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (partial->fd < 0 && errno != EEXIST) {
        error_set_errno(err, "could not create \"%s\"", partial->path);
        if (err->errnum == ENOSPC || err->errnum == EDQUOT)
            error_hint(err, "Make room on the file system that holds the repository.");
        return false;
    }
    partial->is_new = partial->fd >= 0;
    if (!(partial->is_new ? make_file(partial, err) : take_over_file(partial, err)))
        return false;
    partial->held_before = partial->held;
    *ret_partial = TAKE(partial);
    return true;
}

bool wal_partial_open(const struct wal_archive *archive, struct wal_segment segment, struct wal_partial **ret_partial,
                      struct error *err)
{
    return open_partial(archive, segment, false, ret_partial, err);
}

bool wal_partial_open_beside(const struct wal_archive *archive, struct wal_segment segment,
                             struct wal_partial **ret_partial, struct error *err)
{
    return open_partial(archive, segment, true, ret_partial, err);
}

uint32_t wal_partial_held(const struct wal_partial *partial)
{
    return partial->held;
}

uint32_t wal_partial_durable(const struct wal_partial *partial)
{
    return partial->durable;
}

/* *ret_same: how many of `size` bytes are the same as those held at `offset`; all of these are held. */
static bool count_same(const struct wal_partial *partial, uint32_t offset, const uint8_t *bytes, size_t size,
                       size_t *ret_same, struct error *err)
{
    uint8_t piece[COMPARED_PIECE];

    for (size_t done = 0, part; done < size; done += part) {
        part = size - done < sizeof piece ? size - done : sizeof piece;
        if (!file_read_exactly_at(partial->fd, piece, part, offset + done, partial->path, err))
            return false;
        if (memcmp(piece, bytes + done, part) == 0)
            continue;
        size_t at = 0;
        while (piece[at] == bytes[done + at])
            at++;
        *ret_same = done + at;
        return true;
    }
    *ret_same = size;
    return true;
}

/* Fails with EILSEQ when a held byte of the page, from `offset` on, is not zero. */
static bool demand_zeros(const struct wal_partial *partial, uint32_t offset, uint32_t *ret_end, struct error *err)
{
    uint8_t piece[WRITTEN_PIECE];
    uint32_t end = (offset / WRITTEN_PIECE + 1) * WRITTEN_PIECE;

    if (end > partial->held)
        end = partial->held;
    if (!file_read_exactly_at(partial->fd, piece, end - offset, offset, partial->path, err))
        return false;
    if (piece[0] != 0 || memcmp(piece, piece + 1, end - offset - 1) != 0)
        return wal_fail_difference(&partial->archive, partial->segment, offset, err);
    *ret_end = end;
    return true;
}

/*
 * Bytes that are held already: the same, or in place of what a power cut left as zeros. Those need not be the last
 * ones: of what was not synced yet, the kernel may have written later pages and not earlier ones.
 */
static bool write_again(struct wal_partial *partial, uint32_t offset, const uint8_t *bytes, size_t size,
                        struct error *err)
{
    while (size > 0) {
        size_t same = 0;
        uint32_t end = 0;
        if (!count_same(partial, offset, bytes, size, &same, err))
            return false;
        offset += (uint32_t)same;
        bytes += same;
        size -= same;
        if (size == 0)
            return true;
        if (!demand_zeros(partial, offset, &end, err))
            return false;
        if (partial->durable > offset)
            partial->durable = offset;
        size_t part = end - offset < size ? end - offset : size;
        if (!file_write_all_at(partial->fd, bytes, part, offset, partial->path, err))
            return false;
        offset += (uint32_t)part;
        bytes += part;
        size -= part;
    }
    return true;
}

bool wal_partial_write(struct wal_partial *partial, uint32_t offset, const void *bytes, size_t size, struct error *err)
{
    const uint8_t *next = bytes;
    char what[96];

    if (partial->is_failed)
        return fail_with_name(partial, ERROR_STORAGE, "was set aside after a failed fdatasync", err);
    if (offset > partial->held) {
        snprintf(what, sizeof what, "got bytes for offset %" PRIu32 ", expected %" PRIu32, offset, partial->held);
        return fail_with_name(partial, ERROR_INTEGRITY, what, err);
    }
    if (size > partial->archive.segment_size.bytes - offset)
        return fail_with_name(partial, ERROR_INTEGRITY, "got bytes beyond its end", err);

    size_t known = partial->held - offset < size ? partial->held - offset : size;
    if (known > 0 && !write_again(partial, offset, next, known, err))
        return false;
    if (known == size)
        return true;
    if (!file_write_all_at(partial->fd, next + known, size - known, partial->held, partial->path, err))
        return false;
    partial->held += (uint32_t)(size - known);
    return true;
}

bool wal_partial_sync(struct wal_partial *partial, struct error *err)
{
    if (partial->is_failed)
        return fail_with_name(partial, ERROR_STORAGE, "was set aside after a failed fdatasync", err);
    if (!sync_or_set_aside(partial, err))
        return false;
    partial->durable = partial->held;
    return true;
}

bool wal_partial_finish(struct wal_partial *partial, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_segment_path(&partial->archive, partial->segment, "");

    if (partial->is_failed || partial->durable != partial->archive.segment_size.bytes)
        return fail_with_name(partial, ERROR_FAILED, "is not whole and durable yet", err);
    if (wal_is_finished(&partial->archive, partial->segment))
        return fail_with_name(partial, ERROR_BUSY, "is finished already and is never overwritten", err);
    return file_rename_durably(partial->path, path, err);
}

bool wal_partial_take_back(struct wal_partial *partial, struct error *err)
{
    if (partial->is_failed)
        return true;
    partial->is_failed = true;
    if (partial->is_new)
        return unlink(partial->path) == 0 || error_set_errno(err, "could not remove \"%s\"", partial->path);
    return ftruncate(partial->fd, (off_t)partial->held_before) == 0 ||
           error_set_errno(err, "could not shorten \"%s\"", partial->path);
}

static bool set_aside(const struct wal_archive *archive, struct wal_segment segment, const char *suffix,
                      struct error *err)
{
    char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, suffix);
    char *aside SCOPED(scoped_free) = NULL;

    return access(path, F_OK) != 0 || wal_set_aside(path, &aside, err);
}

bool wal_partial_replace(struct wal_partial *partial, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_segment_path(&partial->archive, partial->segment, "");

    if (partial->is_failed || partial->durable != partial->archive.segment_size.bytes)
        return fail_with_name(partial, ERROR_FAILED, "is not whole and durable yet", err);
    /* Between these steps only the whole partial is there, which a start finishes. */
    return set_aside(&partial->archive, partial->segment, ".zst", err) &&
           set_aside(&partial->archive, partial->segment, "", err) && file_rename_durably(partial->path, path, err);
}

bool wal_archive_set_segment_aside(const struct wal_archive *archive, struct wal_segment segment, struct error *err)
{
    return set_aside(archive, segment, ".zst", err) && set_aside(archive, segment, "", err) &&
           set_aside(archive, segment, ".partial", err);
}

void wal_partial_free(struct wal_partial *partial)
{
    if (partial == NULL)
        return;
    scoped_close(&partial->fd);
    free(partial->path);
    free(partial);
}
