#include "daemon/exporter_internal.h"

#include <string.h>

#include "daemon/answers_internal.h"
#include "daemon/port_worker_internal.h"
#include "daemon/receivers_internal.h"
#include "daemon/surveys_internal.h"
#include "pgcoffer/base/memory.h"

#define LOOK_SECONDS 60

struct exporter {
    struct supervisor *supervisor;
    struct port_worker *worker;
    struct event *answer; /* when a question waits for the end of the pause */
    int64_t answered_at;  /* monotonic */
    struct event *look;   /* whether what is held has become old; while there is a port */
};

/* ---- what it is told ---- */

static void tell(struct child *child, const char *event, json_t *data_stolen)
{
    json_t *message SCOPED(scoped_json) = json_pack("{s:s, s:o}", "event", event, "data", data_stolen);

    child_send(child, message);
}

static void tell_jobs(struct child *child, const char *name, const struct job_entry *first)
{
    for (const struct job_entry *entry = first; entry != NULL; entry = entry->next)
        tell(child, "item", json_pack("{s:o}", name, job_entry_to_json(entry)));
}

/* In pieces, so that no number of servers makes a line too long. */
static void tell_state(const struct supervisor *supervisor, struct child *child)
{
    const struct config *config = supervisor->config;

    for (size_t i = 0; i < config->server_count; i++)
        tell(child, "item",
             json_pack("{s:o}", "server", receivers_server_to_json(supervisor, config->servers[i].name)));
    tell_jobs(child, "job", supervisor->jobs.running);
    tell_jobs(child, "recent", supervisor->jobs.ended);
    json_t *rest = answers_daemon_to_json(supervisor);
    json_object_set_new(rest, "now", json_time(clock_now()));
    json_object_set_new(rest, "counts", counts_to_json(&supervisor->counts));
    tell(child, "state", rest);
}

/* One that has not taken what it was told is not told more before it has. */
static void on_answer_due(evutil_socket_t fd, short what, void *context)
{
    const struct timeval pause = {.tv_usec = INT64_C(1000) * EXPORTER_PAUSE_MILLISECONDS};
    struct exporter *exporter = context;
    struct child *child = port_worker_child(exporter->worker);

    (void)fd;
    (void)what;
    if (child == NULL || exporter->supervisor->is_stopping)
        return;
    if (child_has_unsent(child)) {
        evtimer_add(exporter->answer, &pause);
        return;
    }
    exporter->answered_at = clock_monotonic();
    tell_state(exporter->supervisor, child);
}

static void on_line(struct supervisor *supervisor, const json_t *message)
{
    struct exporter *exporter = supervisor->exporter;
    int64_t left = exporter->answered_at + INT64_C(1000) * EXPORTER_PAUSE_MILLISECONDS - clock_monotonic();

    if (strcmp(json_text_or_null(message, "event"), "ask") != 0 || evtimer_pending(exporter->answer, NULL))
        return;
    const struct timeval delay = {.tv_usec = left > 0 ? left : 0};
    evtimer_add(exporter->answer, &delay);
}

/* ---- what is held is looked at again ---- */

static void on_look(evutil_socket_t fd, short what, void *context)
{
    struct exporter *exporter = context;

    (void)fd;
    (void)what;
    surveys_want_old(exporter->supervisor, SURVEY_KEPT_SECONDS);
}

static void follow_with_looks(struct exporter *exporter)
{
    const struct timeval period = {.tv_sec = LOOK_SECONDS};

    if (exporter->supervisor->config->settings.metrics == 0)
        event_del(exporter->look);
    else if (!event_pending(exporter->look, EV_TIMEOUT, NULL))
        event_add(exporter->look, &period);
}

/* ---- the worker ---- */

static long number(const struct settings *settings)
{
    return settings->metrics;
}

static bool has_same_files(const struct settings *left, const struct settings *right)
{
    return strcmp(left->metrics_cert_file, right->metrics_cert_file) == 0 &&
           strcmp(left->metrics_key_file, right->metrics_key_file) == 0 &&
           strcmp(left->metrics_ca_file, right->metrics_ca_file) == 0;
}

/* What it shows of servers it is told, and needs none of their settings. */
static bool wants_none(const void *context, const struct server_config *server)
{
    (void)context;
    (void)server;
    return false;
}

static void add_to_report(json_t *report, const struct settings *settings)
{
    json_object_set_new(report, "https", json_boolean(settings->metrics_cert_file[0] != '\0'));
    json_object_set_new(report, "client_certificates", json_boolean(settings->metrics_ca_file[0] != '\0'));
}

json_t *exporter_to_json(const struct supervisor *supervisor)
{
    return port_worker_to_json(supervisor->exporter == NULL ? NULL : supervisor->exporter->worker);
}

static struct exporter *exporter_new(struct supervisor *supervisor)
{
    struct exporter *exporter = memory_new(sizeof *exporter);

    exporter->supervisor = supervisor;
    exporter->answer = evtimer_new(supervisor->events, on_answer_due, exporter);
    exporter->look = event_new(supervisor->events, -1, EV_PERSIST, on_look, exporter);
    if (exporter->answer == NULL || exporter->look == NULL)
        abort();
    return exporter;
}

void exporter_follow_configuration(struct supervisor *supervisor)
{
    static const struct port_worker_kind kind = {.name = "exporter",
                                                 .role = ROLE_exporter,
                                                 .number_name = "metrics",
                                                 .number = number,
                                                 .has_same_files = has_same_files,
                                                 .is_wanted = wants_none,
                                                 .add_to_report = add_to_report,
                                                 .line = on_line};

    if (supervisor->exporter == NULL && supervisor->config->settings.metrics == 0)
        return;
    if (supervisor->exporter == NULL)
        supervisor->exporter = exporter_new(supervisor);
    port_worker_follow_configuration(&supervisor->exporter->worker, &kind, supervisor);
    follow_with_looks(supervisor->exporter);
}

void exporter_ask_alive(struct supervisor *supervisor, unsigned patience_seconds)
{
    if (supervisor->exporter != NULL)
        port_worker_ask_alive(supervisor->exporter->worker, patience_seconds);
}

void exporter_free(struct supervisor *supervisor)
{
    struct exporter *exporter = supervisor->exporter;

    if (exporter == NULL)
        return;
    port_worker_free(exporter->worker);
    event_free(exporter->answer);
    event_free(exporter->look);
    free(exporter);
    supervisor->exporter = NULL;
}
