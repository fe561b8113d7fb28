#include "daemon/caller_internal.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "pgcoffer/base/memory.h"

#define MOST_GROUPS 65536 /* the kernel's NGROUPS_MAX */

/* Asked twice: the first answer is how many there are. */
static bool read_groups(int fd, struct caller *caller, struct error *err)
{
    socklen_t size = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) < 0 && errno != ERANGE) {
        if (errno == ENODATA || errno == ENOPROTOOPT)
            return true;
        return error_set_kind_errno(err, ERROR_FAILED, "could not read the groups of a peer");
    }
    size_t count = size / sizeof(gid_t);
    if (count == 0)
        return true;
    if (count > MOST_GROUPS)
        return error_set(err, ERROR_FAILED, "a peer is in %zu groups", count);
    caller->gids = realloc(caller->gids, (count + 1) * sizeof(gid_t));
    if (caller->gids == NULL)
        return error_set(err, ERROR_FAILED, "no memory for %zu groups", count);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, caller->gids + 1, &size) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not read the groups of a peer");
    caller->gid_count = 1 + size / sizeof(gid_t);
    return true;
}

bool caller_of_socket(int fd, struct caller *ret_caller, struct error *err)
{
    struct caller caller = {.gid_count = 1};
    struct ucred credentials;
    socklen_t size = sizeof credentials;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not read the credentials of a peer");
    caller.uid = credentials.uid;
    caller.pid = credentials.pid;
    caller.gids = memory_new(sizeof(gid_t));
    caller.gids[0] = credentials.gid;
    snprintf(caller.text, sizeof caller.text, "uid %u", (unsigned)caller.uid);
    if (!read_groups(fd, &caller, err)) {
        caller_done(&caller);
        return false;
    }
    *ret_caller = caller;
    return true;
}

void caller_find_names(struct caller *caller)
{
    if (caller->has_names)
        return;
    caller->has_names = true;
    const struct passwd *user = getpwuid(caller->uid);
    if (user != NULL && strlen(user->pw_name) < sizeof caller->user) {
        snprintf(caller->user, sizeof caller->user, "%s", user->pw_name);
        snprintf(caller->text, sizeof caller->text, "uid %u (%s)", (unsigned)caller->uid, caller->user);
    }
    caller->groups = memory_new(caller->gid_count * sizeof(char *));
    for (size_t i = 0; i < caller->gid_count; i++) {
        const struct group *group = getgrgid(caller->gids[i]);
        if (group != NULL)
            caller->groups[caller->group_count++] = memory_copy_text(group->gr_name);
    }
}

void caller_done(struct caller *caller)
{
    for (size_t i = 0; caller->certificate_names != NULL && caller->certificate_names[i] != NULL; i++)
        free(caller->certificate_names[i]);
    free(caller->certificate_names);
    for (size_t i = 0; i < caller->group_count; i++)
        free(caller->groups[i]);
    free(caller->groups);
    free(caller->gids);
    *caller = (struct caller){.uid = caller->uid};
}
