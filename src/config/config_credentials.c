#include <stdlib.h>
#include <string.h>

#include "config/config_internal.h"
#include "pgcoffer/base/text.h"

#define PREFIX     "credential:"
#define MOST_NAME  200
#define CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

/* The log is written, and directories are no credentials. */
bool config_credentials_may_be(const struct setting *setting)
{
    return text_ends_with(setting->name, "_file") && strcmp(setting->name, "log_file") != 0;
}

const char *config_credential_name(const char *value)
{
    return text_starts_with(value, PREFIX) ? value + strlen(PREFIX) : NULL;
}

bool config_credentials_check(const struct setting *setting, const char *value, struct error *err)
{
    const char *name = config_credential_name(value);
    size_t size = strlen(name);

    if (size > 0 && size <= MOST_NAME && name[0] != '.' && strspn(name, CHARACTERS) == size)
        return true;
    error_set(err, ERROR_CONFIG, "%s = %s names no credential", setting->name, value);
    return error_hint(err,
                      "Write %s = " PREFIX "NAME as in LoadCredential=NAME:FILE of the unit, with up to %d letters, "
                      "digits, -, _ and dots.",
                      setting->name, MOST_NAME);
}

static const char *credentials_folder(void)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");

    return folder != NULL && folder[0] == '/' ? folder : NULL;
}

static void resolve(struct settings *settings, const char *folder)
{
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++) {
        char *value = (char *)settings + setting->offset;
        char path[CONFIG_TEXT_SIZE];
        if (setting->type != TYPE_TEXT || !config_credentials_may_be(setting) || config_credential_name(value) == NULL)
            continue;
        int size = snprintf(path, sizeof path, "%s/%s", folder, config_credential_name(value));
        if (size < (int)sizeof path)
            memcpy(value, path, (size_t)size + 1);
    }
}

void config_credentials_resolve(struct config *config)
{
    const char *folder = credentials_folder();

    if (folder == NULL)
        return;
    resolve(&config->settings, folder);
    if (config->client != NULL)
        resolve(&config->client->settings, folder);
    for (size_t i = 0; i < config->server_count; i++)
        resolve(&config->servers[i].settings, folder);
}

const char *config_find_credential(const char *value)
{
    const char *name = config_credential_name(value), *folder = credentials_folder();

    if (name != NULL || folder == NULL || !text_starts_with(value, folder))
        return name;
    const char *rest = value + strlen(folder);
    return rest[0] == '/' && strchr(rest + 1, '/') == NULL ? rest + 1 : NULL;
}
