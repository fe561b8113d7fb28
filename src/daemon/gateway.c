#include "daemon/gateway_internal.h"

#include <string.h>

#include "daemon/backoff_internal.h"
#include "daemon/listener_internal.h"
#include "daemon/start_line_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define STOP_SECONDS     3
#define MOST_REPORT_SIZE 8192 /* it stands in a line that others read */

struct gateway {
    struct supervisor *supervisor;
    struct settings wish; /* what the worker was started with */
    struct child *child;  /* NULL between two tries, and when none is wished */
    pid_t *ended;         /* of workers whose connections may still be in the queue of the control socket */
    size_t ended_count;
    struct event *timer; /* until the next try */
    struct backoff backoff;
    bool is_ending; /* told to; a new one follows when it is wished */
    json_t *report; /* the worker's last one */
};

static bool is_wished(const struct gateway *gateway)
{
    return gateway->supervisor->config->settings.management != 0 && !gateway->supervisor->is_stopping;
}

/* In all that the worker is started with. */
static bool is_same(const struct settings *left, const struct settings *right)
{
    return left->management == right->management && strcmp(left->host, right->host) == 0 &&
           strcmp(left->tls_cert_file, right->tls_cert_file) == 0 &&
           strcmp(left->tls_key_file, right->tls_key_file) == 0 && strcmp(left->tls_ca_file, right->tls_ca_file) == 0 &&
           strcmp(left->tls_crl_file, right->tls_crl_file) == 0 &&
           strcmp(left->tls_min_version, right->tls_min_version) == 0 &&
           strcmp(left->log_level, right->log_level) == 0 && left->expiry_warn_days == right->expiry_warn_days;
}

/* ---- what is observed ---- */

static json_t *now_to_json(void)
{
    char text[TIMESTAMP_TEXT_SIZE];

    timestamp_format(clock_now(), text);
    return json_string(text);
}

static json_t *first_report(const struct settings *settings)
{
    return json_pack("{s:s, s:o, s:o, s:i, s:i, s:n, s:n, s:n}", "state", "starting", "since", now_to_json(), "host",
                     control_text(settings->host), "port", (int)settings->management, "connections", 0, "certificate",
                     "error", "warning");
}

/* The supervisor's own word, where there is no worker that could report. */
static void set_waiting(struct gateway *gateway, const struct error *failure)
{
    json_t *error = control_error_to_json(failure);

    json_object_del(error, "event");
    json_decref(gateway->report);
    gateway->report = first_report(&gateway->wish);
    json_object_set_new(gateway->report, "state", json_string("waiting"));
    json_object_set_new(gateway->report, "error", error);
}

static void take_report(struct gateway *gateway, json_t *data)
{
    if (!json_is_object(data) || json_dumpb(data, NULL, 0, JSON_COMPACT) > MOST_REPORT_SIZE)
        return;
    const char *state = json_text_or_null(data, "state");
    if (state != NULL && strcmp(state, "listening") == 0)
        backoff_reset(&gateway->backoff);
    json_decref(gateway->report);
    gateway->report = json_incref(data);
}

json_t *gateway_to_json(const struct supervisor *supervisor)
{
    const struct gateway *gateway = supervisor->gateway;

    if (gateway == NULL || supervisor->config->settings.management == 0)
        return json_null();
    return json_incref(gateway->report);
}

/* ---- the worker ---- */

static void start(struct gateway *gateway);

static void on_line(void *owner, const json_t *message)
{
    struct gateway *gateway = owner;
    const char *event = json_text_or_null(message, "event");
    struct error failure;

    if (strcmp(event, "gateway") == 0) {
        take_report(gateway, json_object_get(message, "data"));
    } else if (strcmp(event, "error") == 0) {
        control_error_from_json(message, &failure);
        set_waiting(gateway, &failure);
    }
}

static void try_later(struct gateway *gateway, const struct error *failure)
{
    struct timeval delay = {.tv_sec = backoff_next_seconds(&gateway->backoff)};

    log_warning("gateway: %s; the next try is in %ld s", failure->message, (long)delay.tv_sec);
    set_waiting(gateway, failure);
    evtimer_add(gateway->timer, &delay);
}

/* A connection that it made before its end is accepted after it, and stays the gateway's. */
static void remember_ended(struct gateway *gateway)
{
    gateway->ended = realloc(gateway->ended, (gateway->ended_count + 1) * sizeof *gateway->ended);
    if (gateway->ended == NULL)
        abort();
    gateway->ended[gateway->ended_count++] = child_pid(gateway->child);
    gateway->child = NULL;
    listener_accept_soon(gateway->supervisor->listener);
}

static void on_ended(void *owner, const struct child_end *end)
{
    struct gateway *gateway = owner;
    struct error failure;

    remember_ended(gateway);
    if (gateway->supervisor->is_stopping)
        return;
    if (gateway->is_ending) {
        gateway->is_ending = false;
        start(gateway);
        return;
    }
    error_set(&failure, ERROR_FAILED, "the gateway worker %s", end->reason);
    if (json_is_object(json_object_get(gateway->report, "error")) && !end->is_signalled)
        control_error_from_json(json_object_get(gateway->report, "error"), &failure);
    try_later(gateway, &failure);
}

/* All servers: whether their client certificates would be let in is worth a warning. */
static bool wants_all(const void *context, const struct server_config *server)
{
    (void)context;
    (void)server;
    return true;
}

static void start(struct gateway *gateway)
{
    static const struct child_handlers handlers = {.line = on_line, .ended = on_ended};
    struct supervisor *supervisor = gateway->supervisor;
    struct error err;

    if (!is_wished(gateway) || gateway->child != NULL)
        return;
    /* A further try with the same settings: why the last one failed is what is known, until this one is over. */
    json_t *last_error SCOPED(scoped_json) = is_same(&gateway->wish, &supervisor->config->settings)
                                                 ? json_incref(json_object_get(gateway->report, "error"))
                                                 : NULL;
    gateway->wish = supervisor->config->settings;
    json_decref(gateway->report);
    gateway->report = first_report(&gateway->wish);
    if (last_error != NULL)
        json_object_set(gateway->report, "error", last_error);
    json_t *line SCOPED(scoped_json) =
        start_line_to_json(&(struct start_line){.config = supervisor->config, .is_wanted = wants_all});
    if (!child_start(&supervisor->children, ROLE_gateway, -1, line, &handlers, gateway, &gateway->child, &err))
        try_later(gateway, &err);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    start(context);
}

bool gateway_is_peer(const struct supervisor *supervisor, const struct caller *caller)
{
    const struct gateway *gateway = supervisor->gateway;

    if (gateway == NULL)
        return false;
    /* Not waited for yet, its pid is nobody else's; whatever user it has become. */
    if (gateway->child != NULL && caller->pid == child_pid(gateway->child))
        return true;
    /* Another process that got such a pid meanwhile is told that it is nobody, and asks again. */
    for (size_t i = 0; i < gateway->ended_count; i++)
        if (caller->pid == gateway->ended[i])
            return true;
    return false;
}

void gateway_forget_ended(struct supervisor *supervisor)
{
    if (supervisor->gateway != NULL)
        supervisor->gateway->ended_count = 0;
}

/* ---- what is wished ---- */

static struct gateway *gateway_new(struct supervisor *supervisor)
{
    struct gateway *gateway = memory_new(sizeof *gateway);

    gateway->supervisor = supervisor;
    gateway->wish = supervisor->config->settings;
    gateway->report = first_report(&gateway->wish);
    gateway->timer = evtimer_new(supervisor->events, on_timer, gateway);
    if (gateway->timer == NULL)
        abort();
    return gateway;
}

void gateway_follow_configuration(struct supervisor *supervisor)
{
    const struct settings *settings = &supervisor->config->settings;

    if (supervisor->gateway == NULL) {
        if (settings->management == 0)
            return;
        supervisor->gateway = gateway_new(supervisor);
        start(supervisor->gateway);
        return;
    }
    struct gateway *gateway = supervisor->gateway;
    if (is_same(&gateway->wish, settings) && (gateway->child != NULL || settings->management == 0))
        return;
    log_info("gateway: %s", settings->management == 0 ? "ended, no management port is configured any more"
                                                      : "starting with the new settings");
    backoff_reset(&gateway->backoff);
    evtimer_del(gateway->timer);
    if (gateway->child == NULL) {
        start(gateway);
        return;
    }
    gateway->is_ending = true;
    child_stop(gateway->child, STOP_SECONDS);
}

void gateway_ask_alive(struct supervisor *supervisor, unsigned patience_seconds)
{
    if (supervisor->gateway != NULL && supervisor->gateway->child != NULL)
        child_ask_alive(supervisor->gateway->child, patience_seconds);
}

void gateway_free(struct supervisor *supervisor)
{
    struct gateway *gateway = supervisor->gateway;

    if (gateway == NULL)
        return;
    event_free(gateway->timer);
    json_decref(gateway->report);
    free(gateway->ended);
    free(gateway);
    supervisor->gateway = NULL;
}
