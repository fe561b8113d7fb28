#ifndef PGCOFFER_SRC_DAEMON_CALLER_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_CALLER_INTERNAL_H

#include <sys/types.h>

#include "pgcoffer/base/json.h"

/*
 * Who is at the other end of a connection, as the kernel says it. Names are looked up only when they are needed.
 *
 * A connection of the gateway's is of nobody (CALLER_NOBODY: no user, no groups, no rights) until the gateway has said
 * with its first line on whose behalf it speaks; then its names are those of a certificate, which are compared with
 * entries cert:NAME and san:NAME only and can never be a user's.
 */
#define CALLER_NOBODY     ((uid_t)-1)
#define CALLER_MOST_NAMES 17
#define CALLER_NAME_SIZE  264 /* "cert:" and the longest name of a certificate */
#define CALLER_TEXT_SIZE  (CALLER_NAME_SIZE + 80)
struct caller {
    uid_t uid;
    pid_t pid;
    bool has_names;
    char user[CALLER_NAME_SIZE]; /* "" when the uid has no name */
    char **groups;               /* names; a group without one is left out */
    size_t group_count;
    char text[CALLER_TEXT_SIZE]; /* "uid 26 (postgres)" */
    gid_t *gids;                 /* primary and supplementary, as of the moment of connect(2) */
    size_t gid_count;
    bool is_remote;           /* through the gateway */
    char **certificate_names; /* "cert:NAME", "san:NAME"; NULL-ended; NULL until the gateway has told them */
};

bool caller_of_socket(int fd, struct caller *ret_caller, struct error *err) NODISCARD;
/* A connection that the gateway made: whatever the kernel says of that process holds for nobody any more. */
void caller_become_remote(struct caller *caller);
/* {"command":"on-behalf","cn":...,"san":[...],"address":...}; once. USAGE. */
bool caller_take_identity(struct caller *caller, const json_t *message, struct error *err) NODISCARD;
void caller_find_names(struct caller *caller);
void caller_done(struct caller *caller);

#endif
