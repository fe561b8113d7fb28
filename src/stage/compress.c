#include <stdlib.h>
#include <zstd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/stages.h"

struct compress_stage {
    struct stage stage; /* must be first */
    int level;
    ZSTD_CCtx *zstd;
    size_t chunk_size;
    void *chunk;
};

static bool compress_open(struct stage *stage, const char *object_name, struct error *err)
{
    struct compress_stage *self = (struct compress_stage *)stage;

    self->zstd = ZSTD_createCCtx();
    if (self->zstd == NULL || ZSTD_isError(ZSTD_CCtx_setParameter(self->zstd, ZSTD_c_compressionLevel, self->level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(self->zstd, ZSTD_c_checksumFlag, 1)))
        return error_set(err, ERROR_FAILED, "could not start zstd at level %d", self->level);
    self->chunk_size = ZSTD_CStreamOutSize();
    self->chunk = memory_new(self->chunk_size);

    char *compressed_name SCOPED(scoped_free) = memory_text("%s.zst", object_name);
    return stage_open(stage->next, compressed_name, err);
}

/* Feed zstd and pass on every chunk it gives back, until it wants nothing more. */
static bool pump(struct compress_stage *self, const void *data, size_t size, ZSTD_EndDirective directive,
                 struct error *err)
{
    ZSTD_inBuffer in = {data, size, 0};
    size_t pending;

    do {
        ZSTD_outBuffer out = {self->chunk, self->chunk_size, 0};
        pending = ZSTD_compressStream2(self->zstd, &out, &in, directive);
        if (ZSTD_isError(pending))
            return error_set(err, ERROR_FAILED, "could not compress: %s", ZSTD_getErrorName(pending));
        if (out.pos > 0 && !stage_write(self->stage.next, self->chunk, out.pos, err))
            return false;
    } while (directive == ZSTD_e_end ? pending > 0 : in.pos < in.size);
    return true;
}

static bool compress_write(struct stage *stage, const void *data, size_t size, struct error *err)
{
    return pump((struct compress_stage *)stage, data, size, ZSTD_e_continue, err);
}

static bool compress_finish(struct stage *stage, struct error *err)
{
    return pump((struct compress_stage *)stage, NULL, 0, ZSTD_e_end, err) && stage_forward_finish(stage, err);
}

static void compress_release(struct stage *stage)
{
    struct compress_stage *self = (struct compress_stage *)stage;

    ZSTD_freeCCtx(self->zstd);
    free(self->chunk);
    free(self);
}

static const struct stage_ops compress_ops = {
    .name = "compress",
    .open = compress_open,
    .write = compress_write,
    .finish = compress_finish,
    .release = compress_release,
};

struct stage *stage_compress_new(struct stage *next, int level)
{
    struct compress_stage *self = memory_new(sizeof *self);

    self->stage = (struct stage){.ops = &compress_ops, .next = next};
    self->level = level;
    return &self->stage;
}
