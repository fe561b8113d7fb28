#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/worker/worker.h"

/*
 * What the kernel may know beyond the headers this is compiled with: numbers of the kernel's interface, which never
 * change. The struct may grow; the kernel is told its size.
 */
struct ruleset {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
};
#define ACCESS_FS_EXECUTE  (UINT64_C(1) << 0)
#define ACCESS_FS_WRITE    (UINT64_C(1) << 1)
#define ACCESS_FS_READ     (UINT64_C(1) << 2)
#define ACCESS_FS_LIST     (UINT64_C(1) << 3)
#define ACCESS_FS_FIRST    ((UINT64_C(1) << 13) - 1) /* all of version 1 */
#define ACCESS_FS_REFER    (UINT64_C(1) << 13)       /* version 2 */
#define ACCESS_FS_TRUNCATE (UINT64_C(1) << 14)       /* version 3 */
#define ACCESS_NET_TCP     (UINT64_C(3))             /* version 4: bind and connect */

/* What any program reads: libraries, user names, time zones, entropy. */
static const char *const system_paths[] = {"/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/run", NULL};

static uint64_t filesystem_rights(int version)
{
    uint64_t rights = ACCESS_FS_FIRST;

    if (version >= 2)
        rights |= ACCESS_FS_REFER;
    if (version >= 3)
        rights |= ACCESS_FS_TRUNCATE;
    return rights;
}

/* A path that is not there needs no rule. */
static bool allow_path(int rules, const char *path, uint64_t rights, struct error *err)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights};
    struct stat status;

    int fd SCOPED(scoped_close) = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == EACCES || errno == ENOTDIR))
        return true;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, "could not open \"%s\"", path);
    if (!S_ISDIR(status.st_mode))
        rule.allowed_access &= ACCESS_FS_EXECUTE | ACCESS_FS_WRITE | ACCESS_FS_READ | ACCESS_FS_TRUNCATE;
    rule.parent_fd = fd;
    if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not allow \"%s\"", path);
    return true;
}

static bool allow_paths(int rules, const char *const *paths, uint64_t rights, struct error *err)
{
    for (; paths != NULL && *paths != NULL; paths++)
        if (!allow_path(rules, *paths, rights, err))
            return false;
    return true;
}

static bool restrict_with_landlock(const char *const *read_paths, const char *const *write_paths, struct error *err)
{
    const uint64_t reading = ACCESS_FS_READ | ACCESS_FS_LIST;
    struct ruleset ruleset = {0};

    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return true; /* a kernel without it, or with it switched off */
    ruleset.handled_access_fs = filesystem_rights((int)version);
    if (version >= 4)
        ruleset.handled_access_net = ACCESS_NET_TCP;
    size_t size = version >= 4 ? sizeof ruleset : offsetof(struct ruleset, handled_access_net);
    int rules SCOPED(scoped_close) = (int)syscall(SYS_landlock_create_ruleset, &ruleset, size, 0);
    if (rules < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a Landlock ruleset");
    if (!allow_paths(rules, system_paths, reading | ACCESS_FS_EXECUTE, err) ||
        !allow_path(rules, "/dev", reading | ACCESS_FS_WRITE, err) || !allow_paths(rules, read_paths, reading, err) ||
        !allow_paths(rules, write_paths, ruleset.handled_access_fs, err))
        return false;
    if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not restrict the worker with Landlock");
    return true;
}

/*
 * Roles on the network stay out of Landlock: name resolution, the system's CA bundle and OpenSSL's own configuration
 * may lie anywhere, and so may keys.
 */
bool worker_confine(const struct worker_context *context, const char *const *read_paths, const char *const *write_paths,
                    struct error *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not give up gaining privileges");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make the worker undumpable");
    if (roles[context->role].may_use_network)
        return true;
    return restrict_with_landlock(read_paths, write_paths, err);
}
