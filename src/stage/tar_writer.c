#include "pgcoffer/stage/tar_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

/*
 * By hand and not by libarchive, which costs two milliseconds of processor time at every start of the program that is
 * linked with it, and PostgreSQL starts ours for each segment (decision 0023).
 */
#define BLOCK_SIZE  512
#define BUFFER_SIZE ((size_t)1 << 17)
#define TAR_OWNER   "postgres"
#define LONG_NAME   "././@LongLink" /* GNU: the name of the next member is this one's content */
#define MOST_OCTAL  (UINT64_C(1) << 33)

/* The fields of a header; GNU's magic takes the place of "version". */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[8];
    char owner[32], group[32], major[8], minor[8], rest[167];
};
_Static_assert(sizeof(struct header) == BLOCK_SIZE, "a header is one block");

struct tar_writer {
    int fd;
    char *name;
    struct timestamp mtime;
    uint64_t left;    /* bytes of the open member */
    unsigned padding; /* behind it */
    ZSTD_CCtx *zstd;  /* NULL: plain */
    uint8_t *buffer;  /* what goes to `fd` next */
    size_t used;
};

bool tar_writer_new(const struct tar_writer_options *options, struct tar_writer **ret_writer, struct error *err)
{
    struct tar_writer *writer = memory_new(sizeof *writer);

    (void)err;
    writer->fd = options->fd;
    writer->name = memory_copy_text(options->name);
    writer->mtime = options->mtime;
    writer->buffer = memory_new(BUFFER_SIZE);
    if (options->is_compressed) {
        writer->zstd = ZSTD_createCCtx();
        if (writer->zstd == NULL)
            abort(); /* no memory */
        ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, options->level);
        ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_checksumFlag, 1);
    }
    *ret_writer = writer;
    return true;
}

static bool flush(struct tar_writer *writer, struct error *err)
{
    size_t used = writer->used;

    writer->used = 0;
    return file_write_all(writer->fd, writer->buffer, used, writer->name, err);
}

static bool put_plain(struct tar_writer *writer, const uint8_t *bytes, size_t size, struct error *err)
{
    while (size > 0) {
        size_t room = BUFFER_SIZE - writer->used;
        size_t part = size < room ? size : room;
        memcpy(writer->buffer + writer->used, bytes, part);
        writer->used += part;
        bytes += part;
        size -= part;
        if (writer->used == BUFFER_SIZE && !flush(writer, err))
            return false;
    }
    return true;
}

static bool put_compressed(struct tar_writer *writer, const void *bytes, size_t size, ZSTD_EndDirective end,
                           struct error *err)
{
    ZSTD_inBuffer input = {bytes, size, 0};
    size_t left;

    do {
        ZSTD_outBuffer output = {writer->buffer, BUFFER_SIZE, writer->used};
        left = ZSTD_compressStream2(writer->zstd, &output, &input, end);
        if (ZSTD_isError(left))
            return error_set(err, ERROR_FAILED, "could not compress \"%s\": %s", writer->name, ZSTD_getErrorName(left));
        writer->used = output.pos;
        if (writer->used == BUFFER_SIZE && !flush(writer, err))
            return false;
    } while (end == ZSTD_e_end ? left > 0 : input.pos < input.size);
    return true;
}

static bool put(struct tar_writer *writer, const void *bytes, size_t size, struct error *err)
{
    return writer->zstd != NULL ? put_compressed(writer, bytes, size, ZSTD_e_continue, err)
                                : put_plain(writer, bytes, size, err);
}

/* Octal; where it does not fit, GNU's binary form. */
static void put_number(char *field, size_t size, uint64_t number)
{
    char digits[24];

    if (number < MOST_OCTAL || size < 12) {
        snprintf(digits, sizeof digits, "%0*" PRIo64, (int)size - 1, number);
        memcpy(field, digits, size);
        return;
    }
    for (size_t i = size; i-- > 0; number >>= 8)
        field[i] = (char)(number & 0xff);
    field[0] = (char)(field[0] | 0x80);
}

static bool put_header(struct tar_writer *writer, const char *name, char type, mode_t mode, uint64_t size,
                       struct error *err)
{
    struct header header = {.type = type, .magic = {'u', 's', 't', 'a', 'r', ' ', ' ', '\0'}};
    size_t length = strlen(name);
    unsigned sum = 0;

    memcpy(header.name, name, length < sizeof header.name ? length : sizeof header.name);
    put_number(header.mode, sizeof header.mode, mode & 07777);
    put_number(header.uid, sizeof header.uid, 0);
    put_number(header.gid, sizeof header.gid, 0);
    put_number(header.size, sizeof header.size, size);
    put_number(header.mtime, sizeof header.mtime, (uint64_t)(writer->mtime.microseconds / 1000000));
    memcpy(header.owner, TAR_OWNER, sizeof TAR_OWNER);
    memcpy(header.group, TAR_OWNER, sizeof TAR_OWNER);
    memset(header.checksum, ' ', sizeof header.checksum);
    for (size_t i = 0; i < sizeof header; i++)
        sum += ((const uint8_t *)&header)[i];
    put_number(header.checksum, sizeof header.checksum - 1, sum);
    return put(writer, &header, sizeof header, err);
}

static bool put_padding(struct tar_writer *writer, size_t size, struct error *err)
{
    static const uint8_t zeros[2 * BLOCK_SIZE];

    return put(writer, zeros, size, err);
}

static unsigned padding_of(uint64_t size)
{
    return (unsigned)((BLOCK_SIZE - size % BLOCK_SIZE) % BLOCK_SIZE);
}

static bool check_whole(const struct tar_writer *writer, struct error *err)
{
    return writer->left == 0 || error_set(err, ERROR_FAILED, "a member of the tar is shorter than it was announced");
}

static bool add_member(struct tar_writer *writer, const char *path, char type, mode_t mode, uint64_t size,
                       struct error *err)
{
    size_t length = strlen(path) + 1;

    if (!check_whole(writer, err))
        return false;
    if (length > sizeof((struct header){0}).name &&
        (!put_header(writer, LONG_NAME, 'L', 0, length, err) || !put(writer, path, length, err) ||
         !put_padding(writer, padding_of(length), err)))
        return false;
    writer->left = size;
    writer->padding = padding_of(size);
    return put_header(writer, path, type, mode, size, err);
}

bool tar_writer_folder(struct tar_writer *writer, const char *path, mode_t mode, struct error *err)
{
    char *name SCOPED(scoped_free) = memory_text("%s/", path);

    return add_member(writer, name, '5', mode, 0, err);
}

bool tar_writer_file(struct tar_writer *writer, const char *path, mode_t mode, uint64_t size, struct error *err)
{
    return add_member(writer, path, '0', mode, size, err);
}

bool tar_writer_data(struct tar_writer *writer, const void *bytes, size_t size, struct error *err)
{
    if (size > writer->left)
        return error_set(err, ERROR_FAILED, "a member of the tar is longer than it was announced");
    writer->left -= size;
    return put(writer, bytes, size, err) &&
           (writer->left > 0 || size == 0 || put_padding(writer, writer->padding, err));
}

bool tar_writer_finish(struct tar_writer *writer, struct error *err)
{
    return check_whole(writer, err) && put_padding(writer, (size_t)2 * BLOCK_SIZE, err) &&
           (writer->zstd == NULL || put_compressed(writer, "", 0, ZSTD_e_end, err)) && flush(writer, err);
}

void tar_writer_free(struct tar_writer *writer)
{
    if (writer == NULL)
        return;
    ZSTD_freeCCtx(writer->zstd);
    free(writer->buffer);
    free(writer->name);
    free(writer);
}
