#include "daemon/heartbeat_internal.h"

#include <stdlib.h>

#include "daemon/exporter_internal.h"
#include "daemon/gateway_internal.h"
#include "daemon/receivers_internal.h"
#include "pgcoffer/base/log.h"

#define SECOND           INT64_C(1000000)
#define PERIOD_MOST      (30 * SECOND) /* also where nobody waits for the supervisor */
#define PATIENCE_PERIODS 4             /* two watchdogs */
#define PATIENCE_LEAST   30            /* seconds: while the disk takes its time, a receiver gives a sign every 10 s */

static void on_time(evutil_socket_t fd, short what, void *context)
{
    struct supervisor *supervisor = context;
    unsigned patience = supervisor->children.asking_milliseconds * PATIENCE_PERIODS / 1000;

    (void)fd;
    (void)what;
    if (patience < PATIENCE_LEAST)
        patience = PATIENCE_LEAST;
    if (!supervisor->is_stopping) {
        receivers_ask_alive(supervisor, patience);
        gateway_ask_alive(supervisor, patience);
        exporter_ask_alive(supervisor, patience);
    }
    log_catch_up();
    if (supervisor->notifier.watchdog > 0)
        notifier_tell(&supervisor->notifier, "WATCHDOG=1");
}

void heartbeat_start(struct supervisor *supervisor)
{
    int64_t half = supervisor->notifier.watchdog / 2;
    int64_t microseconds = half > 0 && half < PERIOD_MOST ? half : PERIOD_MOST;
    const struct timeval period = {.tv_sec = microseconds / SECOND, .tv_usec = microseconds % SECOND};

    supervisor->children.asking_milliseconds = (unsigned)(microseconds / 1000);
    supervisor->heartbeat = event_new(supervisor->events, -1, EV_PERSIST, on_time, supervisor);
    if (supervisor->heartbeat == NULL || event_add(supervisor->heartbeat, &period) < 0)
        abort();
}

void heartbeat_free(struct supervisor *supervisor)
{
    if (supervisor->heartbeat != NULL)
        event_free(supervisor->heartbeat);
    supervisor->heartbeat = NULL;
}
