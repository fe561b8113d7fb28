#include "daemon/listener_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/client_internal.h"
#include "daemon/gateway_internal.h"
#include "daemon/rights_internal.h"
#include "daemon/sessions_internal.h"
#include "daemon/socket_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define MOST_CONNECTIONS   256
#define MOST_OF_ADMIN      128
#define MOST_OF_USER       32
#define MOST_OF_GATEWAY    128 /* all of its clients: those of this machine keep the rest */
#define QUIET_MICROSECONDS INT64_C(10000000)
#define RETRY_SECONDS      1 /* after the process ran out of descriptors */
#define ACCEPTED_AT_ONCE   16

struct listener {
    struct supervisor *supervisor;
    struct control_socket control_socket;
    struct event *ready;
    struct event *retry; /* when there was no descriptor for a connection */
    struct event *sweep;
    int64_t refusal_logged_at; /* monotonic; 0: never */
    struct client *clients[MOST_CONNECTIONS];
    size_t client_count;
};

static size_t count_connections(const struct listener *listener, uid_t uid)
{
    size_t count = sessions_count(listener->supervisor, uid);

    for (size_t i = 0; i < listener->client_count; i++)
        if (client_state(listener->clients[i]) != CLIENT_GONE && client_uid(listener->clients[i]) == uid)
            count++;
    return count;
}

/* ---- those who come ---- */

static void refuse(struct listener *listener, int fd, const struct caller *caller, size_t most, const char *of_whom)
{
    struct error failure;

    error_set(&failure, ERROR_BUSY, "there are %zu connections of %s already", most, of_whom);
    error_hint(&failure, "Close some, or try again in a moment.");
    json_t *message SCOPED(scoped_json) = control_error_to_json(&failure);
    char *line SCOPED(scoped_free) = json_to_line(message);
    size_t size = strlen(line);
    line[size] = '\n';
    if (send(fd, line, size + 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log_debug("could not tell a client why it was refused");
    /* A crowd at the door shall not fill the log. */
    if (listener->refusal_logged_at != 0 && clock_monotonic() - listener->refusal_logged_at < QUIET_MICROSECONDS)
        return;
    listener->refusal_logged_at = clock_monotonic();
    log_warning("refused a connection of %s: %s", caller->text, failure.message);
}

static bool has_room(struct listener *listener, int fd, struct caller *caller)
{
    const struct supervisor *supervisor = listener->supervisor;
    size_t mine = count_connections(listener, caller->uid);

    if (listener->client_count + sessions_count_all(supervisor) >= MOST_CONNECTIONS) {
        refuse(listener, fd, caller, MOST_CONNECTIONS, "all users");
        return false;
    }
    if (caller->is_remote) {
        if (mine >= MOST_OF_GATEWAY)
            refuse(listener, fd, caller, MOST_OF_GATEWAY, "the gateway");
        return mine < MOST_OF_GATEWAY;
    }
    if (mine < MOST_OF_USER)
        return true;
    caller_find_names(caller);
    size_t most = rights_is_admin(caller, supervisor->config, supervisor->own_uid) ? MOST_OF_ADMIN : MOST_OF_USER;
    if (mine >= most)
        refuse(listener, fd, caller, most, caller->text);
    return mine < most;
}

static void take_connection(struct listener *listener, int accepted)
{
    int fd SCOPED(scoped_close) = accepted;
    struct caller caller;
    struct error err;

    if (!caller_of_socket(fd, &caller, &err)) {
        log_failure(LOG_LEVEL_WARNING, &err);
        return;
    }
    if (gateway_is_peer(listener->supervisor, &caller))
        caller_become_remote(&caller);
    if (!has_room(listener, fd, &caller)) {
        caller_done(&caller);
        return;
    }
    listener->clients[listener->client_count++] = client_new(listener->supervisor, fd, &caller);
    fd = -1;
}

static void pause_accepting(struct listener *listener)
{
    const struct timeval delay = {.tv_sec = RETRY_SECONDS};

    log_warning("could not accept a connection: %s", strerror(errno));
    event_del(listener->ready);
    evtimer_add(listener->retry, &delay);
}

static void on_ready(evutil_socket_t fd, short what, void *context)
{
    struct listener *listener = context;

    (void)what;
    for (int i = 0; i < ACCEPTED_AT_ONCE; i++) {
        int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted >= 0)
            take_connection(listener, accepted);
        else if (errno == EAGAIN)
            gateway_forget_ended(listener->supervisor);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            pause_accepting(listener);
        if (accepted < 0)
            return;
    }
}

void listener_accept_soon(struct listener *listener)
{
    if (listener != NULL && listener->control_socket.fd >= 0)
        event_active(listener->ready, EV_READ, 0);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    struct listener *listener = context;

    (void)fd;
    (void)what;
    if (listener->control_socket.fd >= 0)
        event_add(listener->ready, NULL);
}

/* ---- those who are gone ---- */

static void on_sweep(evutil_socket_t fd, short what, void *context)
{
    struct listener *listener = context;
    size_t kept = 0;

    (void)fd;
    (void)what;
    for (size_t i = 0; i < listener->client_count; i++) {
        if (client_state(listener->clients[i]) == CLIENT_GONE)
            client_free(listener->clients[i]);
        else
            listener->clients[kept++] = listener->clients[i];
    }
    listener->client_count = kept;
}

void listener_sweep_later(struct listener *listener)
{
    event_active(listener->sweep, EV_TIMEOUT, 0);
}

/* ---- jobs ---- */

void listener_tell_followers(struct listener *listener, const struct job_entry *entry, const json_t *message)
{
    if (listener == NULL)
        return;
    for (size_t i = 0; i < listener->client_count; i++)
        if (client_state(listener->clients[i]) == CLIENT_FOLLOWS &&
            client_waits_for_job(listener->clients[i], entry->id))
            client_send(listener->clients[i], message);
}

void listener_end_followers(struct listener *listener, const struct job_entry *entry)
{
    if (listener == NULL)
        return;
    for (size_t i = 0; i < listener->client_count; i++) {
        struct client *client = listener->clients[i];
        if (!client_waits_for_job(client, entry->id))
            continue;
        if (client_state(client) == CLIENT_FOLLOWS)
            client_send(client, entry->last_word);
        else
            client_send_result(client,
                               json_pack("{s:s, s:s}", "job", entry->id, "state", job_state_word(entry->state)));
        client_read_on(client);
    }
}

static bool may_follow(struct client *client, const struct job_entry *entry, struct error *err)
{
    const struct supervisor *supervisor = client_supervisor(client);
    const struct caller *caller = client_caller(client);
    enum right right = rights_over_name(caller, supervisor->config, supervisor->own_uid, entry->server);

    return right >= commands[COMMAND_ID_follow].right ||
           rights_deny(caller, supervisor->config, COMMAND_ID_follow, entry->server, err);
}

void listener_end_forbidden(struct listener *listener)
{
    if (listener == NULL)
        return;
    for (size_t i = 0; i < listener->client_count; i++)
        for (const struct job_entry *entry = listener->supervisor->jobs.running; entry != NULL; entry = entry->next) {
            struct client *client = listener->clients[i];
            struct error failure;
            if (client_state(client) != CLIENT_FOLLOWS || !client_waits_for_job(client, entry->id) ||
                may_follow(client, entry, &failure))
                continue;
            log_info("%s follows no more: who may do what has changed", client_caller(client)->text);
            client_send_error(client, &failure);
            client_finish(client);
        }
}

void listener_retry_deferred(struct listener *listener, const char *server)
{
    if (listener == NULL)
        return;
    for (size_t i = 0; i < listener->client_count; i++)
        if (client_is_deferred(listener->clients[i], server))
            client_retry(listener->clients[i]);
}

void listener_retry_command(struct listener *listener, enum command_id command)
{
    if (listener == NULL)
        return;
    for (size_t i = 0; i < listener->client_count; i++)
        if (client_defers(listener->clients[i], command))
            client_retry(listener->clients[i]);
}

/* ---- life ---- */

bool listener_open(struct supervisor *supervisor, struct listener **ret_listener, struct error *err)
{
    struct listener *listener = memory_new(sizeof *listener);

    listener->supervisor = supervisor;
    if (!control_socket_open(supervisor->config->settings.unix_socket_dir, &listener->control_socket, err)) {
        free(listener);
        return false;
    }
    listener->ready =
        event_new(supervisor->events, listener->control_socket.fd, EV_READ | EV_PERSIST, on_ready, listener);
    listener->retry = evtimer_new(supervisor->events, on_retry, listener);
    listener->sweep = event_new(supervisor->events, -1, 0, on_sweep, listener);
    if (listener->ready == NULL || listener->retry == NULL || listener->sweep == NULL ||
        event_add(listener->ready, NULL) < 0)
        abort();
    *ret_listener = listener;
    return true;
}

void listener_close(struct listener *listener)
{
    event_del(listener->ready);
    event_del(listener->retry);
    control_socket_close(&listener->control_socket);
}

void listener_free(struct listener *listener)
{
    if (listener == NULL)
        return;
    listener_close(listener);
    for (size_t i = 0; i < listener->client_count; i++)
        client_free(listener->clients[i]);
    event_free(listener->ready);
    event_free(listener->retry);
    event_free(listener->sweep);
    free(listener);
}
