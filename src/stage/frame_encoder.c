#include "stage/frame_encoder_internal.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <zstd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define STORED_CAPACITY ZSTD_COMPRESSBOUND(FRAME_SIZE)
/* With the checksum flag every frame ends with the low 32 bits of XXH64 of its content. */
#define CONTENT_CHECKSUM_SIZE 4

struct frame_encoder {
    ZSTD_CCtx *zstd;
    EVP_MD *sha256;
    EVP_MD_CTX *digest;
};

struct frame_task *frame_task_new(void)
{
    struct frame_task *task = memory_new(sizeof *task);

    task->plain = memory_new(FRAME_SIZE);
    task->stored = memory_new(STORED_CAPACITY);
    return task;
}

void frame_task_free(struct frame_task *task)
{
    if (task == NULL)
        return;
    free(task->plain);
    free(task->stored);
    free(task);
}

static bool set_parameters(ZSTD_CCtx *zstd, int level)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 1)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1));
}

bool frame_encoder_new(int level, struct frame_encoder **ret_encoder, struct error *err)
{
    struct frame_encoder *encoder = memory_new(sizeof *encoder);

    encoder->zstd = ZSTD_createCCtx();
    encoder->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    encoder->digest = EVP_MD_CTX_new();
    if (encoder->zstd == NULL || encoder->sha256 == NULL || encoder->digest == NULL ||
        !set_parameters(encoder->zstd, level)) {
        frame_encoder_free(encoder);
        return error_set(err, ERROR_FAILED, "could not start zstd at level %d with SHA-256", level);
    }
    *ret_encoder = encoder;
    return true;
}

void frame_encoder_free(struct frame_encoder *encoder)
{
    if (encoder == NULL)
        return;
    ZSTD_freeCCtx(encoder->zstd);
    EVP_MD_CTX_free(encoder->digest);
    EVP_MD_free(encoder->sha256);
    free(encoder);
}

static bool hash(struct frame_encoder *encoder, struct frame_task *task, struct error *err)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned int raw_size;

    if (!EVP_DigestInit_ex(encoder->digest, encoder->sha256, NULL) ||
        !EVP_DigestUpdate(encoder->digest, task->plain, task->length) ||
        !EVP_DigestFinal_ex(encoder->digest, raw, &raw_size))
        return error_set(err, ERROR_FAILED, "could not compute SHA-256");
    text_from_hex_bytes(raw, raw_size, task->sha256);
    return true;
}

bool frame_encode(struct frame_encoder *encoder, struct frame_task *task, struct error *err)
{
    size_t size = ZSTD_compress2(encoder->zstd, task->stored, STORED_CAPACITY, task->plain, task->length);

    if (ZSTD_isError(size))
        return error_set(err, ERROR_FAILED, "could not compress: %s", ZSTD_getErrorName(size));
    const uint8_t *end = task->stored + size - CONTENT_CHECKSUM_SIZE;
    task->checksum = end[0] | (uint32_t)end[1] << 8 | (uint32_t)end[2] << 16 | (uint32_t)end[3] << 24;
    task->stored_length = (uint32_t)size;
    return hash(encoder, task, err);
}
