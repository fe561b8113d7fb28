#ifndef PGCOFFER_SRC_DAEMON_CALLER_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_CALLER_INTERNAL_H

#include <sys/types.h>

#include "pgcoffer/base/error.h"

/* Who is at the other end of a connection, as the kernel says it. Names are looked up only when they are needed. */
struct caller {
    uid_t uid;
    pid_t pid;
    bool has_names;
    char user[64]; /* "" when the uid has no name */
    char **groups; /* names; a group without one is left out */
    size_t group_count;
    char text[128]; /* "uid 26 (postgres)" */
    gid_t *gids;    /* primary and supplementary, as of the moment of connect(2) */
    size_t gid_count;
};

bool caller_of_socket(int fd, struct caller *ret_caller, struct error *err) NODISCARD;
void caller_find_names(struct caller *caller);
void caller_done(struct caller *caller);

#endif
