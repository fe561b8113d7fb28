#include "daemon/start_line_internal.h"

#include <string.h>

#include "pgcoffer/base/memory.h"

bool start_line_wants_one(const void *context, const struct server_config *server)
{
    return strcmp(context, server->name) == 0;
}

static void set_text(json_t *object, const char *name, const char *text)
{
    if (text != NULL && text[0] != '\0')
        json_object_set_new(object, name, control_text(text));
}

static void set_configuration(json_t *object, const struct start_line *line)
{
    struct config part = *line->config;
    json_t *names = json_array();

    part.servers = memory_new((part.server_count + 1) * sizeof *part.servers);
    part.server_count = 0;
    for (size_t i = 0; i < line->config->server_count; i++) {
        const struct server_config *server = &line->config->servers[i];
        if (line->is_wanted != NULL && !line->is_wanted(line->context, server))
            continue;
        part.servers[part.server_count++] = *server;
        json_array_append_new(names, control_text(server->name));
    }
    char *text SCOPED(scoped_free) = config_to_text(&part);
    free(part.servers);
    set_text(object, "config", text);
    set_text(object, "config_path", line->config->path);
    json_object_set_new(object, "servers", names);
}

json_t *start_line_to_json(const struct start_line *line)
{
    json_t *object = json_object();

    set_configuration(object, line);
    set_text(object, "server", line->server);
    if (line->request != NULL)
        json_object_set_new(object, "request", request_to_json(line->request));
    set_text(object, "right", line->right);
    set_text(object, "daemon_right", line->right_over_daemon);
    set_text(object, "job", line->job);
    set_text(object, "caller", line->caller);
    if (line->is_remote)
        json_object_set_new(object, "remote", json_true());
    if (line->is_resume)
        json_object_set_new(object, "resume", json_true());
    return object;
}
