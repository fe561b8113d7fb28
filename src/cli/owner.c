#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/tls/files.h"

#define MOST_GROUPS 64

bool owner_find(const struct invocation *invocation, const struct passwd **ret_owner, struct error *err)
{
    const char *name = invocation_text(invocation, OPTION_ID_owner);

    *ret_owner = NULL;
    if (name == NULL)
        return true;
    errno = 0;
    const struct passwd *owner = getpwnam(name);
    if (owner == NULL)
        return error_set(err, ERROR_USAGE, "--owner: there is no OS user \"%s\"", name);
    if (geteuid() != 0 && owner->pw_uid != geteuid())
        return error_set(err, ERROR_USAGE, "--owner: only root can become \"%s\"", name);
    *ret_owner = owner;
    return true;
}

bool owner_become(const struct passwd *owner, struct error *err)
{
    if (geteuid() != 0 || owner == NULL || owner->pw_uid == 0)
        return true;
    if (initgroups(owner->pw_name, owner->pw_gid) < 0 || setgid(owner->pw_gid) < 0 || setuid(owner->pw_uid) < 0)
        return error_set_kind_errno(err, ERROR_STORAGE, "could not become the user \"%s\"", owner->pw_name);
    return true;
}

/* By the rules of the daemon: its own user, members of admin_group, restorers. */
static bool may_ask_daemon(const struct config *config, const struct server_config *server, const struct passwd *owner)
{
    char *admins SCOPED(scoped_free) = memory_text("@%s", config->settings.admin_group);
    char *names[MOST_GROUPS];
    gid_t groups[MOST_GROUPS];
    int count = getgroups(MOST_GROUPS, groups);
    size_t known = 0;
    struct stat status;

    if (stat(config->settings.base_dir, &status) == 0 && status.st_uid == owner->pw_uid)
        return true;
    for (int i = 0; i < count; i++) {
        const struct group *group = getgrgid(groups[i]);
        if (group != NULL)
            names[known++] = memory_copy_text(group->gr_name);
    }
    const char *const *known_names = (const char *const *)names;
    bool may = config_list_has(server->settings.restorers, owner->pw_name, known_names, known) ||
               config_list_has(admins, owner->pw_name, known_names, known);
    for (size_t i = 0; i < known; i++)
        free(names[i]);
    return may;
}

/* The key most of all: it was read by root until now. */
static void advise_of_gateway(const struct invocation *invocation, const struct server_config *gateway,
                              const struct passwd *owner)
{
    struct error failure;

    if (!tls_files_check(gateway, &failure))
        output_warning(invocation, "%s will not get its WAL from the gateway: %s", owner->pw_name, failure.message);
}

void owner_advise(const struct invocation *invocation, const struct config *config, const struct server_config *server,
                  const struct passwd *owner)
{
    const char *configuration = invocation_text(invocation, OPTION_ID_config);

    if (owner == NULL || invocation_has(invocation, OPTION_ID_with_wal) ||
        invocation_has(invocation, OPTION_ID_dry_run))
        return;
    if (configuration != NULL && access(configuration, R_OK) < 0)
        output_warning(invocation, "%s cannot read \"%s\", which PostgreSQL's restore_command names", owner->pw_name,
                       configuration);
    struct server_config *gateway SCOPED(scoped_free) = NULL;
    struct error told_elsewhere;
    if (gateway_find(invocation, &gateway, &told_elsewhere) && gateway != NULL) {
        advise_of_gateway(invocation, gateway, owner);
        return;
    }
    if (config == NULL)
        return;
    if (invocation_has(invocation, OPTION_ID_direct)) {
        if (access(config->settings.base_dir, R_OK | X_OK) < 0)
            output_warning(
                invocation,
                "%s cannot read the repository \"%s\": PostgreSQL will not get its WAL with --direct; restore "
                "through the daemon, or use --with-wal",
                owner->pw_name, config->settings.base_dir);
        return;
    }
    if (server != NULL && !may_ask_daemon(config, server, owner))
        output_warning(invocation, "%s is not in restorers of [%s]: PostgreSQL will not get its WAL", owner->pw_name,
                       server->name);
}
