#include "pgcoffer/config/config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* The file being read; the section that the next pairs belong to. */
struct reader {
    struct config *config;
    struct settings *settings;
    struct section_origin *origin;
    bool is_daemon;
};

static void free_origin(struct section_origin *origin)
{
    free(origin->header);
    for (size_t i = 0; i < SETTING_COUNT; i++)
        free(origin->values[i]);
    free(origin);
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->server_count; i++)
        free_origin(config->origins->servers[i]);
    free_origin(config->origins->daemon);
    if (config->origins->client != NULL)
        free_origin(config->origins->client);
    free(config->client);
    free(config->origins->servers);
    free(config->origins);
    free(config->servers);
    free(config->path);
    free(config);
}

static struct config *config_new(const char *path)
{
    struct config *config = memory_new(sizeof *config);

    config->path = memory_copy_text(path);
    config->origins = memory_new(sizeof *config->origins);
    config->origins->daemon = memory_new(sizeof *config->origins->daemon);
    settings_defaults(&config->settings);
    return config;
}

static bool fail_at(const struct ini_place *place, struct error *err)
{
    return error_wrap(err, "%s:%u", place->file, place->line);
}

static bool claim_header(struct section_origin *origin, const char *section, const struct ini_place *place,
                         struct error *err)
{
    if (origin->header != NULL) {
        error_set(err, ERROR_CONFIG, "section [%s] is given twice, first at %s", section, origin->header);
        error_hint(err, "Put all its lines below one [%s].", section);
        return fail_at(place, err);
    }
    origin->header = memory_text("%s:%u", place->file, place->line);
    return true;
}

static void add_server(struct config *config, const char *name)
{
    size_t count = config->server_count + 1;
    struct server_config *servers = reallocarray(config->servers, count, sizeof *servers);
    struct section_origin **origins = reallocarray(config->origins->servers, count, sizeof(struct section_origin *));

    if (servers == NULL || origins == NULL)
        abort(); /* at most CONFIG_MOST_SERVERS of a fixed size */
    config->servers = servers;
    config->origins->servers = origins;
    servers[count - 1] = (struct server_config){0};
    memcpy(servers[count - 1].name, name, strlen(name) + 1);
    settings_defaults(&servers[count - 1].settings);
    origins[count - 1] = memory_new(sizeof **origins);
    config->server_count = count;
}

static size_t find_or_add_server(struct config *config, const char *name)
{
    for (size_t i = 0; i < config->server_count; i++)
        if (strcmp(config->servers[i].name, name) == 0)
            return i;
    add_server(config, name);
    return config->server_count - 1;
}

static bool begin_section(void *context, const struct ini_place *place, const char *section, struct error *err)
{
    struct reader *reader = context;
    struct config *config = reader->config;

    reader->is_daemon = strcmp(section, CONFIG_DAEMON_SECTION) == 0;
    if (reader->is_daemon) {
        reader->settings = &config->settings;
        reader->origin = config->origins->daemon;
        return claim_header(reader->origin, section, place, err);
    }
    if (!text_is_server_name(section)) {
        error_set(err, ERROR_CONFIG, "\"%s\" is no name for a server", section);
        error_hint(err, "Use up to 63 letters, digits, - and _, and begin with a letter or digit.");
        return fail_at(place, err);
    }
    size_t index = find_or_add_server(config, section);
    if (config->server_count > CONFIG_MOST_SERVERS) {
        error_set(err, ERROR_CONFIG, "more than %d servers", CONFIG_MOST_SERVERS);
        return fail_at(place, err);
    }
    reader->settings = &config->servers[index].settings;
    reader->origin = config->origins->servers[index];
    return claim_header(reader->origin, section, place, err);
}

static bool fail_scope(const struct setting *setting, const char *section, struct error *err)
{
    if (setting->scope == SCOPE_DAEMON) {
        error_set(err, ERROR_CONFIG, "%s belongs into the section [pgcoffer], not into [%s]", setting->name, section);
        return error_hint(err, "Move the line below [pgcoffer].");
    }
    if (setting->scope == SCOPE_CLIENT) {
        error_set(err, ERROR_CONFIG, "%s belongs into the section [" CONFIG_CLIENT_SECTION "], not into [%s]",
                  setting->name, section);
        return error_hint(err, "Move the line below [" CONFIG_CLIENT_SECTION "].");
    }
    error_set(err, ERROR_CONFIG, "%s belongs into a server's section, not into [pgcoffer]", setting->name);
    return error_hint(err, "Move the line below the server's name, such as [primary].");
}

static bool assign_pair(void *context, const struct ini_place *place, const char *section, const char *key,
                        const char *value, struct error *err)
{
    struct reader *reader = context;
    const struct setting *setting = settings_find(key);

    if (setting == NULL) {
        error_set(err, ERROR_CONFIG, "there is no setting \"%s\"", key);
        settings_suggest(key, err);
        return fail_at(place, err);
    }
    bool is_of_client = setting->scope == SCOPE_CLIENT && strcmp(section, CONFIG_CLIENT_SECTION) == 0;
    if (!is_of_client && !settings_is_in_scope(setting, reader->is_daemon)) {
        fail_scope(setting, section, err);
        return fail_at(place, err);
    }
    char **origin = &reader->origin->values[setting - settings_table];
    if (*origin != NULL) {
        error_set(err, ERROR_CONFIG, "%s is given twice in [%s], first at %s", key, section, *origin);
        error_hint(err, "Remove one of the two lines.");
        return fail_at(place, err);
    }
    if (!settings_assign(reader->settings, setting, value, err))
        return fail_at(place, err);
    *origin = memory_text("%s:%u", place->file, place->line);
    return true;
}

static bool parse_text(struct config *config, const char *text, size_t size, const char *name, struct error *err)
{
    struct reader reader = {.config = config};
    const struct ini_handler handler = {.section = begin_section, .pair = assign_pair, .context = &reader};

    return ini_parse(text, size, name, &handler, err);
}

/* Of the two ways to say which backups stay, the one in the server's own section holds. */
static bool is_inherited(const struct section_origin *own, const struct section_origin *daemon, size_t id)
{
    return settings_table[id].scope == SCOPE_BOTH && own->values[id] == NULL && daemon->values[id] != NULL &&
           (id != SETTING_retention_count || own->values[SETTING_retention] == NULL);
}

static void inherit(struct config *config, size_t index)
{
    struct section_origin *own = config->origins->servers[index], *daemon = config->origins->daemon;

    for (size_t i = 0; i < SETTING_COUNT; i++) {
        size_t id = SETTING_COUNT - 1 - i; /* retention_count before retention */
        if (!is_inherited(own, daemon, id))
            continue;
        settings_copy_value(&config->servers[index].settings, &config->settings, &settings_table[id]);
        own->values[id] = memory_copy_text(daemon->values[id]);
    }
}

/* When everything is read: servers inherit what they did not say, and are judged as a whole. */
static bool finish(struct config *config, struct error *err)
{
    const struct config_origins *origins = config->origins;

    if (!config_client_take(config, err))
        return false;
    config->is_admin_group_written = origins->daemon->values[SETTING_admin_group] != NULL;
    if (!config_rules_check_daemon(&config->settings, origins->daemon, err))
        return false;
    for (size_t i = 0; i < config->server_count; i++) {
        if (!config_rules_check_retention(&config->servers[i].settings, origins->servers[i], err))
            return false;
        inherit(config, i);
        if (!config_rules_check(&config->servers[i], origins->servers[i], err))
            return false;
    }
    config_credentials_resolve(config);
    return true;
}

bool config_parse(const char *text, size_t size, const char *name, struct config **ret_config, struct error *err)
{
    struct config *config SCOPED(scoped_config) = config_new("");

    if (size > CONFIG_MOST_FILE_SIZE)
        return error_set(err, ERROR_CONFIG, "configuration \"%s\" is larger than %zu bytes", name,
                         CONFIG_MOST_FILE_SIZE);
    if (!parse_text(config, text, size, name, err) || !finish(config, err))
        return false;
    *ret_config = TAKE(config);
    return true;
}

static char *make_absolute(const char *path)
{
    if (path[0] == '/')
        return memory_copy_text(path);
    char *folder SCOPED(scoped_free) = getcwd(NULL, 0);
    return folder == NULL ? memory_copy_text(path) : memory_text("%s/%s", folder, path);
}

bool config_load(const char *path, struct config **ret_config, struct error *err)
{
    char *absolute_path SCOPED(scoped_free) = make_absolute(path == NULL ? CONFIG_DEFAULT_FILE : path);
    struct config *config SCOPED(scoped_config) = config_new(absolute_path);

    if (!config_files_read(absolute_path, config, parse_text, err) || !finish(config, err))
        return false;
    *ret_config = TAKE(config);
    return true;
}
