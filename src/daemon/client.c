#include "daemon/client_internal.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/access_internal.h"
#include "daemon/errands_internal.h"
#include "daemon/listener_internal.h"
#include "daemon/reports_internal.h"
#include "daemon/requests_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define REQUEST_SECONDS  10
#define FLUSH_SECONDS    10
#define DISCARD_SIZE     65536
#define MOST_DISCARDS    16
#define MOST_UNREAD_SIZE 1048576 /* what a client may leave untaken */
/* Of who reports a job: a line has some 300 bytes, and five a second are sent. */
#define REPORT_BYTES_A_SECOND 4096
#define REPORT_BURST          16384

struct client {
    struct supervisor *supervisor;
    int fd;
    struct bufferevent *stream;
    struct event *deadline;
    struct caller caller;
    struct access access;
    enum client_state state;
    char job[JOB_ID_SIZE];
    struct request deferred;
    bool is_input_ended; /* it has closed its side, and may still read */
    int hang_up_fd;      /* the same connection once more, from then on */
    struct event *hang_up;
};

struct supervisor *client_supervisor(const struct client *client)
{
    return client->supervisor;
}

const struct caller *client_caller(struct client *client)
{
    caller_find_names(&client->caller);
    return &client->caller;
}

uid_t client_uid(const struct client *client)
{
    return client->caller.uid;
}

enum client_state client_state(const struct client *client)
{
    return client->state;
}

/* ---- states ---- */

static void set_deadline(struct client *client, int seconds)
{
    const struct timeval delay = {.tv_sec = seconds};

    if (seconds > 0)
        evtimer_add(client->deadline, &delay);
    else
        evtimer_del(client->deadline);
}

/* A socket closed with unread bytes is reset, and the peer might never see our last words. */
static void discard_input(const struct client *client)
{
    static char bytes[DISCARD_SIZE];

    for (int i = 0; i < MOST_DISCARDS; i++)
        if (recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT) <= 0)
            break;
}

static void stop_awaiting_hang_up(struct client *client)
{
    if (client->hang_up != NULL)
        event_free(TAKE(client->hang_up));
    scoped_close(&client->hang_up_fd);
    client->hang_up_fd = -1;
}

void client_drop(struct client *client)
{
    if (client->state == CLIENT_GONE)
        return;
    bufferevent_disable(client->stream, EV_READ | EV_WRITE);
    if (client->state == CLIENT_FLUSHES)
        discard_input(client);
    if (client->state == CLIENT_WAITS)
        errands_client_gone(client->supervisor, client);
    access_broken(&client->access, &client->caller);
    client->state = CLIENT_GONE;
    close(client->fd);
    client->fd = -1;
    stop_awaiting_hang_up(client);
    set_deadline(client, 0);
    request_done(&client->deferred);
    listener_sweep_later(client->supervisor->listener);
    reports_client_gone(client->supervisor, client);
}

void client_hand_over(struct client *client)
{
    client->access.is_open = false;
    client_drop(client);
}

void client_finish(struct client *client)
{
    if (client->state == CLIENT_GONE)
        return;
    client->state = CLIENT_FLUSHES;
    if (evbuffer_get_length(bufferevent_get_output(client->stream)) == 0) {
        client_drop(client);
        return;
    }
    bufferevent_disable(client->stream, EV_READ);
    set_deadline(client, FLUSH_SECONDS);
}

void client_wait_for_job(struct client *client, enum client_state state, const char *job)
{
    snprintf(client->job, sizeof client->job, "%s", job);
    client->state = state;
    set_deadline(client, 0);
}

bool client_waits_for_job(const struct client *client, const char *job)
{
    return (client->state == CLIENT_FOLLOWS || client->state == CLIENT_CANCELS) && strcmp(client->job, job) == 0;
}

void client_wait_for_errand(struct client *client)
{
    client->state = CLIENT_WAITS;
    set_deadline(client, 0);
}

void client_defer(struct client *client, const struct request *request)
{
    request_done(&client->deferred);
    client->deferred = *request;
    json_incref(client->deferred.options);
    client->state = CLIENT_DEFERRED;
    set_deadline(client, 0);
}

bool client_is_deferred(const struct client *client, const char *server)
{
    return client->state == CLIENT_DEFERRED && strcmp(client->deferred.server, server) == 0;
}

bool client_defers(const struct client *client, enum command_id command)
{
    return client->state == CLIENT_DEFERRED && client->deferred.command == command;
}

void client_stay(struct client *client)
{
    client->state = CLIENT_STAYS;
    set_deadline(client, 0);
}

void client_take_reports(struct client *client)
{
    static struct ev_token_bucket_cfg *rate;

    if (rate == NULL)
        rate = ev_token_bucket_cfg_new(REPORT_BYTES_A_SECOND, REPORT_BURST, EV_RATE_LIMIT_MAX, EV_RATE_LIMIT_MAX, NULL);
    if (rate == NULL || bufferevent_set_rate_limit(client->stream, rate) < 0)
        abort();
    client->state = CLIENT_REPORTS;
    set_deadline(client, 0);
}

void client_end_within(struct client *client, int seconds)
{
    set_deadline(client, seconds);
}

int client_bare_descriptor(struct client *client)
{
    if (evbuffer_get_length(bufferevent_get_input(client->stream)) > 0 ||
        evbuffer_get_length(bufferevent_get_output(client->stream)) > 0)
        return -1;
    return client->fd;
}

/* ---- out ---- */

void client_send(struct client *client, const json_t *message)
{
    char *line SCOPED(scoped_free) = json_to_line(message);
    size_t size = strlen(line);

    if (client->state == CLIENT_GONE || client->state == CLIENT_FLUSHES)
        return;
    line[size] = '\n';
    if (evbuffer_get_length(bufferevent_get_output(client->stream)) + size > MOST_UNREAD_SIZE) {
        log_info("dropped a client of %s that does not read its answers", client->caller.text);
        client_drop(client);
        return;
    }
    bufferevent_write(client->stream, line, size + 1);
    access_sent(&client->access, &client->caller, message, size + 1);
}

/* ---- in ---- */

static void refuse_and_finish(struct client *client, const struct error *failure)
{
    client_send_error(client, failure);
    client_finish(client);
}

static void refuse_line(struct client *client, const char *fault)
{
    struct error failure;

    error_set(&failure, ERROR_USAGE, "%s", fault);
    refuse_and_finish(client, &failure);
}

static void take_line(struct client *client, const char *line, size_t size)
{
    struct request request;
    struct error failure;

    json_t *message SCOPED(scoped_json) = control_parse_line(line, size, &failure);
    if (message != NULL && client->caller.is_remote && client->caller.certificate_names == NULL) {
        if (!caller_take_identity(&client->caller, message, &failure))
            refuse_and_finish(client, &failure);
        return;
    }
    if (message != NULL && client->state == CLIENT_REPORTS) {
        if (!reports_take(client, message, &failure))
            refuse_and_finish(client, &failure);
        return;
    }
    if (message == NULL || !request_parse(message, &request, &failure)) {
        refuse_and_finish(client, &failure);
        return;
    }
    set_deadline(client, REQUEST_SECONDS); /* for the next one */
    access_begin(&client->access, &client->caller, &request);
    requests_answer(client, &request);
    request_done(&request);
}

static void take_lines(struct client *client)
{
    while (client->state == CLIENT_READS || client->state == CLIENT_REPORTS) {
        struct evbuffer *input = bufferevent_get_input(client->stream);
        size_t size;
        char *line SCOPED(scoped_free) = evbuffer_readln(input, &size, EVBUFFER_EOL_LF);
        if (line != NULL && size < CONTROL_LINE_SIZE)
            take_line(client, line, size);
        else if (line != NULL || evbuffer_get_length(input) >= CONTROL_LINE_SIZE)
            refuse_line(client, "the request is longer than a line may be, 65536 bytes");
        else if (client->is_input_ended && evbuffer_get_length(input) > 0)
            refuse_line(client, "the request ended in the middle of its line");
        else if (client->is_input_ended)
            client_finish(client);
        else
            break;
    }
}

static void on_input(struct bufferevent *stream, void *context)
{
    (void)stream;
    take_lines(context);
}

static void on_output_taken(struct bufferevent *stream, void *context)
{
    struct client *client = context;

    (void)stream;
    if (client->state == CLIENT_FLUSHES)
        client_drop(client);
}

/* Closed on one side only, it may still read: "echo REQUEST | socat - UNIX:..." */
static bool is_gone_altogether(const struct client *client)
{
    struct pollfd poller = {.fd = client->fd};

    return poll(&poller, 1, 0) > 0 && (poller.revents & (POLLHUP | POLLERR)) != 0;
}

static void on_hang_up(evutil_socket_t fd, short what, void *context)
{
    struct client *client = context;

    (void)fd;
    (void)what;
    if (is_gone_altogether(client))
        client_drop(client);
}

/* Nothing is read any more that could tell that it goes, and with nothing to write an errand would go on for nobody. By
 * the edge, as the end of its side stays; on a descriptor of its own, as libevent has one kind for each. */
static void await_hang_up(struct client *client)
{
    client->hang_up_fd = fcntl(client->fd, F_DUPFD_CLOEXEC, 0);
    if (client->hang_up_fd < 0)
        return;
    client->hang_up =
        event_new(client->supervisor->events, client->hang_up_fd, EV_CLOSED | EV_ET | EV_PERSIST, on_hang_up, client);
    if (client->hang_up == NULL)
        abort();
    if (event_add(client->hang_up, NULL) < 0)
        stop_awaiting_hang_up(client);
}

static void on_event(struct bufferevent *stream, short what, void *context)
{
    struct client *client = context;

    (void)stream;
    if (client->state == CLIENT_GONE)
        return;
    if ((what & BEV_EVENT_EOF) == 0 || is_gone_altogether(client)) {
        client_drop(client);
        return;
    }
    if (!client->is_input_ended)
        await_hang_up(client);
    client->is_input_ended = true;
    take_lines(client);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
    struct client *client = context;

    (void)fd;
    (void)what;
    if (client->state == CLIENT_READS && evbuffer_get_length(bufferevent_get_input(client->stream)) > 0)
        refuse_line(client, "the request did not come to its end within 10 s");
    else
        client_drop(client);
}

void client_read_on(struct client *client)
{
    if (client->state == CLIENT_GONE || client->state == CLIENT_FLUSHES)
        return;
    client->state = CLIENT_READS;
    set_deadline(client, REQUEST_SECONDS);
    take_lines(client);
}

void client_retry(struct client *client)
{
    struct request request = client->deferred;

    client->deferred = (struct request){.options = NULL};
    client->state = CLIENT_READS;
    set_deadline(client, REQUEST_SECONDS);
    requests_answer(client, &request);
    request_done(&request);
    take_lines(client);
}

/* ---- life ---- */

struct client *client_new(struct supervisor *supervisor, int fd, struct caller *caller_taken)
{
    struct client *client = memory_new(sizeof *client);

    client->supervisor = supervisor;
    client->fd = fd;
    client->hang_up_fd = -1;
    client->caller = *caller_taken;
    client->stream = bufferevent_socket_new(supervisor->events, fd, 0);
    client->deadline = evtimer_new(supervisor->events, on_deadline, client);
    if (client->stream == NULL || client->deadline == NULL)
        abort();
    bufferevent_setcb(client->stream, on_input, on_output_taken, on_event, client);
    bufferevent_setwatermark(client->stream, EV_READ, 0, CONTROL_LINE_SIZE);
    bufferevent_enable(client->stream, EV_READ | EV_WRITE);
    set_deadline(client, REQUEST_SECONDS);
    return client;
}

void client_free(struct client *client)
{
    client_drop(client);
    bufferevent_free(client->stream);
    event_free(client->deadline);
    caller_done(&client->caller);
    free(client);
}
