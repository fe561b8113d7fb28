#include <poll.h>

#include "jobs/restore/restore_internal.h"

#define FIRST_PAUSE_MILLISECONDS 100
#define MOST_DOUBLINGS           4 /* then every 1.6 s */

/* What the connection did, or the other side's state of the moment; everything else is an answer. */
static bool may_pass(const struct error *failure)
{
    return failure->kind == ERROR_DAEMON || failure->kind == ERROR_BUSY;
}

bool patience_allows(struct patience *patience, const struct connector *connector, const struct error *failure)
{
    int64_t now = clock_monotonic();
    unsigned failures = patience->failures++;

    if (connector->patience_seconds == 0)
        return failures == 0 && failure->kind == ERROR_DAEMON;
    if (!may_pass(failure))
        return false;
    if (failures == 0)
        patience->since = now;
    if (now - patience->since > INT64_C(1000000) * connector->patience_seconds)
        return false;
    /* The first failure is mostly that of one connection, and the next one is there at once. */
    if (failures > 0)
        poll(NULL, 0, FIRST_PAUSE_MILLISECONDS << (failures < MOST_DOUBLINGS ? failures - 1 : MOST_DOUBLINGS));
    return true;
}

void patience_renew(struct patience *patience)
{
    *patience = (struct patience){0};
}

void connector_limit_silence(const struct connector *connector, struct control_stream *stream)
{
    if (connector->silence_seconds > 0)
        control_stream_set_timeout(stream, (int)connector->silence_seconds * 1000);
}

bool connector_open(const struct connector *connector, struct control_stream **ret_stream, struct error *err)
{
    if (!connector->open(connector->context, ret_stream, err))
        return false;
    connector_limit_silence(connector, *ret_stream);
    return true;
}
