#include <glob.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/files.h"

/* config show, config check, config sample: without the daemon. */

/* ---- show ---- */

static void add_setting(const struct config_value *value, void *context)
{
    json_array_append_new(context, json_pack("{s:o, s:o, s:o, s:o}", "section", control_text(value->section), "key",
                                             control_text(value->name), "value", control_text(value->value), "origin",
                                             control_text(value->origin)));
}

bool command_config_show(struct invocation *invocation, struct error *err)
{
    static const char *const titles[] = {"SECTION", "KEY", "VALUE", "ORIGIN"};
    struct config *config SCOPED(scoped_config) = NULL;
    json_t *settings SCOPED(scoped_json) = json_array();
    const json_t *setting;
    size_t i;

    if (!session_source_config(invocation, &config, err))
        return false;
    config_visit(config, add_setting, settings);
    if (output_is_json(invocation)) {
        json_t *data SCOPED(scoped_json) = json_pack("{s:O}", "settings", settings);
        output_json(data);
        return true;
    }
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 4);
    json_array_foreach(settings, i, setting)
    {
        table_add_row(table);
        table_set_text(table, 0, setting, "section");
        table_set_text(table, 1, setting, "key");
        table_set_text(table, 2, setting, "value");
        table_set_text(table, 3, setting, "origin");
    }
    table_print(table);
    return true;
}

/* ---- check ---- */

static json_t *list_files(const char *path)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(path);
    char *pattern SCOPED(scoped_free) = memory_text("%s/conf.d/*.conf", dirname(copy));
    json_t *files = json_array();
    glob_t found;

    json_array_append_new(files, control_text(path));
    if (glob(pattern, 0, NULL, &found) != 0)
        return files;
    for (size_t i = 0; i < found.gl_pathc; i++)
        json_array_append_new(files, control_text(found.gl_pathv[i]));
    globfree(&found);
    return files;
}

/* Where the file that a message names was configured: "/etc/pgcoffer/pgcoffer.conf:12". */
struct culprit {
    const char *section;
    const char *message;
    char origin[CONFIG_TEXT_SIZE];
};

static void find_culprit(const struct config_value *value, void *context)
{
    struct culprit *culprit = context;
    bool is_file = text_starts_with(value->name, "tls_") && text_ends_with(value->name, "_file");

    if (!is_file || value->value[0] == '\0' || strcmp(value->section, culprit->section) != 0)
        return;
    if (strstr(culprit->message, value->value) != NULL)
        snprintf(culprit->origin, sizeof culprit->origin, "%s", value->origin);
}

/* As the caller can see them. Wrong files are a wrong configuration, whatever the receiver would call them later. */
static bool check_server(const struct config *config, const struct server_config *server, struct error *err)
{
    struct culprit culprit = {.section = server->name, .message = err->message};

    if (tls_files_check(server, err))
        return true;
    config_visit(config, find_culprit, &culprit);
    err->kind = ERROR_CONFIG;
    if (culprit.origin[0] != '\0')
        return error_wrap(err, "%s: [%s]", culprit.origin, server->name);
    return error_wrap(err, "[%s]", server->name);
}

bool command_config_check(struct invocation *invocation, struct error *err)
{
    struct config *config SCOPED(scoped_config) = NULL;
    const json_t *file;
    size_t i;

    if (!session_source_config(invocation, &config, err))
        return false;
    json_t *files SCOPED(scoped_json) = list_files(config->path);
    invocation->findings = json_pack("{s:O}", "files", files);
    json_array_foreach(files, i, file)
    {
        output_line(invocation, "read %s", json_string_value(file));
    }
    for (size_t number = 0; number < config->server_count; number++)
        if (!check_server(config, &config->servers[number], err))
            return false;
    output_line(invocation, "the configuration is right: %zu %s", config->server_count,
                config->server_count == 1 ? "server" : "servers");
    if (output_is_json(invocation)) {
        json_object_set_new(invocation->findings, "servers", json_integer((json_int_t)config->server_count));
        output_json(invocation->findings);
    }
    return true;
}

/* ---- sample ---- */

bool command_config_sample(struct invocation *invocation, struct error *err)
{
    (void)invocation;
    (void)err;
    config_print_sample(stdout);
    return true;
}
