#ifndef PGCOFFER_WORKER_WORKER_H
#define PGCOFFER_WORKER_WORKER_H

#include <sys/types.h>

#include "pgcoffer/control/stream.h"

/*
 * A worker is pgcofferd again, in a role: fork + exec of /proc/self/exe with --role=NAME, one socketpair (descriptor 3)
 * to the supervisor, for `serve` also the client's connection (descriptor 4), nothing else. Its stderr
 * is the supervisor's socket for the log (log_through_socket()). It dies with the supervisor
 * (the kernel kills it when its parent ends: PR_SET_PDEATHSIG), gains no privileges, and ends on SIGTERM.
 *
 * First line on the channel, from the supervisor:
 *   {"config":"<INI text>","server":"primary","request":{...},"right":"admin","job":"3","caller":"uid 26 (postgres)"}
 * and "remote":true when the caller came through the gateway; an errand has "daemon_right" too. Then events both ways,
 * as on the control socket.
 */
#define WORKER_CHANNEL_DESCRIPTOR 3
#define WORKER_CLIENT_DESCRIPTOR  4

enum role_id {
#define ROLE(name, network, repository, keys, summary) ROLE_##name,
#include "pgcoffer/worker/roles.def"
#undef ROLE
    ROLE_COUNT
};

struct role {
    enum role_id id;
    const char *name;
    bool may_use_network, is_bound_to_port, may_write_repository, may_read_repository, may_read_keys;
    const char *summary;
};
extern const struct role roles[ROLE_COUNT];
bool role_find(const char *name, enum role_id *ret_role);

/* ---- the supervisor's side ---- */
struct worker {
    enum role_id role;
    pid_t pid;
    int channel; /* our end, non-blocking, close-on-exec; -1 when closed */
};
/* client -1 when the role has none. `log` becomes the worker's stderr; -1: it gets ours. Neither is closed here. */
bool worker_start(enum role_id role, int client, int log, struct worker *ret_worker, struct error *err) NODISCARD;

/* ---- the worker's side ---- */
struct worker_context {
    enum role_id role;
    struct control_stream *channel; /* to the supervisor */
    int client;                     /* serve: the connection; else -1 */
    int interrupt_fd;               /* signalfd: readable after SIGTERM or SIGINT */
    json_t *start;                  /* the first line */
    struct request request;         /* of start["request"]; command COMMAND_COUNT when there is none */
    enum right right;               /* of start["right"]: the caller's over what is asked for; ANYBODY without one */
    enum right right_over_daemon;   /* of start["daemon_right"], the same */
};
/* Blocks SIGTERM and SIGINT into interrupt_fd, ignores SIGHUP, SIGUSR1 and SIGPIPE, reads the first line. */
bool worker_begin(enum role_id role, struct worker_context *ret_context, struct error *err) NODISCARD;
void worker_end(struct worker_context *context);
/* For one that changes nothing on the disk and waits where interrupt_fd is not watched: from now on SIGTERM and SIGINT
 * end the process at once. */
void worker_end_at_once_when_told(void);
/* Has SIGTERM come or the supervisor gone? Never blocks. */
bool worker_is_interrupted(const struct worker_context *context);
/* Answers {"event":"alive"}, by which the supervisor of a permanent worker asks whether it still does its work; any
 * other message is left alone. */
bool worker_answer_alive(const struct worker_context *context, const json_t *message, struct error *err) NODISCARD;
/* The same unasked, where the work takes long and the channel is not read. Never waits: a supervisor that does not read
 * has not asked. */
bool worker_say_alive(const struct worker_context *context, struct error *err) NODISCARD;
/*
 * Drops what the role does not need: no_new_privs, dumpable off, and Landlock where the kernel has it. `read_paths` and
 * `write_paths` are NULL-ended lists of what the role needs beside the system's libraries. Best effort by design: a
 * kernel without Landlock is no error. Roles that may use the network keep the whole file system, as keys, CA bundles
 * and name resolution may lie anywhere; one that is bound to its port keeps nothing, not even the system's libraries,
 * and may start no process (seccomp).
 */
bool worker_confine(const struct worker_context *context, const char *const *read_paths, const char *const *write_paths,
                    struct error *err) NODISCARD;
/* Behind worker_confine(): has the kernel taken anything from this process? One without Landlock and seccomp has not.
 */
bool worker_is_confined(void);

/*
 * For another program, between fork and exec: it and all it starts read what they may, write only below `write_paths`
 * (NULL-ended; Landlock, best effort), and make no symbolic link anywhere (seccomp).
 */
bool worker_confine_writing(const char *const *write_paths, struct error *err) NODISCARD;

#endif
