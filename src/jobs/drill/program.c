#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jobs/drill/drill_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/worker/worker.h"

extern char **environ;

/* ---- in the new process ---- */

/* Its words are read by us, in English, and nothing outside tells it where to connect. */
static bool is_dropped(const char *variable)
{
    return text_starts_with(variable, "PG") || text_starts_with(variable, "LC_") || text_starts_with(variable, "LANG");
}

static void change_environment(char *const *added)
{
    char **kept = environ;

    for (char **at = environ; *at != NULL; at++)
        if (!is_dropped(*at))
            *kept++ = *at;
    *kept = NULL;
    putenv((char *)"LC_ALL=C");
    for (; added != NULL && *added != NULL; added++)
        putenv(*added);
}

static _Noreturn void become(const struct program_start *start, pid_t parent, int out, int error)
{
    int nowhere = open("/dev/null", O_RDONLY);

    /* The parent may have ended before the wish to be told of it was known. */
    prctl(PR_SET_PDEATHSIG, start->death_signal);
    if (getppid() != parent)
        _exit(127);
    setsid(); /* Ctrl-C is for the drill, which then ends it in order */
    signal(SIGPIPE, SIG_DFL);
    umask(077);
    if (start->kept_fd >= 0)
        fcntl(start->kept_fd, F_SETFD, 0);
    if (nowhere < 0 || dup2(nowhere, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(error, STDERR_FILENO) < 0)
        _exit(127);
    change_environment(start->environment);
    struct error failure;
    if (start->write_paths != NULL && !worker_confine_writing(start->write_paths, &failure)) {
        dprintf(STDERR_FILENO, "FATAL:  %s\n", failure.message);
        _exit(127);
    }
    execv(start->argv[0], start->argv);
    dprintf(STDERR_FILENO, "could not run \"%s\": %s\n", start->argv[0], strerror(errno));
    _exit(127);
}

/* ---- in ours ---- */

static bool make_pipe(int ends[2], struct error *err)
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return true;
}

bool program_begin(const struct program_start *start, struct program *ret_program, struct error *err)
{
    int out[2];
    int error[2];

    if (!make_pipe(out, err))
        return false;
    int mine SCOPED(scoped_close) = out[0];
    int its SCOPED(scoped_close) = out[1];
    if (!make_pipe(error, err))
        return false;
    int my_error SCOPED(scoped_close) = error[0];
    int its_error SCOPED(scoped_close) = error[1];
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not start a process for \"%s\"", start->argv[0]);
    if (pid == 0)
        become(start, parent, its, its_error);
    *ret_program = (struct program){.pid = pid,
                                    .out = file_take_descriptor(&mine),
                                    .error = file_take_descriptor(&my_error),
                                    .end_fd = (int)syscall(SYS_pidfd_open, pid, 0)};
    return true;
}

/* False at the end of the stream, for now or for good. */
static bool read_piece(int *fd, bool is_error, program_words *words, void *context)
{
    char piece[8192];

    if (*fd < 0)
        return false;
    ssize_t got = read(*fd, piece, sizeof piece);
    if (got > 0) {
        words(context, is_error, piece, (size_t)got);
        return true;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    close(*fd);
    *fd = -1;
    return false;
}

bool program_step(struct program *program, int milliseconds, program_words *words, void *context)
{
    struct pollfd watched[] = {{program->out, POLLIN, 0}, {program->error, POLLIN, 0}, {program->end_fd, POLLIN, 0}};

    if (program->pid == 0)
        return false;
    poll(watched, 3, milliseconds);
    bool has_ended = waitpid(program->pid, &program->status, WNOHANG) == program->pid;
    /* One piece of each while it runs, so that whoever writes without end is still looked after; then the rest. A child
     * it has left behind may hold the pipe open for longer, which is why its end is not awaited. */
    do {
        bool has_out = read_piece(&program->out, false, words, context);
        bool has_error = read_piece(&program->error, true, words, context);
        if (!has_out && !has_error)
            break;
    } while (has_ended);
    if (has_ended)
        program->pid = 0;
    return !has_ended;
}

void program_done(struct program *program)
{
    if (program->pid > 0) {
        kill(program->pid, SIGKILL);
        while (waitpid(program->pid, &program->status, 0) < 0 && errno == EINTR)
            ;
    }
    scoped_close(&program->out);
    scoped_close(&program->error);
    scoped_close(&program->end_fd);
    *program = PROGRAM_NONE;
}

void program_format_end(const struct program *program, char ret_text[PROGRAM_END_SIZE])
{
    if (WIFSIGNALED(program->status))
        snprintf(ret_text, PROGRAM_END_SIZE, "was ended by signal %d", WTERMSIG(program->status));
    else
        snprintf(ret_text, PROGRAM_END_SIZE, "ended with status %d", WEXITSTATUS(program->status));
}
