#include <openssl/rand.h>
#include <string.h>
#include <unistd.h>

#include "jobs/gateway/gateway_internal.h"
#include "jobs/gateway/reader_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/jobs.h"

#define REPORT_MICROSECONDS 200000
#define END_SECONDS         1 /* the supervisor kills after three */

struct gateway_job {
    struct job *job;
    struct gateway gateway;
    struct control_stream *reader;
    struct event_base *events;
    struct event *files, *channel, *interrupt, *report, *end;
    char since[TIMESTAMP_TEXT_SIZE];
    int status;
};

/* ---- what is told to the supervisor ---- */

static void on_report(evutil_socket_t fd, short what, void *context)
{
    struct gateway_job *own = context;
    const struct settings *settings = &own->job->config->settings;
    struct error err;

    (void)fd;
    (void)what;
    json_t *data = gateway_report(&own->gateway);
    json_object_set_new(data, "since", json_string(own->since));
    json_object_set_new(data, "host", control_text(settings->host));
    json_object_set_new(data, "port", json_integer(settings->management));
    json_t *message SCOPED(scoped_json) = json_pack("{s:s, s:o}", "event", "gateway", "data", data);
    if (!control_send(own->job->worker->channel, message, &err))
        log_debug("could not report: %s", err.message);
}

static void report_soon(struct gateway *gateway)
{
    const struct timeval delay = {.tv_usec = REPORT_MICROSECONDS};
    struct gateway_job *own = gateway->context;

    if (!evtimer_pending(own->report, NULL))
        evtimer_add(own->report, &delay);
}

/* ---- what comes from elsewhere than the network ---- */

static void on_files(evutil_socket_t fd, short what, void *context)
{
    struct gateway_job *own = context;
    json_t *message SCOPED(scoped_json) = NULL;
    struct error err;

    (void)fd;
    (void)what;
    do {
        if (!control_receive(own->reader, &message, &err) || message == NULL) {
            log_warning("the process that reads the gateway's files has ended");
            own->status = EXIT_FAILURE;
            event_base_loopbreak(own->events);
            return;
        }
        gateway_take_files(&own->gateway, message);
        json_decref(TAKE(message));
    } while (control_stream_has_input(own->reader));
}

static void on_end(evutil_socket_t fd, short what, void *context)
{
    struct gateway_job *own = context;

    (void)fd;
    (void)what;
    event_base_loopbreak(own->events);
}

/* Told to end, or left alone: what is being said is said to its end, if that comes soon. */
static void on_interrupt(evutil_socket_t fd, short what, void *context)
{
    const struct timeval delay = {.tv_sec = END_SECONDS};
    struct gateway_job *own = context;

    (void)fd;
    (void)what;
    event_del(own->interrupt);
    event_del(own->channel);
    evtimer_add(own->end, &delay);
    gateway_end_softly(&own->gateway);
}

/* The supervisor asks for a sign of life, or is gone. */
static void on_channel(evutil_socket_t fd, short what, void *context)
{
    struct gateway_job *own = context;
    struct control_stream *channel = own->job->worker->channel;
    json_t *message SCOPED(scoped_json) = NULL;
    struct error err;

    do {
        json_decref(TAKE(message));
        if (!control_receive(channel, &message, &err) || message == NULL) {
            on_interrupt(fd, what, context);
            return;
        }
        if (!worker_answer_alive(own->job->worker, message, &err))
            log_debug("could not give a sign of life: %s", err.message);
    } while (control_stream_has_input(channel));
}

/* ---- beginning and end ---- */

static struct event *watch(struct gateway_job *own, int fd, event_callback_fn function)
{
    struct event *event = event_new(own->events, fd, EV_READ | EV_PERSIST, function, own);

    if (event == NULL || event_add(event, NULL) < 0)
        abort();
    return event;
}

static void begin_loop(struct gateway_job *own)
{
    own->events = event_base_new();
    if (own->events == NULL)
        abort();
    own->files = watch(own, control_stream_descriptor(own->reader), on_files);
    own->channel = watch(own, control_stream_descriptor(own->job->worker->channel), on_channel);
    own->interrupt = watch(own, own->job->worker->interrupt_fd, on_interrupt);
    own->report = evtimer_new(own->events, on_report, own);
    own->end = evtimer_new(own->events, on_end, own);
    if (own->report == NULL || own->end == NULL)
        abort();
    gateway_begin(&own->gateway, own->events, &gateway_usual_limits);
}

static void end_loop(struct gateway_job *own)
{
    struct event *const events[] = {own->files, own->channel, own->interrupt, own->report, own->end};

    gateway_end(&own->gateway);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        event_free(events[i]);
    event_base_free(own->events);
}

static bool prepare(struct gateway_job *own, struct error *err)
{
    const struct settings *settings = &own->job->config->settings;
    struct gateway *gateway = &own->gateway;
    int unwanted[GATEWAY_MOST_SOCKETS + 2];
    size_t count = 0;

    snprintf(gateway->socket_path, sizeof gateway->socket_path, "%s/pgcoffer.sock", settings->unix_socket_dir);
    gateway->least_version = settings->tls_min_version;
    gateway->warn_days = settings->expiry_warn_days;
    gateway->changed = report_soon;
    gateway->context = own;
    if (!gateway_bind(text_is_empty(settings->host) ? "localhost" : settings->host, settings->management,
                      gateway->sockets, &gateway->socket_count, err))
        return false;
    for (size_t i = 0; i < gateway->socket_count; i++)
        unwanted[count++] = gateway->sockets[i];
    unwanted[count++] = control_stream_descriptor(own->job->worker->channel);
    unwanted[count] = -1;
    return gateway_reader_start(own->job->config, unwanted, &own->reader, err);
}

/* Whatever a library opens at its first use is opened before nothing can be opened any more. */
static bool confine(struct gateway_job *own, struct error *err)
{
    static const char *const nothing[] = {NULL};
    unsigned char byte;

    SSL_CTX *warmed_up = SSL_CTX_new(TLS_server_method());
    SSL_CTX_free(warmed_up);
    if (warmed_up == NULL || RAND_bytes(&byte, 1) != 1)
        return error_set(err, ERROR_FAILED, "could not start OpenSSL");
    if (!worker_confine(own->job->worker, nothing, nothing, err))
        return false;
    if (!worker_is_confined())
        gateway_warn_unconfined(&own->gateway);
    return true;
}

int job_gateway_main(struct job *job)
{
    struct gateway_job own = {.job = job, .status = EXIT_SUCCESS};
    struct error failure, ignored;

    timestamp_format(clock_now(), own.since);
    if (!prepare(&own, &failure)) {
        log_failure(LOG_LEVEL_ERROR, &failure);
        if (!control_send_error(job->worker->channel, &failure, &ignored))
            log_debug("could not tell the supervisor: %s", ignored.message);
        return error_exit_status(&failure);
    }
    begin_loop(&own);
    if (confine(&own, &failure)) {
        event_base_dispatch(own.events);
    } else {
        log_failure(LOG_LEVEL_ERROR, &failure);
        own.status = error_exit_status(&failure);
    }
    end_loop(&own);
    control_stream_free(own.reader);
    /* What runs at the exit of a program (a sanitizer's search for leaks) may start processes, and none may be. */
    _exit(own.status);
}
