#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

/* Beside this program, as it is built, or as it is installed. */
static const char *const places[] = {"pgcofferd", "../sbin/pgcofferd"};

static bool find_own_folder(char ret_path[PATH_MAX], struct error *err)
{
    ssize_t size = readlink("/proc/self/exe", ret_path, PATH_MAX - 1);

    if (size <= 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not read where this program lies");
    ret_path[size] = '\0';
    *strrchr(ret_path, '/') = '\0';
    return true;
}

bool command_check_elsewhere(struct invocation *invocation, struct error *err)
{
    char folder[PATH_MAX], name[] = "pgcoffer";

    invocation->argv[0] = name;
    if (!find_own_folder(folder, err))
        return false;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, places[i]);
        execv(path, invocation->argv);
        if (errno != ENOENT)
            return error_set_kind_errno(err, ERROR_FAILED, "could not start \"%s\", which does the checks", path);
    }
    error_set(err, ERROR_FAILED, "pgcofferd, which does the checks, is neither in \"%s\" nor in \"../sbin\" from there",
              folder);
    return error_hint(err, "Install both programs together.");
}
