#include <string.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"

#define DEFAULT_FOLDER "/run/pgcoffer"
#define SOCKET_NAME    "pgcoffer.sock"

static bool take_pair(void *context, const struct ini_place *place, const char *section, const char *key,
                      const char *value, struct error *err)
{
    char **folder = context;

    (void)place;
    (void)err;
    if (section == NULL || strcmp(section, "pgcoffer") != 0 || strcmp(key, "unix_socket_dir") != 0)
        return true;
    free(*folder);
    *folder = memory_copy_text(value);
    return true;
}

bool socket_path_find(const struct invocation *invocation, char **ret_path, struct error *err)
{
    const char *socket = invocation_text(invocation, OPTION_ID_socket);
    const char *configuration = invocation_text(invocation, OPTION_ID_config);
    const char *file = configuration != NULL ? configuration : CONFIG_DEFAULT_FILE;
    char *folder SCOPED(scoped_free) = NULL;

    if (socket != NULL) {
        *ret_path = memory_copy_text(socket);
        return true;
    }
    if (!configuration_look(file, take_pair, &folder, err) && configuration != NULL) {
        err->kind = ERROR_CONFIG;
        return error_hint(err,
                          "Name a configuration file that can be read, or the daemon's socket with --socket PATH.");
    }
    *ret_path = memory_text("%s/" SOCKET_NAME, folder != NULL ? folder : DEFAULT_FOLDER);
    return true;
}
