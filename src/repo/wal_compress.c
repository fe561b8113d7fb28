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
#include "pgcoffer/repo/wal_packer.h"
#include "pgcoffer/repo/wal_trailer.h"

#include "repo/wal_contents_internal.h"
#include "repo/wal_internal.h"

#define PLAIN_PIECE  131072
#define STORED_PIECE 131072
/* The unit of st_blocks, whatever the file system's own is. */
#define BYTES_OF_A_BLOCK 512

struct wal_packer {
    struct wal_archive archive;
    struct wal_noter *noter; /* NULL: none */
    ZSTD_CCtx *compressor;   /* NULL, like both pieces: none yet, or at rest */
    uint8_t *plain, *stored;
};

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
        ZSTD_CCtx_reset(compressor, ZSTD_reset_session_and_parameters),
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

/* The plain piece. */
static bool compress_piece(struct wal_packer *packer, bool is_last, struct target *target, struct error *err)
{
    ZSTD_inBuffer input = {packer->plain, PLAIN_PIECE, 0};

    for (;;) {
        ZSTD_outBuffer output = {packer->stored, STORED_PIECE, 0};
        size_t left = ZSTD_compressStream2(packer->compressor, &output, &input, is_last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return error_set(err, ERROR_FAILED, "could not compress: %s", ZSTD_getErrorName(left));
        wal_trailer_feed(target->trailer, packer->stored, output.pos);
        if (!write_stored(target, packer->stored, output.pos, err))
            return false;
        if (is_last ? left == 0 : input.pos == input.size)
            return true;
    }
}

static bool wake_up(struct wal_packer *packer, struct error *err)
{
    if (packer->compressor != NULL)
        return true;
    packer->compressor = ZSTD_createCCtx();
    if (packer->compressor == NULL)
        return error_set(err, ERROR_FAILED, "could not start zstd: no memory");
    packer->plain = memory_new(PLAIN_PIECE);
    packer->stored = memory_new(STORED_PIECE);
    return true;
}

static bool compress_into(struct wal_packer *packer, int fd, const char *raw, int level, struct target *target,
                          struct error *err)
{
    uint32_t size = packer->archive.segment_size.bytes;
    struct wal_trailer *trailer SCOPED(scoped_wal_trailer) = wal_trailer_new();

    target->trailer = trailer;
    if (!wake_up(packer, err) || !set_parameters(packer->compressor, size, level, err))
        return false;
    for (uint32_t at = 0; at < size; at += PLAIN_PIECE) { /* every segment size is a multiple of it */
        if (!file_read_exactly_at(fd, packer->plain, PLAIN_PIECE, at, raw, err) ||
            !compress_piece(packer, at + PLAIN_PIECE == size, target, err))
            return false;
        wal_noter_feed(packer->noter, packer->plain, PLAIN_PIECE);
    }
    wal_trailer_make(trailer, target->end);
    return write_stored(target, target->end, sizeof target->end, err);
}

/* SEG to SEG.zst, with the time at which its last byte came. */
static bool store_compressed(struct wal_packer *packer, int fd, const struct stat *status, const char *raw,
                             const char *path, int level, uint64_t most, struct error *err)
{
    const struct repo *repo = packer->archive.repo;
    const struct timespec times[2] = {status->st_mtim, status->st_mtim};
    struct atomic_file *file SCOPED(scoped_atomic_file) = atomic_file_open(path, repo->file_mode, err);
    struct target target = {.file = file, .most = most};

    if (file == NULL)
        return false;
    int target_fd = atomic_file_descriptor(file);
    if (!repo_adopt(repo, target_fd, repo->file_mode, path, err) ||
        !compress_into(packer, fd, raw, level, &target, err))
        return false;
    if (futimens(target_fd, times) < 0)
        return error_set_errno(err, "could not set the time of \"%s\"", path);
    if (!atomic_file_commit(file, err))
        return false;
    wal_noter_end(packer->noter, target.end);
    return true;
}

uint64_t wal_archive_compressing_bytes(const struct wal_archive *archive, struct wal_segment segment)
{
    char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, ".zst.tmp");
    struct stat status;

    return stat(path, &status) < 0 ? 0 : (uint64_t)status.st_blocks * BYTES_OF_A_BLOCK;
}

bool wal_packer_pack(struct wal_packer *packer, struct wal_segment segment, int level, uint64_t most_bytes,
                     struct error *err)
{
    const struct wal_archive *archive = &packer->archive;
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
    wal_noter_begin(packer->noter, segment);
    if (!store_compressed(packer, fd, &status, raw, path, level, most_bytes, err))
        return error_wrap(err, "could not compress \"%s\"", raw);
    return unlink(raw) == 0 || error_set_errno(err, "could not remove \"%s\"", raw);
}

bool wal_archive_compress(const struct wal_archive *archive, struct wal_segment segment, int level, struct error *err)
{
    struct wal_packer packer = {.archive = *archive};
    bool ok = wal_packer_pack(&packer, segment, level, UINT64_MAX, err);

    wal_packer_rest(&packer);
    return ok;
}

struct wal_packer *wal_packer_new(const struct wal_archive *archive)
{
    struct wal_packer *packer = memory_new(sizeof *packer);

    packer->archive = *archive;
    packer->noter = wal_noter_new(archive);
    return packer;
}

void wal_packer_rest(struct wal_packer *packer)
{
    ZSTD_freeCCtx(packer->compressor);
    packer->compressor = NULL;
    free(TAKE(packer->plain));
    free(TAKE(packer->stored));
}

void wal_packer_free(struct wal_packer *packer)
{
    if (packer == NULL)
        return;
    wal_packer_rest(packer);
    wal_noter_free(packer->noter);
    free(packer);
}
