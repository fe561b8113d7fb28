#include "jobs/lease_internal.h"

#include <stdio.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/control/stream.h"

static bool ask(const struct connector *connector, const struct request *request, json_t **ret_answer,
                struct error *err)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;
    json_t *message SCOPED(scoped_json) = request_to_json(request);

    if (!connector->open(connector->context, &stream, err) || !control_send(stream, message, err))
        return false;
    *ret_answer = control_await_result(stream, NULL, NULL, err);
    return *ret_answer != NULL;
}

bool lease_take(const struct connector *connector, const struct lease_wish *wish, json_t **ret_answer,
                struct error *err)
{
    struct request request SCOPED(request_done) = {.command = COMMAND_ID_lease, .options = json_object()};
    char timeline[16];

    snprintf(request.server, sizeof request.server, "%s", wish->server);
    snprintf(request.backup, sizeof request.backup, "%s", wish->backup);
    snprintf(timeline, sizeof timeline, "%u", wish->timeline);
    json_object_set_new(request.options, "timeline", json_string(timeline));
    json_object_set_new(request.options, "for", json_string(wish->what_for));
    return ask(connector, &request, ret_answer, err);
}

bool lease_release(const struct connector *connector, const char *server, const char *name, struct error *err)
{
    struct request request SCOPED(request_done) = {.command = COMMAND_ID_release, .options = json_object()};
    json_t *answer SCOPED(scoped_json) = NULL;

    snprintf(request.server, sizeof request.server, "%s", server);
    json_object_set_new(request.options, "lease", json_string(name));
    return ask(connector, &request, &answer, err);
}
