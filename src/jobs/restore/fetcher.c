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

static bool try_once(const struct connector *connector, struct fetcher *fetcher, fetcher_attempt *attempt,
                     void *context, struct error *err)
{
    if (fetcher->stream == NULL) {
        if (!connector_open(connector, &fetcher->stream, err))
            return false;
        fetcher->opened_at = clock_monotonic();
    }
    if (attempt(context, fetcher, err))
        return true;
    /* Somewhere between request and answer: this stream is of no more use. */
    control_stream_free(TAKE(fetcher->stream));
    return false;
}

bool fetcher_try(const struct restore *restore, struct fetcher *fetcher, fetcher_attempt *attempt, void *context,
                 struct error *err)
{
    patience_renew(&fetcher->patience);
    while (!try_once(restore->connector, fetcher, attempt, context, err)) {
        if (restore->is_ending || !patience_allows(&fetcher->patience, restore->connector, err) || restore->is_ending ||
            !restore_may_go_on(restore, err))
            return false;
        outage_goes_on(restore, &fetcher->patience, err);
    }
    outage_ends(restore, fetcher->opened_at);
    return true;
}
