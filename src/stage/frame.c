#include "pgcoffer/stage/frame.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zstd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/checksum.h"

struct frame_decoder {
    ZSTD_DCtx *zstd; /* NULL when there was no memory: every frame_decode() says so */
    struct checksum *sha256;
};

struct frame_decoder *frame_decoder_new(void)
{
    struct frame_decoder *decoder = memory_new(sizeof *decoder);

    decoder->zstd = ZSTD_createDCtx();
    decoder->sha256 = checksum_new(CHECKSUM_SHA256);
    return decoder;
}

void frame_decoder_free(struct frame_decoder *decoder)
{
    if (decoder == NULL)
        return;
    ZSTD_freeDCtx(decoder->zstd);
    checksum_free(decoder->sha256);
    free(decoder);
}

static bool is_zstd_frame(const void *stored, size_t stored_size)
{
    static const unsigned char magic[] = {ZSTD_MAGICNUMBER & 0xFF, ZSTD_MAGICNUMBER >> 8 & 0xFF,
                                          ZSTD_MAGICNUMBER >> 16 & 0xFF, ZSTD_MAGICNUMBER >> 24};

    return stored_size >= sizeof magic && memcmp(stored, magic, sizeof magic) == 0;
}

/* Exactly one frame, whatever it holds. A skippable frame holds nothing and is none. */
static bool check_shape(const void *stored, size_t stored_size, size_t length, struct error *err)
{
    if (!is_zstd_frame(stored, stored_size))
        return error_set(err, ERROR_INTEGRITY, "could not decompress: not a zstd frame");
    size_t frame_size = ZSTD_findFrameCompressedSize(stored, stored_size);
    if (ZSTD_isError(frame_size))
        return error_set(err, ERROR_INTEGRITY, "could not decompress: %s", ZSTD_getErrorName(frame_size));
    if (frame_size != stored_size)
        return error_set(err, ERROR_INTEGRITY, "could not decompress: the frame has %zu bytes instead of %zu",
                         frame_size, stored_size);
    unsigned long long declared = ZSTD_getFrameContentSize(stored, stored_size);
    if (declared != ZSTD_CONTENTSIZE_UNKNOWN && declared != length)
        return error_set(err, ERROR_INTEGRITY, "could not decompress: the frame holds %llu bytes instead of %zu",
                         declared, length);
    return true;
}

static bool compare_digest(struct frame_decoder *decoder, const void *plain, size_t length, const char *sha256,
                           struct error *err)
{
    char found[CHECKSUM_HEX_SIZE];

    if (sha256[0] == '\0')
        return true;
    checksum_restart(decoder->sha256);
    checksum_update(decoder->sha256, plain, length);
    checksum_final(decoder->sha256, found);
    if (strcasecmp(found, sha256) == 0)
        return true;
    return error_set(err, ERROR_INTEGRITY, "could not verify a frame: its SHA-256 is %s instead of %s", found, sha256);
}

bool frame_decode(struct frame_decoder *decoder, const void *stored, size_t stored_size, void *plain, size_t length,
                  const char *sha256, struct error *err)
{
    if (decoder->zstd == NULL)
        return error_set(err, ERROR_FAILED, "could not start zstd");
    if (!check_shape(stored, stored_size, length, err))
        return false;
    size_t size = ZSTD_decompressDCtx(decoder->zstd, plain, length, stored, stored_size);
    if (ZSTD_isError(size))
        return error_set(err, ERROR_INTEGRITY, "could not decompress: %s", ZSTD_getErrorName(size));
    if (size != length)
        return error_set(err, ERROR_INTEGRITY, "could not decompress: the frame holds %zu bytes instead of %zu", size,
                         length);
    return compare_digest(decoder, plain, length, sha256, err);
}
