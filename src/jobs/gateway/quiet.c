#include <errno.h>

#include "jobs/gateway/gateway_internal.h"
#include "jobs/gateway/pump_internal.h"

/* Its half of TLS has ended, and TCP with it. One that only speaks no more, and reads on, has not gone. */
static bool has_said_goodbye(const struct connection *connection)
{
    char byte;

    if (!connection->pump->in.is_source_over)
        return false;
    ssize_t size = recv(connection->network, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR);
}

const char *connection_reason_to_drop(const struct connection *connection, int quiet_seconds, int *ret_seconds)
{
    const struct gateway_limits *limits = connection->gateway->limits;

    if (quiet_seconds >= limits->parting_seconds && has_said_goodbye(connection)) {
        *ret_seconds = limits->parting_seconds;
        return "had closed its end and was quiet";
    }
    if (quiet_seconds >= limits->stall_seconds && connection->pump->wants_network_write) {
        *ret_seconds = limits->stall_seconds;
        return "took nothing";
    }
    *ret_seconds = limits->idle_seconds;
    return quiet_seconds >= limits->idle_seconds ? "was quiet" : NULL;
}
