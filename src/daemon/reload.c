#include "daemon/reload_internal.h"

#include <grp.h>
#include <string.h>

#include "daemon/exporter_internal.h"
#include "daemon/gateway_internal.h"
#include "daemon/listener_internal.h"
#include "daemon/receivers_internal.h"
#include "daemon/reports_internal.h"
#include "daemon/sessions_internal.h"
#include "pgcoffer/base/log.h"

static bool group_exists(const char *name)
{
    return getgrnam(name) != NULL;
}

bool reload_check_groups(const struct config *config, char ret_notice[256], struct error *err)
{
    const char *admin = config->settings.admin_group;
    const char *repository = config->settings.repository_group;

    ret_notice[0] = '\0';
    if (repository[0] != '\0' && !group_exists(repository)) {
        error_set(err, ERROR_CONFIG, "the group \"%s\" (repository_group) does not exist", repository);
        return error_hint(err, "Create it with \"groupadd --system %s\", or change the setting.", repository);
    }
    if (admin[0] == '\0' || group_exists(admin))
        return true;
    if (config->is_admin_group_written) {
        error_set(err, ERROR_CONFIG, "the group \"%s\" (admin_group) does not exist", admin);
        return error_hint(err, "Create it with \"groupadd --system %s\", or change the setting.", admin);
    }
    snprintf(ret_notice, 256, "there is no group \"%s\": only root and the daemon's user may give every command",
             admin);
    return true;
}

/* What needs a restart stays as it is, so that every process goes on with the same paths. */
static void keep_what_needs_a_restart(struct settings *settings, const struct settings *old_settings)
{
#define KEEP_AT_START(name) memcpy(&settings->name, &old_settings->name, sizeof settings->name);
#define KEEP_AT_RELOAD(name)
#define TEXT(name, scope, when, default_text, sample, help)           KEEP_##when(name)
#define NUMBER(name, scope, when, default_number, least, most, help)  KEEP_##when(name)
#define CHOICE(name, scope, when, default_text, choices, help)        KEEP_##when(name)
#define BOOLEAN(name, scope, when, default_text, help)                KEEP_##when(name)
#define LIST(name, scope, when, default_text, sample, help)           KEEP_##when(name)
#define NUMBERS(name, scope, when, default_number, least, most, help) KEEP_##when(name) KEEP_##when(name##_list)
#define SIZE(name, scope, when, default_text, help)                   KEEP_##when(name)
#include "pgcoffer/config/settings.def"
#undef TEXT
#undef NUMBER
#undef CHOICE
#undef BOOLEAN
#undef LIST
#undef NUMBERS
#undef SIZE
}

static bool load(const struct supervisor *supervisor, struct config **ret_config, char ret_notice[256],
                 struct error *err)
{
    struct config *config SCOPED(scoped_config) = NULL;

    if (!config_load(supervisor->config->path, &config, err) || !reload_check_groups(config, ret_notice, err) ||
        !logbook_follow(&config->settings, err))
        return false;
    *ret_config = TAKE(config);
    return true;
}

static bool is_same_for_server(const struct config *config, const struct server_config *server)
{
    for (size_t i = 0; i < config->server_count; i++)
        if (strcmp(config->servers[i].name, server->name) == 0)
            return strcmp(config->servers[i].settings.restorers, server->settings.restorers) == 0 &&
                   strcmp(config->servers[i].settings.monitors, server->settings.monitors) == 0;
    return false;
}

/* Who may do what; a server more takes nothing away from anybody. */
static bool has_other_rights(const struct config *config, const struct config *old_config)
{
    if (strcmp(config->settings.admins, old_config->settings.admins) != 0 ||
        strcmp(config->settings.monitors, old_config->settings.monitors) != 0)
        return true;
    for (size_t i = 0; i < old_config->server_count; i++)
        if (!is_same_for_server(config, &old_config->servers[i]))
            return true;
    return false;
}

static void adopt(struct supervisor *supervisor, struct config *config)
{
    struct config *old_config = supervisor->config;
    enum log_level level;

    keep_what_needs_a_restart(&config->settings, &old_config->settings);
    bool is_level_changed = strcmp(config->settings.log_level, old_config->settings.log_level) != 0;
    if (log_level_from_word(config->settings.log_level, &level))
        log_set_level(level);
    supervisor->config = config;
    if (has_other_rights(config, old_config)) {
        sessions_end_remote(supervisor);
        listener_end_forbidden(supervisor->listener);
        reports_end_forbidden(supervisor);
    }
    config_free(old_config);
    receivers_follow_configuration(supervisor, is_level_changed);
    receivers_look(supervisor);
    gateway_follow_configuration(supervisor);
    exporter_follow_configuration(supervisor);
}

bool reload_configuration(struct supervisor *supervisor, const char *who, char ret_restart_needed[CONFIG_TEXT_SIZE],
                          struct error *err)
{
    struct config *config;
    char notice[256];

    notifier_reloading(&supervisor->notifier);
    if (!load(supervisor, &config, notice, err)) {
        counts_note_reload(&supervisor->counts, false);
        struct error failure = *err;
        error_wrap(&failure, "could not reload, the old settings stay");
        log_failure(LOG_LEVEL_ERROR, &failure);
        notifier_tell(&supervisor->notifier, "READY=1");
        return false;
    }
    config_restart_needed(supervisor->config, config, ret_restart_needed);
    adopt(supervisor, config);
    counts_note_reload(&supervisor->counts, true);
    log_info("configuration reloaded, %s%s%s", who, ret_restart_needed[0] != '\0' ? "; these need a restart: " : "",
             ret_restart_needed);
    if (notice[0] != '\0')
        log_info("%s", notice);
    notifier_tell(&supervisor->notifier, "READY=1");
    return true;
}
