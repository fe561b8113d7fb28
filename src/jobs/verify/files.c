#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "jobs/verify/verify_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/checksum.h"

#define PIECE_SIZE 262144

static void scoped_checksum(struct checksum **checksum)
{
    checksum_free(*checksum);
}

/* *ret_fd is the caller's, also on failure. *ret_size: bytes of the file. */
static bool open_file(const char *path, int *ret_fd, uint64_t *ret_size, struct error *err)
{
    struct stat status;

    *ret_fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (*ret_fd < 0 || fstat(*ret_fd, &status) < 0)
        return error_set_errno(err, "could not open \"%s\"", path);
    *ret_size = (uint64_t)status.st_size;
    return S_ISREG(status.st_mode) || error_set(err, ERROR_INTEGRITY, "\"%s\" is not a file", path);
}

static bool digest_file(struct verify *verify, int fd, uint64_t size, const char *path, const char *name,
                        char ret_hex[CHECKSUM_HEX_SIZE], struct error *failure, struct error *err)
{
    struct checksum *digest SCOPED(scoped_checksum) = checksum_new(CHECKSUM_SHA256);
    uint8_t *piece SCOPED(scoped_free) = memory_new(PIECE_SIZE);

    ret_hex[0] = '\0';
    for (uint64_t at = 0; at < size;) {
        size_t part = size - at < PIECE_SIZE ? (size_t)(size - at) : PIECE_SIZE;
        if (!file_read_exactly_at(fd, piece, part, at, path, failure))
            return true;
        checksum_update(digest, piece, part);
        at += part;
        if (!verify_advance(verify, part, name, err))
            return false;
    }
    checksum_final(digest, ret_hex);
    return true;
}

bool verify_file(struct checked_backup *backup, const struct backup_file *file, bool *ret_is_sound, struct error *err)
{
    struct verify *verify = backup->verify;
    const char *id = backup->meta->id.text;
    char *path SCOPED(scoped_free) = memory_text("%s/%s", backup->folder, file->name);
    int fd SCOPED(scoped_close) = -1;
    uint64_t size = 0;
    char found[CHECKSUM_HEX_SIZE];
    struct error failure = {.kind = ERROR_NONE};

    *ret_is_sound = false;
    if (!open_file(path, &fd, &size, &failure))
        return verify_read_failure(verify, id, file->name, VERIFY_NO_FRAME, NULL, &failure, err);
    if (size != file->size)
        return verify_problem(verify, id, file->name, VERIFY_NO_FRAME, NULL, err,
                              "it has %" PRIu64 " bytes instead of %" PRIu64, size, file->size);
    if (!digest_file(verify, fd, size, path, file->name, found, &failure, err))
        return false;
    if (failure.kind != ERROR_NONE)
        return verify_read_failure(verify, id, file->name, VERIFY_NO_FRAME, NULL, &failure, err);
    *ret_is_sound = strcmp(found, file->sha256) == 0;
    return *ret_is_sound || verify_problem(verify, id, file->name, VERIFY_NO_FRAME, NULL, err,
                                           "its SHA-256 is %s instead of %s", found, file->sha256);
}
