#include "daemon/receivers_internal.h"

#include <string.h>

#include "daemon/jobs_internal.h"
#include "daemon/receiver_internal.h"
#include "daemon/start_line_internal.h"
#include "daemon/surveys_internal.h"
#include "daemon/wish_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define STOP_SECONDS      3
#define PREPARING_SECONDS 3600

struct receiver *receiver_find(const struct supervisor *supervisor, const char *name)
{
    for (struct receiver *receiver = supervisor->receivers; receiver != NULL; receiver = receiver->next)
        if (!receiver->is_removed && strcmp(receiver->name, name) == 0)
            return receiver;
    return NULL;
}

/* ---- the worker ---- */

static void start(struct receiver *receiver);

static void on_line(void *owner, const json_t *message)
{
    struct receiver *receiver = owner;
    const char *event = json_text_or_null(message, "event");
    struct error failure;

    if (strcmp(event, "receiver") == 0) {
        receiver_take_report(receiver, json_object_get(message, "data"));
    } else if (strcmp(event, "error") == 0) {
        control_error_from_json(message, &failure);
        receiver_set_state(receiver, "waiting", &failure);
    }
}

static void free_receiver(struct receiver *receiver)
{
    if (receiver->timer != NULL)
        event_free(receiver->timer);
    json_decref(receiver->report);
    json_decref(receiver->runs);
    json_decref(receiver->survey.data);
    json_decref(receiver->survey.error);
    json_decref(receiver->survey.complete);
    free(receiver);
}

static void remove_receiver(struct receiver *receiver)
{
    struct receiver **at = &receiver->supervisor->receivers;

    while (*at != receiver)
        at = &(*at)->next;
    *at = receiver->next;
    free_receiver(receiver);
}

static void try_later(struct receiver *receiver, const struct error *failure)
{
    struct timeval delay = {.tv_sec = backoff_next_seconds(&receiver->backoff)};

    log_warning("receiver of \"%s\": %s; the next try is in %ld s", receiver->name, failure->message,
                (long)delay.tv_sec);
    receiver_set_state(receiver, "waiting", failure);
    evtimer_add(receiver->timer, &delay);
}

static void on_ended(void *owner, const struct child_end *end)
{
    struct receiver *receiver = owner;
    struct error failure;

    receiver->child = NULL;
    if (receiver->hold == HOLD_DURING_DROP) {
        receiver_set_state(receiver, "stopped", NULL);
        jobs_begin_drop(receiver->supervisor, receiver->name);
        if (!receiver->is_removed)
            return;
    }
    if (receiver->supervisor->is_stopping)
        return;
    if (receiver->is_removed) {
        remove_receiver(receiver);
        return;
    }
    if (receiver->is_restarting) {
        start(receiver);
        return;
    }
    child_end_to_error(end, "receive", receiver->report, &failure);
    try_later(receiver, &failure);
}

static void start(struct receiver *receiver)
{
    static const struct child_handlers handlers = {.line = on_line, .ended = on_ended};
    struct supervisor *supervisor = receiver->supervisor;
    const struct server_config *server;
    struct error err;

    receiver->is_restarting = false;
    if (supervisor->is_stopping)
        return;
    if (!config_find_server(supervisor->config, receiver->name, &server, &err))
        return;
    receiver->wish = *server;
    json_t *line SCOPED(scoped_json) = start_line_to_json(&(struct start_line){.config = supervisor->config,
                                                                               .is_wanted = start_line_wants_one,
                                                                               .context = receiver->name,
                                                                               .server = receiver->name});
    if (!child_start(&supervisor->children, ROLE_receive, -1, line, &handlers, receiver, &receiver->child, &err))
        try_later(receiver, &err);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    start(context);
}

static void add(struct supervisor *supervisor, const struct server_config *server)
{
    struct receiver *receiver = memory_new(sizeof *receiver);
    struct receiver **at = &supervisor->receivers;

    receiver->supervisor = supervisor;
    receiver->wish = *server;
    snprintf(receiver->name, sizeof receiver->name, "%s", server->name);
    receiver->report = receiver_first_report(receiver);
    receiver->timer = evtimer_new(supervisor->events, on_timer, receiver);
    if (receiver->timer == NULL)
        abort();
    while (*at != NULL)
        at = &(*at)->next;
    *at = receiver;
    start(receiver);
}

/* ---- what is wished ---- */

void receivers_start(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->config->server_count; i++)
        add(supervisor, &supervisor->config->servers[i]);
    receivers_update_status(supervisor);
}

static void restart(struct receiver *receiver)
{
    log_info("receiver of \"%s\": starting again with the new settings", receiver->name);
    backoff_reset(&receiver->backoff);
    evtimer_del(receiver->timer);
    if (receiver->hold == HOLD_DURING_DROP) {
        receiver->is_restarting = true;
        return;
    }
    receiver->hold = HOLD_NONE;
    if (receiver->child == NULL) {
        start(receiver);
        return;
    }
    receiver->is_restarting = true;
    child_stop(receiver->child, STOP_SECONDS);
}

static void follow_removal(struct receiver *receiver)
{
    log_info("receiver of \"%s\": ended, the server is no longer in the configuration", receiver->name);
    receiver->is_removed = true;
    if (receiver->child == NULL)
        remove_receiver(receiver);
    else
        child_stop(receiver->child, STOP_SECONDS);
}

void receivers_follow_configuration(struct supervisor *supervisor, bool is_restart_of_all_needed)
{
    struct receiver *receiver = supervisor->receivers;

    while (receiver != NULL) {
        struct receiver *next = receiver->next;
        const struct server_config *server;
        struct error err;
        if (receiver->is_removed) {
            receiver = next;
            continue;
        }
        if (!config_find_server(supervisor->config, receiver->name, &server, &err))
            follow_removal(receiver);
        else if (!wish_is_same(&receiver->wish.settings, &server->settings) ||
                 (is_restart_of_all_needed && receiver->hold == HOLD_NONE))
            restart(receiver);
        receiver = next;
    }
    for (size_t i = 0; i < supervisor->config->server_count; i++)
        if (receiver_find(supervisor, supervisor->config->servers[i].name) == NULL) {
            jobs_start_resume(supervisor, supervisor->config->servers[i].name);
            add(supervisor, &supervisor->config->servers[i]);
            surveys_want(supervisor, supervisor->config->servers[i].name);
        }
    receivers_update_status(supervisor);
}

void receivers_look(struct supervisor *supervisor)
{
    json_t *line SCOPED(scoped_json) = json_pack("{s:s}", "event", "look");

    for (struct receiver *receiver = supervisor->receivers; receiver != NULL; receiver = receiver->next)
        if (receiver->child != NULL && !receiver->is_restarting && !receiver->is_removed)
            child_send(receiver->child, line);
}

void receivers_tell_verified(struct supervisor *supervisor, const char *server)
{
    json_t *line SCOPED(scoped_json) = json_pack("{s:s}", "event", "verified");

    for (struct receiver *receiver = supervisor->receivers; receiver != NULL; receiver = receiver->next)
        if (receiver->child != NULL && !receiver->is_restarting && !receiver->is_removed &&
            (server[0] == '\0' || strcmp(receiver->name, server) == 0))
            child_send(receiver->child, line);
}

/* Before it streams it puts in order what a crash left, and its hosts may take all their time to answer. */
static unsigned patience_with(const struct receiver *receiver, unsigned usual_seconds)
{
    const char *state = json_text_or_null(receiver->report, "state");
    unsigned connecting = (unsigned)receiver->wish.settings.connect_timeout * CONFIG_MOST_HOSTS;

    if (state == NULL || strcmp(state, "starting") == 0 || strcmp(state, "connecting") == 0)
        return PREPARING_SECONDS + connecting + usual_seconds;
    return usual_seconds;
}

void receivers_ask_alive(struct supervisor *supervisor, unsigned patience_seconds)
{
    for (struct receiver *receiver = supervisor->receivers; receiver != NULL; receiver = receiver->next)
        if (receiver->child != NULL)
            child_ask_alive(receiver->child, patience_with(receiver, patience_seconds));
}

/* ---- the slot is dropped ---- */

bool receivers_hold(struct supervisor *supervisor, const char *server)
{
    struct receiver *receiver = receiver_find(supervisor, server);

    if (receiver == NULL || receiver->hold == HOLD_STOPPED)
        return true;
    receiver->hold = HOLD_DURING_DROP;
    evtimer_del(receiver->timer);
    if (receiver->child == NULL)
        return true;
    child_stop(receiver->child, STOP_SECONDS);
    return false;
}

static void resume(struct receiver *receiver)
{
    receiver->hold = HOLD_NONE;
    backoff_reset(&receiver->backoff);
    receiver_set_state(receiver, "starting", NULL);
    start(receiver);
}

void receivers_end_hold(struct supervisor *supervisor, const char *server, const char *dropped_by)
{
    struct receiver *receiver = receiver_find(supervisor, server);
    struct error notice;

    if (receiver == NULL || receiver->hold != HOLD_DURING_DROP)
        return;
    if (dropped_by == NULL || receiver->is_restarting) {
        resume(receiver);
        return;
    }
    receiver->hold = HOLD_STOPPED;
    error_set(&notice, ERROR_FAILED, "no WAL is received: replication slot \"%s\" was dropped by %s",
              receiver->wish.settings.wal_slot, dropped_by);
    error_hint(&notice,
               "\"pgcoffer slot create %s\" begins again; for a server that is given up, remove [%s] from the "
               "configuration and give \"pgcoffer reload\".",
               server, server);
    log_info("receiver of \"%s\": stopped, %s dropped its replication slot", receiver->name, dropped_by);
    receiver_set_state(receiver, "stopped", &notice);
}

void receivers_resume(struct supervisor *supervisor, const char *server)
{
    struct receiver *receiver = receiver_find(supervisor, server);

    if (receiver == NULL || receiver->hold != HOLD_STOPPED)
        return;
    log_info("receiver of \"%s\": starting again, it has a replication slot", receiver->name);
    resume(receiver);
}

bool receivers_demand_not_stopped(const struct supervisor *supervisor, const char *server, struct error *err)
{
    const struct receiver *receiver = receiver_find(supervisor, server);

    if (receiver == NULL || receiver->hold != HOLD_STOPPED)
        return true;
    control_error_from_json(json_object_get(receiver->report, "error"), err);
    return error_wrap(err, "a backup needs its WAL");
}

void receivers_free(struct supervisor *supervisor)
{
    while (supervisor->receivers != NULL)
        remove_receiver(supervisor->receivers);
}
