#include <stdlib.h>

#include "cli/check_internal.h"
#include "pgcoffer/base/memory.h"

/*
 * check from another host: the way to the gateway first, from here; what the daemon finds out stands behind it. The
 * connection over which the daemon was asked for its answer is the one for what follows.
 */

/* A daemon answers `ping` from memory; what else it takes are round trips. */
#define PING_MILLISECONDS 30000

void check_remote_done(struct check_remote *remote)
{
    control_stream_free(remote->stream);
    session_source_free(remote->source);
    free(remote->gateway);
}

bool check_remote_find(const struct invocation *invocation, struct check_remote *ret_remote, struct error *err)
{
    enum option_id option;

    *ret_remote = (struct check_remote){.gateway = NULL};
    if (!check_target_is_server(invocation, &option))
        return gateway_find(invocation, &ret_remote->gateway, err) &&
               (ret_remote->gateway == NULL || session_source_new(invocation, false, &ret_remote->source, err));
    if (!invocation_has(invocation, OPTION_ID_connect))
        return true;
    error_set(err, ERROR_USAGE, "--connect and --%s exclude each other", option_rows[option].name);
    return error_hint(err,
                      "--%s describes a PostgreSQL server, which is checked from here; with --connect the daemon "
                      "behind the gateway checks its own servers.",
                      option_rows[option].name);
}

static json_t *ask(void *context, struct error *err)
{
    struct check_remote *remote = context;
    const struct request ping = {.command = COMMAND_ID_ping};
    json_t *message SCOPED(scoped_json) = request_to_json(&ping);

    if (!session_source_open(remote->source, &remote->stream, err))
        return NULL;
    control_stream_set_timeout(remote->stream, PING_MILLISECONDS);
    return control_send(remote->stream, message, err) ? control_await_result(remote->stream, NULL, NULL, err) : NULL;
}

bool check_remote_walk(struct check_remote *remote, const struct invocation *invocation, const struct request *request,
                       struct check_report *report, bool *ret_is_open, struct error *err)
{
    const struct server_config *gateway = remote->gateway;
    bool is_watching = invocation_has(invocation, OPTION_ID_nagios);
    char *title SCOPED(scoped_free) =
        memory_text("gateway at %s port %ld", gateway->settings.host, gateway->settings.port);
    struct check_client_request client = {.gateway = gateway,
                                          .server = request->server,
                                          .needed = is_watching ? RIGHT_MONITOR : RIGHT_RESTORER,
                                          .ask = ask,
                                          .context = remote};
    struct check_gateway_page page = {.report = report, .title = title};
    enum right right;

    if (!check_options_read(request, &gateway->settings, &client.options, err))
        return false;
    if (!check_client(&client, check_gateway_page_take, &page, &right, err))
        return false;
    *ret_is_open = right >= RIGHT_MONITOR;
    return true;
}
