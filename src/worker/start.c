#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/worker/worker.h"

#define EXIT_NOT_STARTED     127
#define FIRST_OUT_OF_THE_WAY 10 /* above every fixed descriptor */

static _Noreturn void fail_in_child(int channel, const char *what)
{
    dprintf(channel,
            "{\"event\":\"error\",\"kind\":\"failed\",\"message\":\"could not start a worker: %s: %s\","
            "\"detail\":\"\",\"hint\":\"\"}\n",
            what, strerror(errno));
    _exit(EXIT_NOT_STARTED);
}

static void reset_signals(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL); /* SIGKILL, SIGSTOP and the library's own refuse: nothing to mend */
    /* What the supervisor is told for all, as by "systemctl kill", must not end a worker that has not begun yet. */
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void place_descriptors(int channel, int client, int log)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (null >= 0)
        dup2(null, STDIN_FILENO);
    if (log >= 0 && dup2(log, STDERR_FILENO) < 0)
        _exit(EXIT_NOT_STARTED);
    channel = fcntl(channel, F_DUPFD_CLOEXEC, FIRST_OUT_OF_THE_WAY);
    if (client >= 0)
        client = fcntl(client, F_DUPFD_CLOEXEC, FIRST_OUT_OF_THE_WAY);
    if (dup2(channel, WORKER_CHANNEL_DESCRIPTOR) < 0)
        _exit(EXIT_NOT_STARTED);
    if (client >= 0 && dup2(client, WORKER_CLIENT_DESCRIPTOR) < 0)
        fail_in_child(WORKER_CHANNEL_DESCRIPTOR, "dup2");
    /* All others are close-on-exec already; this is the belt to those braces, and old kernels lack it. */
    unsigned first = client >= 0 ? WORKER_CLIENT_DESCRIPTOR + 1 : WORKER_CHANNEL_DESCRIPTOR + 1;
    if (close_range(first, ~0u, 0) < 0 && errno != ENOSYS)
        fail_in_child(WORKER_CHANNEL_DESCRIPTOR, "close_range");
}

static _Noreturn void become_worker(enum role_id role, int channel, int client, int log, pid_t supervisor)
{
    char option[64];
    char name[] = "pgcofferd";
    char *const arguments[] = {name, option, NULL};

    reset_signals();
    place_descriptors(channel, client, log);
    /*
     * SIGKILL, because a worker must be ready for it at any moment and nothing of the old daemon may be left when the
     * next one starts. It survives exec. The supervisor may have died before the call: then another has become parent.
     */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        fail_in_child(WORKER_CHANNEL_DESCRIPTOR, "prctl");
    if (getppid() != supervisor)
        _exit(EXIT_NOT_STARTED);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        fail_in_child(WORKER_CHANNEL_DESCRIPTOR, "prctl");
    snprintf(option, sizeof option, "--role=%s", roles[role].name);
    execv("/proc/self/exe", arguments);
    fail_in_child(WORKER_CHANNEL_DESCRIPTOR, "exec");
}

/*
 * No signal may reach the child while it has the supervisor's handlers: those of an event loop write into a socket that
 * is still shared, and the supervisor would take the child's SIGTERM for its own. reset_signals() lets them in again.
 */
static pid_t fork_without_signals(void)
{
    sigset_t all, before;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t pid = fork();
    int errnum = errno;
    if (pid != 0)
        sigprocmask(SIG_SETMASK, &before, NULL);
    errno = errnum;
    return pid;
}

bool worker_start(enum role_id role, int client, int log, struct worker *ret_worker, struct error *err)
{
    int ends[2];
    pid_t supervisor = getpid();

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a channel for a worker");
    int ours SCOPED(scoped_close) = ends[0];
    int theirs SCOPED(scoped_close) = ends[1];
    if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a channel non-blocking");
    pid_t pid = fork_without_signals();
    if (pid < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not start a worker");
    if (pid == 0)
        become_worker(role, theirs, client, log, supervisor);
    *ret_worker = (struct worker){.role = role, .pid = pid, .channel = ours};
    ours = -1;
    return true;
}
