#include "daemon/port_worker_internal.h"

#include <string.h>

#include "daemon/backoff_internal.h"
#include "daemon/start_line_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define STOP_SECONDS     3
#define MOST_REPORT_SIZE 8192 /* it stands in a line that others read */

struct port_worker {
    const struct port_worker_kind *kind;
    struct supervisor *supervisor;
    struct settings wish; /* what the worker was started with */
    struct child *child;  /* NULL between two tries, and when none is wished */
    struct event *timer;  /* until the next try */
    struct backoff backoff;
    bool is_ending; /* told to; a new one follows when it is wished */
    json_t *report; /* the worker's last one */
    struct worker_counts counts;
};

static bool is_wished(const struct port_worker *worker)
{
    return worker->kind->number(&worker->supervisor->config->settings) != 0 && !worker->supervisor->is_stopping;
}

/* In all that the worker is started with. */
static bool is_same(const struct port_worker_kind *kind, const struct settings *left, const struct settings *right)
{
    return kind->number(left) == kind->number(right) && strcmp(left->host, right->host) == 0 &&
           strcmp(left->tls_min_version, right->tls_min_version) == 0 &&
           strcmp(left->log_level, right->log_level) == 0 && left->expiry_warn_days == right->expiry_warn_days &&
           kind->has_same_files(left, right);
}

/* ---- what is observed ---- */

static json_t *first_report(const struct port_worker *worker)
{
    json_t *report =
        json_pack("{s:s, s:o, s:o, s:i, s:i, s:n, s:n, s:n}", "state", "starting", "since", json_time(clock_now()),
                  "host", control_text(worker->wish.host), "port", (int)worker->kind->number(&worker->wish),
                  "connections", 0, "certificate", "error", "warning");

    if (worker->kind->add_to_report != NULL)
        worker->kind->add_to_report(report, &worker->wish);
    return report;
}

/* The supervisor's own word, where there is no worker that could report. */
static void set_waiting(struct port_worker *worker, const struct error *failure)
{
    json_decref(worker->report);
    worker->report = first_report(worker);
    json_object_set_new(worker->report, "state", json_string("waiting"));
    json_object_set_new(worker->report, "error", control_failure_to_json(failure));
}

static void take_report(struct port_worker *worker, json_t *data)
{
    if (!json_is_object(data) || json_dumpb(data, NULL, 0, JSON_COMPACT) > MOST_REPORT_SIZE)
        return;
    if (json_text_is(data, "state", "listening"))
        backoff_reset(&worker->backoff);
    if (worker->child != NULL)
        worker_counts_take(&worker->counts, child_pid(worker->child), data);
    json_decref(worker->report);
    worker->report = json_incref(data);
}

json_t *port_worker_to_json(const struct port_worker *worker)
{
    if (worker == NULL || worker->kind->number(&worker->supervisor->config->settings) == 0)
        return json_null();
    json_t *report = json_copy(worker->report);
    json_object_set_new(report, "handshakes", worker_counts_handshakes(&worker->counts));
    return report;
}

struct child *port_worker_child(const struct port_worker *worker)
{
    return worker == NULL ? NULL : worker->child;
}

/* ---- the worker ---- */

static void start(struct port_worker *worker);

static void on_line(void *owner, const json_t *message)
{
    struct port_worker *worker = owner;
    const char *event = json_text_or_null(message, "event");
    struct error failure;

    if (strcmp(event, worker->kind->name) == 0) {
        take_report(worker, json_object_get(message, "data"));
    } else if (strcmp(event, "error") == 0) {
        control_error_from_json(message, &failure);
        set_waiting(worker, &failure);
    } else if (worker->kind->line != NULL) {
        worker->kind->line(worker->supervisor, message);
    }
}

static void try_later(struct port_worker *worker, const struct error *failure)
{
    struct timeval delay = {.tv_sec = backoff_next_seconds(&worker->backoff)};

    log_warning("%s: %s; the next try is in %ld s", worker->kind->name, failure->message, (long)delay.tv_sec);
    set_waiting(worker, failure);
    evtimer_add(worker->timer, &delay);
}

static void on_ended(void *owner, const struct child_end *end)
{
    struct port_worker *worker = owner;
    pid_t pid = child_pid(worker->child);
    struct error failure;

    worker->child = NULL;
    if (worker->kind->ended != NULL)
        worker->kind->ended(worker->supervisor, pid);
    if (worker->supervisor->is_stopping)
        return;
    if (worker->is_ending) {
        worker->is_ending = false;
        start(worker);
        return;
    }
    child_end_to_error(end, worker->kind->name, worker->report, &failure);
    try_later(worker, &failure);
}

static void start(struct port_worker *worker)
{
    static const struct child_handlers handlers = {.line = on_line, .ended = on_ended};
    struct supervisor *supervisor = worker->supervisor;
    const struct port_worker_kind *kind = worker->kind;
    struct error err;

    if (!is_wished(worker) || worker->child != NULL)
        return;
    /* A further try with the same settings: why the last one failed is what is known, until this one is over. */
    json_t *last_error SCOPED(scoped_json) = is_same(kind, &worker->wish, &supervisor->config->settings)
                                                 ? json_incref(json_object_get(worker->report, "error"))
                                                 : NULL;
    worker->wish = supervisor->config->settings;
    json_decref(worker->report);
    worker->report = first_report(worker);
    if (last_error != NULL)
        json_object_set(worker->report, "error", last_error);
    json_t *line SCOPED(scoped_json) =
        start_line_to_json(&(struct start_line){.config = supervisor->config, .is_wanted = kind->is_wanted});
    if (!child_start(&supervisor->children, kind->role, -1, line, &handlers, worker, &worker->child, &err))
        try_later(worker, &err);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    start(context);
}

/* ---- what is wished ---- */

static struct port_worker *worker_new(const struct port_worker_kind *kind, struct supervisor *supervisor)
{
    struct port_worker *worker = memory_new(sizeof *worker);

    worker->kind = kind;
    worker->supervisor = supervisor;
    worker->wish = supervisor->config->settings;
    worker->report = first_report(worker);
    worker->timer = evtimer_new(supervisor->events, on_timer, worker);
    if (worker->timer == NULL)
        abort();
    return worker;
}

void port_worker_follow_configuration(struct port_worker **place, const struct port_worker_kind *kind,
                                      struct supervisor *supervisor)
{
    const struct settings *settings = &supervisor->config->settings;
    struct port_worker *worker = *place;

    if (worker == NULL) {
        if (kind->number(settings) == 0)
            return;
        *place = worker_new(kind, supervisor);
        start(*place);
        return;
    }
    if (is_same(kind, &worker->wish, settings) && (worker->child != NULL || kind->number(settings) == 0))
        return;
    if (kind->number(settings) == 0)
        log_info("%s: ended, no %s port is configured any more", kind->name, kind->number_name);
    else
        log_info("%s: starting with the new settings", kind->name);
    backoff_reset(&worker->backoff);
    evtimer_del(worker->timer);
    if (worker->child == NULL) {
        start(worker);
        return;
    }
    worker->is_ending = true;
    child_stop(worker->child, STOP_SECONDS);
}

void port_worker_ask_alive(const struct port_worker *worker, unsigned patience_seconds)
{
    if (worker != NULL && worker->child != NULL)
        child_ask_alive(worker->child, patience_seconds);
}

void port_worker_free(struct port_worker *worker)
{
    if (worker == NULL)
        return;
    event_free(worker->timer);
    json_decref(worker->report);
    free(worker);
}
