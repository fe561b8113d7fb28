#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
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

static const char *const device_paths[] = {"/dev", NULL};

static uint64_t filesystem_rights(int version)
{
    uint64_t rights = ACCESS_FS_FIRST;

    if (version >= 2)
        rights |= ACCESS_FS_REFER;
    if (version >= 3)
        rights |= ACCESS_FS_TRUNCATE;
    return rights;
}

/* By one of the two at least. */
static bool is_confined;

bool worker_is_confined(void)
{
    return is_confined;
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

/* *ret_rules -1: a kernel without it, or with it switched off. */
static bool make_rules(bool is_for_writing_only, uint64_t *ret_rights, int *ret_rules, struct error *err)
{
    struct ruleset ruleset = {0};

    *ret_rules = -1;
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return true;
    ruleset.handled_access_fs = filesystem_rights((int)version);
    if (is_for_writing_only)
        ruleset.handled_access_fs &= ~(ACCESS_FS_EXECUTE | ACCESS_FS_READ | ACCESS_FS_LIST);
    else if (version >= 4)
        ruleset.handled_access_net = ACCESS_NET_TCP;
    size_t size = version >= 4 ? sizeof ruleset : offsetof(struct ruleset, handled_access_net);
    *ret_rules = (int)syscall(SYS_landlock_create_ruleset, &ruleset, size, 0);
    *ret_rights = ruleset.handled_access_fs;
    return *ret_rules >= 0 || error_set_kind_errno(err, ERROR_FAILED, "could not make a Landlock ruleset");
}

static bool enforce(int rules, struct error *err)
{
    if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not restrict the process with Landlock");
    is_confined = true;
    return true;
}

static bool restrict_with_landlock(const char *const *always_paths, const char *const *read_paths,
                                   const char *const *write_paths, struct error *err)
{
    const uint64_t reading = ACCESS_FS_READ | ACCESS_FS_LIST;
    int rules SCOPED(scoped_close) = -1;
    uint64_t rights = 0;

    if (!make_rules(false, &rights, &rules, err))
        return false;
    return rules < 0 ||
           (allow_paths(rules, always_paths, reading | ACCESS_FS_EXECUTE, err) &&
            allow_paths(rules, always_paths != NULL ? device_paths : NULL, reading | ACCESS_FS_WRITE, err) &&
            allow_paths(rules, read_paths, reading, err) && allow_paths(rules, write_paths, rights, err) &&
            enforce(rules, err));
}

static bool restrict_writing_with_landlock(const char *const *write_paths, struct error *err)
{
    int rules SCOPED(scoped_close) = -1;
    uint64_t rights = 0;

    return make_rules(true, &rights, &rules, err) &&
           (rules < 0 || (allow_paths(rules, write_paths, rights, err) && enforce(rules, err)));
}

#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

#if defined(__x86_64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef OWN_ARCHITECTURE
#define DENIED     (SECCOMP_RET_ERRNO | EPERM)
#define DENY(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, DENIED)
#ifdef __x86_64__
#define DENY_X32 BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __X32_SYSCALL_BIT, 0, 1), BPF_STMT(BPF_RET | BPF_K, DENIED)
#else
#define DENY_X32 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#endif
/* The calls of another architecture have other numbers. */
#define LOAD_CALL                                                                                                      \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),                                           \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCHITECTURE, 1, 0), BPF_STMT(BPF_RET | BPF_K, DENIED),                \
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), DENY_X32

static bool install_filter(const struct sock_filter *filter, size_t size, struct error *err)
{
    const struct sock_fprog program = {.len = (unsigned short)size, .filter = (struct sock_filter *)filter};

    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
        is_confined = true;
    else if (errno != EINVAL && errno != ENOSYS)
        return error_set_kind_errno(err, ERROR_FAILED, "could not restrict the process's system calls");
    return true;
}
#endif

static bool give_up_privileges(struct error *err)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ||
           error_set_kind_errno(err, ERROR_FAILED, "could not give up gaining privileges");
}

/*
 * The control socket tells its callers apart by process and user. Whoever gets into a process of the daemon's user that
 * listens on the network must not become another process by which the supervisor would take it for an administrator.
 */
static bool restrict_with_seccomp(struct error *err)
{
#ifdef OWN_ARCHITECTURE
/* Unless its first argument is `process`, which the kernel takes from the lower half. */
#define DENY_FOR_OTHERS(name, process)                                                                                 \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIRST_ARGUMENT),        \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, process, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),              \
        BPF_STMT(BPF_RET | BPF_K, DENIED)
/* With that second argument: who gets the signals of a descriptor. */
#define DENY_WITH(name, number)                                                                                        \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SECOND_ARGUMENT),       \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, DENIED),                          \
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define SECOND_ARGUMENT (FIRST_ARGUMENT + sizeof(uint64_t))
#define FIRST_ARGUMENT  (offsetof(struct seccomp_data, args) + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0))
    const struct sock_filter filter[] = {
        LOAD_CALL,
#ifdef __x86_64__
        DENY(fork),
        DENY(vfork),
        DENY(open),
        DENY(creat),
        DENY(rename),
        DENY(link),
        DENY(unlink),
        DENY(chmod),
        DENY(chown),
        DENY(lchown),
#endif
        DENY(clone),
        DENY(clone3),
        DENY(execve),
        DENY(execveat),
        DENY(ptrace),
        DENY(process_vm_readv),
        DENY(process_vm_writev),
        DENY(pidfd_open),
        DENY(pidfd_getfd),
        /* Where the kernel has no Landlock these alone keep it from the files of its user. */
        DENY(openat),
        DENY(openat2),
        DENY(open_by_handle_at),
        DENY(io_uring_setup),
        DENY(truncate),
        DENY(renameat),
        DENY(renameat2),
        DENY(linkat),
        DENY(unlinkat),
        DENY(fchmodat),
        DENY(fchmodat2),
        DENY(fchownat),
        DENY(kill),
        DENY(tkill),
        DENY(rt_sigqueueinfo),
        DENY(rt_tgsigqueueinfo),
        DENY(pidfd_send_signal),
        DENY_WITH(fcntl, F_SETOWN),
        DENY_WITH(fcntl, F_SETOWN_EX),
        DENY_WITH(ioctl, FIOSETOWN),
        DENY_WITH(ioctl, SIOCSPGRP),
        /* Of its own process it has its limits to ask, and abort() to call. */
        DENY_FOR_OTHERS(prlimit64, 0),
        DENY_FOR_OTHERS(tgkill, (uint32_t)getpid()),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    return install_filter(filter, sizeof filter / sizeof filter[0], err);
#undef DENY_FOR_OTHERS
#undef DENY_WITH
#undef SECOND_ARGUMENT
#undef FIRST_ARGUMENT
#else
    (void)err;
    return true;
#endif
}

/*
 * Roles on the network stay out of Landlock: name resolution, the system's CA bundle and OpenSSL's own configuration
 * may lie anywhere, and so may keys. The one that is bound to its port has done with all of these before.
 */
bool worker_confine(const struct worker_context *context, const char *const *read_paths, const char *const *write_paths,
                    struct error *err)
{
    if (!give_up_privileges(err))
        return false;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make the worker undumpable");
    if (roles[context->role].may_use_network)
        return true;
    if (roles[context->role].is_bound_to_port)
        return restrict_with_landlock(NULL, read_paths, write_paths, err) && restrict_with_seccomp(err);
    return restrict_with_landlock(system_paths, read_paths, write_paths, err);
}

static bool deny_links(struct error *err)
{
#ifdef OWN_ARCHITECTURE
    const struct sock_filter filter[] = {
        LOAD_CALL,
#ifdef __x86_64__
        DENY(symlink),
#endif
        DENY(symlinkat),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    return install_filter(filter, sizeof filter / sizeof filter[0], err);
#else
    (void)err;
    return true;
#endif
}

bool worker_confine_writing(const char *const *write_paths, struct error *err)
{
    return give_up_privileges(err) && restrict_writing_with_landlock(write_paths, err) && deny_links(err);
}
