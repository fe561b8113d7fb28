#include <stdlib.h>
#include <zstd.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"

/* A log2: no frame of ours needs more, and a hostile one shall not have it. */
#define MOST_WINDOW 27

struct inflater {
    ZSTD_DCtx *context;
    bytes_function *sink;
    void *sink_context;
    uint8_t *plain;
    size_t capacity;
    bool is_inside_frame;
    bool has_begun;
};

struct inflater *inflater_new(bytes_function *sink, void *context)
{
    struct inflater *inflater = memory_new(sizeof *inflater);

    inflater->context = ZSTD_createDCtx();
    inflater->capacity = ZSTD_DStreamOutSize();
    inflater->plain = memory_new(inflater->capacity);
    inflater->sink = sink;
    inflater->sink_context = context;
    if (inflater->context == NULL)
        abort();
    ZSTD_DCtx_setParameter(inflater->context, ZSTD_d_windowLogMax, MOST_WINDOW);
    return inflater;
}

bool inflater_feed(struct inflater *inflater, const void *bytes, size_t size, struct error *err)
{
    ZSTD_inBuffer input = {bytes, size, 0};
    bool has_more_output = false;

    inflater->has_begun |= size > 0;
    while (input.pos < input.size || has_more_output) {
        ZSTD_outBuffer output = {inflater->plain, inflater->capacity, 0};
        size_t left = ZSTD_decompressStream(inflater->context, &output, &input);
        if (ZSTD_isError(left))
            return error_set(err, ERROR_INTEGRITY, "could not decompress: %s", ZSTD_getErrorName(left));
        if (output.pos > 0 && !inflater->sink(inflater->sink_context, inflater->plain, output.pos, err))
            return false;
        inflater->is_inside_frame = left != 0;
        has_more_output = left != 0 && output.pos == output.size;
    }
    return true;
}

bool inflater_finish(struct inflater *inflater, struct error *err)
{
    if (!inflater->has_begun || inflater->is_inside_frame)
        return error_set(err, ERROR_INTEGRITY, "could not decompress: the stored bytes end too early");
    return true;
}

void inflater_free(struct inflater *inflater)
{
    if (inflater == NULL)
        return;
    ZSTD_freeDCtx(inflater->context);
    free(inflater->plain);
    free(inflater);
}
