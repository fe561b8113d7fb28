#include "daemon/rights_internal.h"

#include <string.h>

#include "pgcoffer/base/text.h"

#define CONFIG_DAEMON_NAME "pgcoffer" /* its monitors are those of every server */

static bool list_has(const struct caller *caller, const char *list)
{
    if (!caller->is_remote)
        return config_list_has(list, caller->user, (const char *const *)caller->groups, caller->group_count);
    for (size_t i = 0; caller->certificate_names != NULL && caller->certificate_names[i] != NULL; i++)
        if (config_list_has(list, caller->certificate_names[i], NULL, 0))
            return true;
    return false;
}

bool rights_is_admin(const struct caller *caller, const struct config *config, uid_t own_uid)
{
    if (caller->is_remote)
        return list_has(caller, config->settings.admins);
    if (caller->uid == 0 || caller->uid == own_uid)
        return true;
    for (size_t i = 0; i < caller->group_count; i++)
        if (strcmp(caller->groups[i], config->settings.admin_group) == 0)
            return true;
    return false;
}

enum right rights_over_server(const struct caller *caller, const struct config *config, uid_t own_uid,
                              const struct server_config *server)
{
    if (rights_is_admin(caller, config, own_uid))
        return RIGHT_ADMIN;
    if (list_has(caller, server->settings.restorers))
        return RIGHT_RESTORER;
    if (list_has(caller, server->settings.monitors))
        return RIGHT_MONITOR;
    return RIGHT_ANYBODY;
}

static const struct server_config *find_server(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->server_count; i++)
        if (strcmp(config->servers[i].name, name) == 0)
            return &config->servers[i];
    return NULL;
}

enum right rights_over_name(const struct caller *caller, const struct config *config, uid_t own_uid, const char *server)
{
    const struct server_config *found = find_server(config, server);

    if (found != NULL)
        return rights_over_server(caller, config, own_uid, found);
    return rights_is_admin(caller, config, own_uid) ? RIGHT_ADMIN : RIGHT_ANYBODY;
}

enum right rights_over_daemon(const struct caller *caller, const struct config *config, uid_t own_uid)
{
    if (rights_is_admin(caller, config, own_uid))
        return RIGHT_ADMIN;
    return list_has(caller, config->settings.monitors) ? RIGHT_MONITOR : RIGHT_ANYBODY;
}

enum right rights_over_any(const struct caller *caller, const struct config *config, uid_t own_uid)
{
    enum right best = rights_over_daemon(caller, config, own_uid);

    for (size_t i = 0; i < config->server_count; i++) {
        enum right right = rights_over_server(caller, config, own_uid, &config->servers[i]);
        if (right > best)
            best = right;
    }
    return best;
}

bool rights_are_visible(const void *context, const struct server_config *server)
{
    const struct visibility *visibility = context;
    const struct request *request = visibility->request;

    if (rights_is_admin(visibility->caller, visibility->config, visibility->own_uid))
        return true;
    if (request->server[0] != '\0')
        return strcmp(request->server, server->name) == 0;
    return rights_over_server(visibility->caller, visibility->config, visibility->own_uid, server) >=
           commands[request->command].right;
}

static bool hint_at_list(const struct caller *caller, const struct config *config, enum right needed,
                         const char *server, struct error *err)
{
    const char *name = caller->user[0] != '\0' ? caller->user : "the user";
    const char *file = config->path != NULL && config->path[0] != '\0' ? config->path : "the configuration";

    if (needed == RIGHT_ADMIN && caller->is_remote)
        return error_hint(err, "Add %s to admins of [" CONFIG_DAEMON_NAME "] in %s and give \"pgcoffer reload\" there.",
                          name, file);
    if (needed == RIGHT_ADMIN)
        return error_hint(err,
                          "Give the command as root, as the daemon's user, or as a member of the group \"%s\" "
                          "(admin_group).",
                          config->settings.admin_group);
    return error_hint(err, "Add %s to %s of [%s] in %s and give \"pgcoffer reload\"%s.", name,
                      needed == RIGHT_RESTORER ? "restorers" : "monitors",
                      server[0] != '\0' ? server : CONFIG_DAEMON_NAME, file,
                      caller->is_remote ? " on the machine of the daemon" : "");
}

bool rights_deny(const struct caller *caller, const struct config *config, enum command_id command, const char *server,
                 struct error *err)
{
    if (server[0] != '\0')
        error_set(err, ERROR_DENIED, "%s may not ask for \"%s\" of server \"%s\"", caller->text,
                  commands[command].words, server);
    else
        error_set(err, ERROR_DENIED, "%s may not ask for \"%s\"", caller->text, commands[command].words);
    return hint_at_list(caller, config, commands[command].right, server, err);
}

bool rights_demand(const struct caller *caller, const struct config *config, uid_t own_uid,
                   const struct request *request, enum right *ret_right, struct error *err)
{
    const struct server_config *server;
    enum right needed = commands[request->command].right;
    enum right right;

    if (request->server[0] != '\0')
        right = rights_over_name(caller, config, own_uid, request->server);
    else
        right = rights_over_any(caller, config, own_uid);
    if (right < needed)
        return rights_deny(caller, config, request->command, request->server, err);
    if (request->server[0] != '\0' && !config_find_server(config, request->server, &server, err))
        return false;
    if (request->server[0] == '\0' && right == RIGHT_RESTORER)
        right = RIGHT_MONITOR;
    *ret_right = right;
    return true;
}
