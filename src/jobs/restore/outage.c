#include <stdio.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/text.h"

/* A connection that broke and is there again at the next attempt is nothing to tell. */
#define SILENT_FAILURES 1

static void tell(const struct restore *restore, const char *message)
{
    if (restore->options->warn != NULL)
        restore->options->warn(restore->options->context, message);
}

void outage_goes_on(const struct restore *restore, const struct patience *patience, const struct error *failure)
{
    struct outage *outage = restore->outage;
    char duration[TEXT_DURATION_SIZE];
    char message[sizeof failure->message + 128];

    if (outage == NULL || restore->connector->patience_seconds == 0 || patience->failures <= SILENT_FAILURES)
        return;
    text_format_duration(restore->connector->patience_seconds, duration);
    snprintf(message, sizeof message, "the connection broke and is tried again for %s: %s", duration, failure->message);
    pthread_mutex_lock(&outage->mutex);
    /* One thread's late failure does not count when another has got on since. */
    if (outage->told_at == 0 && patience->since > outage->last_came) {
        outage->told_at = clock_monotonic();
        tell(restore, message);
    }
    pthread_mutex_unlock(&outage->mutex);
}

void outage_ends(const struct restore *restore, int64_t opened_at)
{
    struct outage *outage = restore->outage;

    if (outage == NULL)
        return;
    pthread_mutex_lock(&outage->mutex);
    outage->last_came = clock_monotonic();
    if (outage->told_at != 0 && opened_at > outage->told_at) {
        outage->told_at = 0;
        tell(restore, "the connection is there again, and the restore goes on");
    }
    pthread_mutex_unlock(&outage->mutex);
}
