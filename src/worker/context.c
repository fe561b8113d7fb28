#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/worker/worker.h"

static bool is_socket(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

static bool check_descriptors(enum role_id role, struct error *err)
{
    if (is_socket(WORKER_CHANNEL_DESCRIPTOR) && (role != ROLE_serve || is_socket(WORKER_CLIENT_DESCRIPTOR)))
        return true;
    error_set(err, ERROR_USAGE, "the role \"%s\" is for pgcofferd's own use", roles[role].name);
    return error_hint(err, "Start pgcofferd without --role; it starts its workers itself.");
}

/* SIGTERM and SIGINT become readable; a hang-up, a rotated log or a closed pipe is no reason to end. */
static bool take_signals(int *ret_fd, struct error *err)
{
    sigset_t ending;

    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    if (sigprocmask(SIG_BLOCK, &ending, NULL) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not block signals");
    *ret_fd = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
    if (*ret_fd < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a signal descriptor");
    return true;
}

static void leave(int signal_number)
{
    (void)signal_number;
    _exit(EXIT_SUCCESS);
}

void worker_end_at_once_when_told(void)
{
    struct sigaction action = {.sa_handler = leave};
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigprocmask(SIG_UNBLOCK, &signals, NULL);
}

static bool read_start_line(struct worker_context *context, struct error *err)
{
    if (!control_receive(context->channel, &context->start, err))
        return error_wrap(err, "could not read the start line");
    if (context->start == NULL)
        return error_set(err, ERROR_DAEMON, "the supervisor ended before the worker began");
    context->request = (struct request){.command = COMMAND_COUNT};
    const char *right = json_text_or_null(context->start, "right");
    if (right == NULL || !right_find(right, &context->right))
        context->right = RIGHT_ANYBODY;
    right = json_text_or_null(context->start, "daemon_right");
    if (right == NULL || !right_find(right, &context->right_over_daemon))
        context->right_over_daemon = RIGHT_ANYBODY;
    const json_t *request = json_object_get(context->start, "request");
    if (request == NULL)
        return true;
    return request_parse(request, &context->request, err);
}

bool worker_begin(enum role_id role, struct worker_context *ret_context, struct error *err)
{
    struct worker_context context = {.role = role, .client = -1, .interrupt_fd = -1};

    if (!check_descriptors(role, err))
        return false;
    prctl(PR_SET_NAME, "pgcofferd", 0, 0, 0); /* exec of /proc/self/exe left "exe" */
    if (!take_signals(&context.interrupt_fd, err))
        return false;
    context.channel = control_stream_new(WORKER_CHANNEL_DESCRIPTOR, CONTROL_CHANNEL_SIZE);
    if (role == ROLE_serve)
        context.client = WORKER_CLIENT_DESCRIPTOR;
    if (!read_start_line(&context, err)) {
        worker_end(&context);
        return false;
    }
    *ret_context = context;
    return true;
}

void worker_end(struct worker_context *context)
{
    control_stream_free(context->channel);
    if (context->client >= 0)
        close(context->client);
    if (context->interrupt_fd >= 0)
        close(context->interrupt_fd);
    json_decref(context->start);
    request_done(&context->request);
    *context = (struct worker_context){.client = -1, .interrupt_fd = -1, .request.command = COMMAND_COUNT};
}

bool worker_say_alive(const struct worker_context *context, struct error *err)
{
    struct pollfd channel = {.fd = control_stream_descriptor(context->channel), .events = POLLOUT};

    log_catch_up();
    if (poll(&channel, 1, 0) == 0)
        return true;
    json_t *message SCOPED(scoped_json) = json_pack("{s:s}", "event", "alive");

    return control_send(context->channel, message, err);
}

bool worker_answer_alive(const struct worker_context *context, const json_t *message, struct error *err)
{
    const char *event = json_text_or_null(message, "event");

    return event == NULL || strcmp(event, "alive") != 0 || worker_say_alive(context, err);
}

bool worker_is_interrupted(const struct worker_context *context)
{
    struct pollfd pollers[] = {
        {.fd = context->interrupt_fd, .events = POLLIN},
        {.fd = control_stream_descriptor(context->channel), .events = POLLRDHUP},
    };

    if (poll(pollers, 2, 0) <= 0)
        return false;
    return pollers[0].revents != 0 || (pollers[1].revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}
