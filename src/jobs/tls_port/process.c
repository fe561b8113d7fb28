#include "jobs/tls_port/process_internal.h"

#include <openssl/rand.h>
#include <unistd.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/text.h"

#define REPORT_MICROSECONDS 200000
#define END_SECONDS         1 /* the supervisor kills after three */

struct process {
    const struct port_service *service;
    struct job *job;
    struct control_stream *reader; /* NULL without TLS */
    struct event_base *events;
    struct event *files, *channel, *interrupt, *report, *end;
    char since[TIMESTAMP_TEXT_SIZE];
    int status;
};

/* ---- what is told to the supervisor ---- */

static void on_report(evutil_socket_t fd, short what, void *context)
{
    struct process *process = context;
    const struct port_service *service = process->service;
    const struct settings *settings = &process->job->config->settings;
    struct error err;

    (void)fd;
    (void)what;
    json_t *data = service->report(service->owner);
    json_object_set_new(data, "since", json_string(process->since));
    json_object_set_new(data, "host", control_text(settings->host));
    json_object_set_new(data, "port", json_integer(service->number));
    json_t *message SCOPED(scoped_json) = json_pack("{s:s, s:o}", "event", service->event, "data", data);
    if (!control_send(process->job->worker->channel, message, &err))
        log_debug("could not report: %s", err.message);
}

static void report_soon(void *context)
{
    const struct timeval delay = {.tv_usec = REPORT_MICROSECONDS};
    struct process *process = context;

    if (!evtimer_pending(process->report, NULL))
        evtimer_add(process->report, &delay);
}

/* ---- what comes from elsewhere than the network ---- */

static void on_files(evutil_socket_t fd, short what, void *context)
{
    struct process *process = context;
    json_t *message SCOPED(scoped_json) = NULL;
    struct error err;

    (void)fd;
    (void)what;
    do {
        if (!control_receive(process->reader, &message, &err) || message == NULL) {
            log_warning("the process that reads %s's files has ended", process->service->port->words->owner);
            process->status = EXIT_FAILURE;
            event_base_loopbreak(process->events);
            return;
        }
        port_take_files(process->service->port, message);
        json_decref(TAKE(message));
    } while (control_stream_has_input(process->reader));
}

static void on_end(evutil_socket_t fd, short what, void *context)
{
    struct process *process = context;

    (void)fd;
    (void)what;
    event_base_loopbreak(process->events);
}

/* Told to end, or left alone: what is being said is said to its end, if that comes soon. */
static void on_interrupt(evutil_socket_t fd, short what, void *context)
{
    const struct timeval delay = {.tv_sec = END_SECONDS};
    struct process *process = context;

    (void)fd;
    (void)what;
    event_del(process->interrupt);
    event_del(process->channel);
    evtimer_add(process->end, &delay);
    process->service->end_softly(process->service->owner);
}

/* The supervisor asks for a sign of life, answers, or is gone. */
static void on_channel(evutil_socket_t fd, short what, void *context)
{
    struct process *process = context;
    const struct port_service *service = process->service;
    struct worker_context *worker = process->job->worker;
    json_t *message SCOPED(scoped_json) = NULL;
    struct error err;

    do {
        json_decref(TAKE(message));
        if (!control_receive(worker->channel, &message, &err) || message == NULL) {
            on_interrupt(fd, what, context);
            return;
        }
        if (!worker_answer_alive(worker, message, &err))
            log_debug("could not give a sign of life: %s", err.message);
        if (service->take != NULL)
            service->take(service->owner, message);
    } while (control_stream_has_input(worker->channel));
}

/* ---- beginning and end ---- */

static struct event *watch(struct process *process, int fd, event_callback_fn function)
{
    struct event *event = event_new(process->events, fd, EV_READ | EV_PERSIST, function, process);

    if (event == NULL || event_add(event, NULL) < 0)
        abort();
    return event;
}

static void begin_loop(struct process *process)
{
    const struct port_service *service = process->service;

    process->events = event_base_new();
    if (process->events == NULL)
        abort();
    if (process->reader != NULL)
        process->files = watch(process, control_stream_descriptor(process->reader), on_files);
    process->channel = watch(process, control_stream_descriptor(process->job->worker->channel), on_channel);
    process->interrupt = watch(process, process->job->worker->interrupt_fd, on_interrupt);
    process->report = evtimer_new(process->events, on_report, process);
    process->end = evtimer_new(process->events, on_end, process);
    if (process->report == NULL || process->end == NULL)
        abort();
    service->port->changed = report_soon;
    service->port->changed_context = process;
    service->begin(service->owner, process->events);
    if (service->reading == NULL)
        port_listen(service->port);
}

static void end_loop(struct process *process)
{
    struct event *const events[] = {process->files, process->channel, process->interrupt, process->report,
                                    process->end};

    process->service->end(process->service->owner);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i] != NULL)
            event_free(events[i]);
    event_base_free(process->events);
}

static bool prepare(struct process *process, struct error *err)
{
    const struct settings *settings = &process->job->config->settings;
    const struct port_service *service = process->service;
    struct port *port = service->port;
    int unwanted[PORT_MOST_SOCKETS + 2];
    size_t count = 0;

    port->least_version = settings->tls_min_version;
    port->warn_days = settings->expiry_warn_days;
    if (!port_bind(port->words, text_is_empty(settings->host) ? "localhost" : settings->host, service->number,
                   port->sockets, &port->socket_count, err))
        return false;
    if (service->reading == NULL && !port_demand_loopback(port, err))
        return false;
    for (size_t i = 0; i < port->socket_count; i++)
        unwanted[count++] = port->sockets[i];
    unwanted[count++] = control_stream_descriptor(process->job->worker->channel);
    unwanted[count] = -1;
    return service->reading == NULL || port_reader_start(service->reading, unwanted, &process->reader, err);
}

/* Whatever a library opens at its first use is opened before nothing can be opened any more. */
static bool confine(struct process *process, struct error *err)
{
    static const char *const nothing[] = {NULL};
    unsigned char byte;

    SSL_CTX *warmed_up = SSL_CTX_new(TLS_server_method());
    SSL_CTX_free(warmed_up);
    if (warmed_up == NULL || RAND_bytes(&byte, 1) != 1)
        return error_set(err, ERROR_FAILED, "could not start OpenSSL");
    if (!worker_confine(process->job->worker, nothing, nothing, err))
        return false;
    if (!worker_is_confined())
        port_warn_unconfined(process->service->port);
    return true;
}

int port_service_run(const struct port_service *service, struct job *job)
{
    struct process process = {.service = service, .job = job, .status = EXIT_SUCCESS};
    struct error failure, ignored;

    timestamp_format(clock_now(), process.since);
    if (!prepare(&process, &failure)) {
        log_failure(LOG_LEVEL_ERROR, &failure);
        if (!control_send_error(job->worker->channel, &failure, &ignored))
            log_debug("could not tell the supervisor: %s", ignored.message);
        return error_exit_status(&failure);
    }
    begin_loop(&process);
    if (confine(&process, &failure)) {
        event_base_dispatch(process.events);
    } else {
        log_failure(LOG_LEVEL_ERROR, &failure);
        process.status = error_exit_status(&failure);
    }
    end_loop(&process);
    control_stream_free(process.reader);
    /* What runs at the exit of a program (a sanitizer's search for leaks) may start processes, and none may be. */
    _exit(process.status);
}
