#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "pgcoffer/base/atomic_file.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/wal_trailer.h"

#include "repo/wal_contents_internal.h"
#include "repo/wal_internal.h"

#define PLAIN_PIECE  131072
#define STORED_PIECE 131072
/* The unit of st_blocks, whatever the file system's own is. */
#define BYTES_OF_A_BLOCK 512

static void scoped_compressor(ZSTD_CCtx **compressor)
{
    ZSTD_freeCCtx(*compressor);
}

static bool is_sound(const struct wal_archive *archive, struct wal_segment segment, bool *ret_sound, struct error *err)
{
    struct wal_reader *reader SCOPED(scoped_wal_reader) = NULL;
    uint8_t *piece SCOPED(scoped_free) = memory_new(PLAIN_PIECE);
    struct error problem;
    bool read = wal_reader_open(archive, segment, &reader, &problem);

    for (size_t size = 1; read && reader != NULL && size > 0;)
        read = wal_reader_next(reader, piece, PLAIN_PIECE, &size, &problem);
    *ret_sound = read;
    if (read || problem.kind == ERROR_INTEGRITY)
        return true;
    *err = problem;
    return false;
}

bool wal_settle_pair(const struct wal_archive *archive, struct wal_segment segment, struct error *err)
{
    char *raw SCOPED(scoped_free) = wal_segment_path(archive, segment, "");
    char *compressed SCOPED(scoped_free) = wal_segment_path(archive, segment, ".zst");
    char *aside SCOPED(scoped_free) = NULL;
    bool sound = false;

    if (!is_sound(archive, segment, &sound, err)) /* readers prefer the compressed one */
        return false;
    if (!sound)
        return wal_set_aside(compressed, &aside, err);
    /* Its name must be durable before the other one goes. */
    if (!file_sync_parent(compressed, err))
        return false;
    return unlink(raw) == 0 || errno == ENOENT || error_set_errno(err, "could not remove \"%s\"", raw);
}

static bool set_parameters(ZSTD_CCtx *compressor, uint32_t plain_size, int level, struct error *err)
{
    const size_t results[] = {
        ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, level),
        ZSTD_CCtx_setParameter(compressor, ZSTD_c_windowLog, WAL_WINDOW_LOG),
        ZSTD_CCtx_setParameter(compressor, ZSTD_c_contentSizeFlag, 1),
        ZSTD_CCtx_setParameter(compressor, ZSTD_c_checksumFlag, 1),
        ZSTD_CCtx_setPledgedSrcSize(compressor, plain_size),
    };

    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
        if (ZSTD_isError(results[i]))
            return error_set(err, ERROR_FAILED, "could not set up zstd: %s", ZSTD_getErrorName(results[i]));
    return true;
}

/* The file being written, and how large it may become. */
struct target {
    struct atomic_file *file;
    struct wal_trailer *trailer;
    uint64_t used, most;
    struct wal_noter *noter; /* NULL: none */
    uint8_t end[WAL_TRAILER_SIZE];
};

static bool write_stored(struct target *target, const void *bytes, size_t size, struct error *err)
{
    if (size > target->most - target->used) {
        error_set(err, ERROR_STORAGE, "its compressed form needs more than the %" PRIu64 " bytes there is room for",
                  target->most);
        err->errnum = ENOSPC;
        return false;
    }
    target->used += size;
    return atomic_file_write(target->file, bytes, size, err);
}

static bool compress_piece(ZSTD_CCtx *compressor, const void *bytes, size_t size, bool is_last, struct target *target,
                           struct error *err)
{
    uint8_t *stored SCOPED(scoped_free) = memory_new(STORED_PIECE);
    ZSTD_inBuffer input = {bytes, size, 0};

    for (;;) {
        ZSTD_outBuffer output = {stored, STORED_PIECE, 0};
        size_t left = ZSTD_compressStream2(compressor, &output, &input, is_last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return error_set(err, ERROR_FAILED, "could not compress: %s", ZSTD_getErrorName(left));
        wal_trailer_feed(target->trailer, stored, output.pos);
        if (!write_stored(target, stored, output.pos, err))
            return false;
        if (is_last ? left == 0 : input.pos == input.size)
            return true;
    }
}

static bool compress_into(int fd, const char *raw, uint32_t size, int level, struct target *target, struct error *err)
{
    ZSTD_CCtx *compressor SCOPED(scoped_compressor) = ZSTD_createCCtx();
    struct wal_trailer *trailer SCOPED(scoped_wal_trailer) = wal_trailer_new();
    uint8_t *plain SCOPED(scoped_free) = memory_new(PLAIN_PIECE);

    target->trailer = trailer;
    if (compressor == NULL)
        return error_set(err, ERROR_FAILED, "could not start zstd: no memory");
    if (!set_parameters(compressor, size, level, err))
        return false;
    for (uint32_t at = 0; at < size; at += PLAIN_PIECE) { /* every segment size is a multiple of it */
        if (!file_read_exactly_at(fd, plain, PLAIN_PIECE, at, raw, err) ||
            !compress_piece(compressor, plain, PLAIN_PIECE, at + PLAIN_PIECE == size, target, err))
            return false;
        wal_noter_feed(target->noter, plain, PLAIN_PIECE);
    }
    wal_trailer_make(trailer, target->end);
    return write_stored(target, target->end, sizeof target->end, err);
}

/* SEG to SEG.zst, with the time at which its last byte came. */
static bool store_compressed(const struct wal_archive *archive, int fd, const struct stat *status, const char *raw,
                             const char *path, int level, uint64_t most, struct wal_noter *noter, struct error *err)
{
    const struct timespec times[2] = {status->st_mtim, status->st_mtim};
    struct atomic_file *file SCOPED(scoped_atomic_file) = atomic_file_open(path, archive->repo->file_mode, err);
    struct target target = {.file = file, .most = most, .noter = noter};

    if (file == NULL)
        return false;
    int target_fd = atomic_file_descriptor(file);
    if (!repo_adopt(archive->repo, target_fd, archive->repo->file_mode, path, err) ||
        !compress_into(fd, raw, archive->segment_size.bytes, level, &target, err))
        return false;
    if (futimens(target_fd, times) < 0)
        return error_set_errno(err, "could not set the time of \"%s\"", path);
    if (!atomic_file_commit(file, err))
        return false;
    wal_noter_end(noter, target.end);
    return true;
}

uint64_t wal_archive_compressing_bytes(const struct wal_archive *archive, struct wal_segment segment)
{
    char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, ".zst.tmp");
    struct stat status;

    return stat(path, &status) < 0 ? 0 : (uint64_t)status.st_blocks * BYTES_OF_A_BLOCK;
}

bool wal_archive_compress_noting(const struct wal_archive *archive, struct wal_segment segment, int level,
                                 uint64_t most_bytes, struct wal_noter *noter, struct error *err)
{
    char *raw SCOPED(scoped_free) = wal_segment_path(archive, segment, "");
    char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, ".zst");
    struct stat status;

    int fd SCOPED(scoped_close) = open(raw, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && access(path, F_OK) == 0)
        return true;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, "could not open \"%s\"", raw);
    if (access(path, F_OK) == 0) {
        if (!wal_settle_pair(archive, segment, err))
            return false;
        if (access(path, F_OK) == 0)
            return true;
    }
    if (status.st_size != archive->segment_size.bytes)
        return error_set(err, ERROR_INTEGRITY, "WAL segment \"%s\" is damaged: it has %lld bytes instead of %" PRIu32,
                         raw, (long long)status.st_size, archive->segment_size.bytes);
    wal_noter_begin(noter, segment);
    if (!store_compressed(archive, fd, &status, raw, path, level, most_bytes, noter, err))
        return error_wrap(err, "could not compress \"%s\"", raw);
    return unlink(raw) == 0 || error_set_errno(err, "could not remove \"%s\"", raw);
}

bool wal_archive_compress_within(const struct wal_archive *archive, struct wal_segment segment, int level,
                                 uint64_t most_bytes, struct error *err)
{
    return wal_archive_compress_noting(archive, segment, level, most_bytes, NULL, err);
}

bool wal_archive_compress(const struct wal_archive *archive, struct wal_segment segment, int level, struct error *err)
{
    return wal_archive_compress_noting(archive, segment, level, UINT64_MAX, NULL, err);
}
