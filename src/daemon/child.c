#include "daemon/child_internal.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "pgcoffer/base/memory.h"

#define DRAIN_SIZE 65536

struct child {
    struct children *children;
    struct worker worker;
    struct bufferevent *channel; /* NULL when closed */
    struct evbuffer *lines;      /* received, not yet handed over */
    struct event *kill_timer;
    unsigned unanswered; /* times that it was asked for a sign of life since its last line */
    char fault[128];     /* why we killed it; "" */
    const struct child_handlers *handlers;
    void *owner;
    struct child *next;
};

static void close_channel(struct child *child)
{
    if (child->channel != NULL)
        bufferevent_free(child->channel); /* closes the descriptor too */
    child->channel = NULL;
}

static void free_child(struct child *child)
{
    close_channel(child);
    if (child->lines != NULL)
        evbuffer_free(child->lines);
    if (child->kill_timer != NULL)
        event_free(child->kill_timer);
    free(child);
}

static void kill_child(struct child *child)
{
    kill(child->worker.pid, SIGKILL); /* not waited for yet, so the pid is still its own */
}

/* A worker that does not keep to the protocol may be in foreign hands. */
static void condemn(struct child *child, const char *fault)
{
    if (child->fault[0] != '\0')
        return;
    snprintf(child->fault, sizeof child->fault, "%s", fault);
    kill_child(child);
}

static void hand_over_lines(struct child *child)
{
    while (child->fault[0] == '\0') {
        size_t size;
        char *line SCOPED(scoped_free) = evbuffer_readln(child->lines, &size, EVBUFFER_EOL_LF);
        if (line == NULL)
            break;
        struct error err;
        json_t *message SCOPED(scoped_json) = control_parse_line(line, size, &err);
        const char *event = json_text_or_null(message, "event");
        child->unanswered = 0;
        if (event == NULL)
            condemn(child, "it sent a line that is no event");
        else if (strcmp(event, "alive") != 0)
            child->handlers->line(child->owner, message);
    }
    if (evbuffer_get_length(child->lines) >= CONTROL_CHANNEL_SIZE)
        condemn(child, "it sent a line that is too long");
}

static void on_input(struct bufferevent *channel, void *context)
{
    struct child *child = context;

    evbuffer_add_buffer(child->lines, bufferevent_get_input(channel));
    hand_over_lines(child);
}

static void on_output_taken(struct bufferevent *channel, void *context)
{
    struct child *child = context;

    (void)channel;
    if (child->handlers->drained != NULL)
        child->handlers->drained(child->owner);
}

static void on_channel_end(struct bufferevent *channel, short what, void *context)
{
    (void)channel;
    (void)what;
    child_expect_end(context); /* a worker without a channel is at its end, or lost */
}

static void on_kill_due(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    kill_child(context);
}

static void kill_after(struct child *child, unsigned seconds)
{
    const struct timeval delay = {.tv_sec = (time_t)seconds};
    struct timeval due, now;

    if (child->kill_timer == NULL)
        return;
    if (evtimer_pending(child->kill_timer, &due)) {
        event_base_gettimeofday_cached(child->children->events, &now);
        if (due.tv_sec <= now.tv_sec + (time_t)seconds)
            return;
    }
    evtimer_add(child->kill_timer, &delay);
}

void child_stop(struct child *child, unsigned seconds)
{
    kill(child->worker.pid, SIGTERM);
    kill_after(child, seconds);
}

void child_expect_end(struct child *child)
{
    kill_after(child, CHILD_LINGER_SECONDS);
}

pid_t child_pid(const struct child *child)
{
    return child->worker.pid;
}

void child_send(struct child *child, const json_t *message)
{
    char *line SCOPED(scoped_free) = json_to_line(message);
    size_t size = strlen(line);

    line[size] = '\n';
    if (child->channel != NULL)
        bufferevent_write(child->channel, line, size + 1);
}

void child_ask_alive(struct child *child, unsigned patience_seconds)
{
    unsigned silent_seconds = (unsigned)((uint64_t)child->unanswered * child->children->asking_milliseconds / 1000);
    char fault[sizeof child->fault];

    if (silent_seconds >= patience_seconds) {
        snprintf(fault, sizeof fault, "it gave no sign of life for %u s", silent_seconds);
        condemn(child, fault);
        return;
    }
    json_t *question SCOPED(scoped_json) = json_pack("{s:s}", "event", "alive");
    child->unanswered++;
    child_send(child, question);
}

bool child_has_unsent(const struct child *child)
{
    return child->channel != NULL && evbuffer_get_length(bufferevent_get_output(child->channel)) > 0;
}

static bool join_loop(struct child *child, struct error *err)
{
    struct event_base *events = child->children->events;

    child->channel = bufferevent_socket_new(events, child->worker.channel, BEV_OPT_CLOSE_ON_FREE);
    child->lines = evbuffer_new();
    child->kill_timer = evtimer_new(events, on_kill_due, child);
    if (child->channel == NULL || child->lines == NULL || child->kill_timer == NULL)
        return error_set(err, ERROR_FAILED, "no memory for a worker's channel");
    bufferevent_setcb(child->channel, on_input, on_output_taken, on_channel_end, child);
    if (bufferevent_enable(child->channel, EV_READ | EV_WRITE) < 0)
        return error_set(err, ERROR_FAILED, "could not watch a worker's channel");
    return true;
}

bool child_start(struct children *children, enum role_id role, int client, const json_t *start,
                 const struct child_handlers *handlers, void *owner, struct child **ret_child, struct error *err)
{
    char *line SCOPED(scoped_free) = json_to_line(start);

    if (strlen(line) + 1 > CONTROL_CHANNEL_SIZE)
        return error_set(err, ERROR_CONFIG, "the configuration is too long to hand it to a worker");
    struct child *child = memory_new(sizeof *child);
    child->children = children;
    child->handlers = handlers;
    child->owner = owner;
    if (!worker_start(role, client, children->log, &child->worker, err)) {
        free(child);
        return false;
    }
    if (!join_loop(child, err)) {
        kill_child(child);
        waitpid(child->worker.pid, NULL, 0);
        free_child(child);
        return false;
    }
    child_send(child, start);
    child->next = children->first;
    children->first = child;
    children->count++;
    *ret_child = child;
    return true;
}

/* The process is gone, so all it ever wrote is in the socket. */
static void drain(struct child *child)
{
    int fd = bufferevent_getfd(child->channel);

    bufferevent_disable(child->channel, EV_READ | EV_WRITE);
    on_input(child->channel, child);
    while (evbuffer_read(child->lines, fd, DRAIN_SIZE) > 0)
        hand_over_lines(child);
}

static void describe_end(const struct child *child, int status, struct child_end *ret_end)
{
    *ret_end = (struct child_end){.is_signalled = WIFSIGNALED(status)};
    ret_end->number = ret_end->is_signalled ? WTERMSIG(status) : WEXITSTATUS(status);
    if (child->fault[0] != '\0')
        snprintf(ret_end->reason, sizeof ret_end->reason, "was ended because %s", child->fault);
    else if (ret_end->is_signalled)
        snprintf(ret_end->reason, sizeof ret_end->reason, "ended by signal %d (%s)", ret_end->number,
                 strsignal(ret_end->number));
    else
        snprintf(ret_end->reason, sizeof ret_end->reason, "ended with status %d", ret_end->number);
}

void child_end_to_error(const struct child_end *end, const char *role, const json_t *report, struct error *ret_failure)
{
    const json_t *reported = json_object_get(report, "error");

    if (json_is_object(reported) && !end->is_signalled)
        control_error_from_json(reported, ret_failure);
    else
        error_set(ret_failure, ERROR_FAILED, "the %s worker %s", role, end->reason);
}

static void end_child(struct child *child, int status)
{
    struct children *children = child->children;
    struct child **at = &children->first;
    struct child_end end;

    drain(child);
    while (*at != child)
        at = &(*at)->next;
    *at = child->next;
    children->count--;
    describe_end(child, status, &end);
    child->handlers->ended(child->owner, &end);
    free_child(child);
    if (children->count == 0 && children->emptied != NULL)
        children->emptied(children->context);
}

void children_reap(struct children *children)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid <= 0)
            return;
        for (struct child *child = children->first; child != NULL; child = child->next) {
            if (child->worker.pid == pid) {
                end_child(child, status);
                break;
            }
        }
    }
}

void children_stop_all(struct children *children)
{
    for (struct child *child = children->first; child != NULL; child = child->next)
        kill(child->worker.pid, SIGTERM);
}

void children_kill_all(struct children *children)
{
    for (struct child *child = children->first; child != NULL; child = child->next)
        kill_child(child);
}
