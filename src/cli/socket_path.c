#include <errno.h>
#include <glob.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/config/ini.h"

#define DEFAULT_FOLDER     "/run/pgcoffer"
#define SOCKET_NAME        "pgcoffer.sock"
#define MOST_CONFIGURATION (1u << 20)

/*
 * Only one setting is looked for, and nothing else is judged: a daemon that runs with its old settings, because the
 * new ones are wrong, can still be asked.
 */
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

static bool take_section(void *context, const struct ini_place *place, const char *section, struct error *err)
{
    (void)context;
    (void)place;
    (void)section;
    (void)err;
    return true;
}

static bool look_into(const char *path, char **folder, struct error *err)
{
    struct buffer text SCOPED(buffer_done) = BUFFER_WITH_LIMIT(MOST_CONFIGURATION);
    struct ini_handler handler = {.section = take_section, .pair = take_pair, .context = folder};
    struct error ignored;

    if (!file_read_whole(path, &text, err))
        return false;
    if (!ini_parse((const char *)text.bytes, text.used, path, &handler, &ignored))
        return true; /* what stands above the fault was seen */
    return true;
}

static void look_beside(const char *path, char **folder)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(path);
    char *pattern SCOPED(scoped_free) = memory_text("%s/conf.d/*.conf", dirname(copy));
    glob_t found;
    struct error ignored;

    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (!look_into(found.gl_pathv[i], folder, &ignored))
            continue;
    globfree(&found);
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
    if (look_into(file, &folder, err)) {
        look_beside(file, &folder);
    } else if (configuration != NULL) {
        err->kind = ERROR_CONFIG;
        return error_hint(err,
                          "Name a configuration file that can be read, or the daemon's socket with --socket PATH.");
    }
    *ret_path = memory_text("%s/" SOCKET_NAME, folder != NULL ? folder : DEFAULT_FOLDER);
    return true;
}
