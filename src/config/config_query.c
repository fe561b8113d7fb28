#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* Questions to a configuration that was read. */

bool config_find_server(const struct config *config, const char *name, const struct server_config **ret_server,
                        struct error *err)
{
    const char *names[CONFIG_MOST_SERVERS];
    char list[512] = "";

    for (size_t i = 0; i < config->server_count; i++) {
        if (strcmp(config->servers[i].name, name) == 0) {
            *ret_server = &config->servers[i];
            return true;
        }
        names[i] = config->servers[i].name;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    error_set(err, ERROR_USAGE, "there is no server \"%s\" in the configuration", name);
    const char *closest = text_closest(name, names, config->server_count);
    if (config->server_count == 0)
        return error_hint(err, "Add a section [%s] with host, user and the tls_* files to %s.", name,
                          config->path[0] != '\0' ? config->path : "the configuration");
    if (closest != NULL)
        return error_hint(err, "Did you mean \"%s\"?", closest);
    return error_hint(err, "The configuration has: %s.", list);
}

enum tls_mode config_tls_mode(const struct settings *settings)
{
    static const char *const words[] = {
        [TLS_VERIFY_FULL] = "verify-full",
        [TLS_VERIFY_CA] = "verify-ca",
        [TLS_REQUIRE] = "require",
        [TLS_DISABLE] = "disable",
    };

    for (size_t mode = 0; mode < sizeof words / sizeof words[0]; mode++)
        if (strcmp(words[mode], settings->tls_mode) == 0)
            return (enum tls_mode)mode;
    return TLS_VERIFY_FULL; /* "": settings that nobody filled get the strongest */
}

static bool is_entry(const char *entry, size_t size, const char *name)
{
    return strlen(name) == size && memcmp(entry, name, size) == 0;
}

bool config_list_has(const char *list, const char *user, const char *const *groups, size_t group_count)
{
    while (*list != '\0') {
        list += strspn(list, ", \t");
        size_t size = strcspn(list, ", \t");
        if (size > 1 && list[0] == '@') {
            for (size_t i = 0; i < group_count; i++)
                if (is_entry(list + 1, size - 1, groups[i]))
                    return true;
        } else if (size > 0 && is_entry(list, size, user)) {
            return true;
        }
        list += size;
    }
    return false;
}

void config_default_settings(struct settings *ret_settings)
{
    settings_defaults(ret_settings);
}

bool config_set(struct settings *settings, const char *name, const char *value, struct error *err)
{
    const struct setting *setting = settings_find(name);

    if (setting != NULL)
        return settings_assign(settings, setting, value, err);
    error_set(err, ERROR_CONFIG, "there is no setting \"%s\"", name);
    settings_suggest(name, err);
    return false;
}

static void add_if_different(const struct setting *setting, const struct settings *left, const struct settings *right,
                             char names[CONFIG_TEXT_SIZE])
{
    char left_text[CONFIG_TEXT_SIZE];
    char right_text[CONFIG_TEXT_SIZE];

    settings_value_text(left, setting, left_text);
    settings_value_text(right, setting, right_text);
    if (strcmp(left_text, right_text) == 0)
        return;
    size_t used = strlen(names);
    snprintf(names + used, CONFIG_TEXT_SIZE - used, "%s%s", used > 0 ? ", " : "", setting->name);
}

void config_differences(const struct settings *left, const struct settings *right, char ret_names[CONFIG_TEXT_SIZE])
{
    ret_names[0] = '\0';
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++)
        if (settings_is_in_scope(setting, false))
            add_if_different(setting, left, right, ret_names);
}

void config_restart_needed(const struct config *old_config, const struct config *new_config,
                           char ret_names[CONFIG_TEXT_SIZE])
{
    ret_names[0] = '\0';
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++)
        if (setting->when == AT_START && settings_is_in_scope(setting, true))
            add_if_different(setting, &old_config->settings, &new_config->settings, ret_names);
}
