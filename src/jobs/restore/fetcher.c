#include <stdlib.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"

bool fetcher_begin(void *shared_restore, unsigned number, void **ret_fetcher, struct error *err)
{
    struct fetcher *fetcher = memory_new(sizeof *fetcher);

    (void)shared_restore;
    (void)number;
    (void)err;
    fetcher->decoder = frame_decoder_new();
    *ret_fetcher = fetcher;
    return true;
}

void fetcher_end(void *shared_restore, void *worker)
{
    struct fetcher *fetcher = worker;

    (void)shared_restore;
    control_stream_free(fetcher->stream);
    frame_decoder_free(fetcher->decoder);
    free(fetcher->stored);
    free(fetcher);
}

static bool try_once(const struct connector *connector, struct fetcher *fetcher,
                     bool (*attempt)(void *context, struct fetcher *fetcher, struct error *err), void *context,
                     struct error *err)
{
    if (fetcher->stream == NULL && !connector->open(connector->context, &fetcher->stream, err))
        return false;
    if (attempt(context, fetcher, err))
        return true;
    /* Somewhere between request and answer: this stream is of no more use. */
    control_stream_free(TAKE(fetcher->stream));
    return false;
}

bool fetcher_try_twice(const struct connector *connector, struct fetcher *fetcher,
                       bool (*attempt)(void *context, struct fetcher *fetcher, struct error *err), void *context,
                       struct error *err)
{
    if (try_once(connector, fetcher, attempt, context, err))
        return true;
    return err->kind == ERROR_DAEMON && try_once(connector, fetcher, attempt, context, err);
}
