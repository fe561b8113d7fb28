#include <string.h>

#include "jobs/exporter/server_internal.h"
#include "jobs/tls_port/process_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/text.h"

static void begin(void *owner, struct event_base *events)
{
    exporter_begin(owner, events, &exporter_usual_limits);
}

static void end(void *owner)
{
    exporter_end(owner);
}

static void end_softly(void *owner)
{
    exporter_end_softly(owner);
}

static json_t *report(const void *owner)
{
    return exporter_report(owner);
}

static void take(void *owner, const json_t *message)
{
    exporter_take(owner, message);
}

static void ask(void *context)
{
    const struct job *job = context;
    json_t *message SCOPED(scoped_json) = json_pack("{s:s}", "event", "ask");
    struct error err;

    if (!control_send(job->worker->channel, message, &err))
        log_debug("could not ask the supervisor: %s", err.message);
}

/* The files under the names that they have for a server. */
static void read_of_metrics(const struct config *config, struct port_reading *ret_reading)
{
    struct settings *view = &ret_reading->view.settings;
    const struct settings *settings = &config->settings;

    port_reading_of_daemon(config, &exporter_words, ret_reading);
    ret_reading->view.is_metrics = true;
    memcpy(view->tls_cert_file, settings->metrics_cert_file, sizeof view->tls_cert_file);
    memcpy(view->tls_key_file, settings->metrics_key_file, sizeof view->tls_key_file);
    memcpy(view->tls_ca_file, settings->metrics_ca_file, sizeof view->tls_ca_file);
    view->tls_crl_file[0] = '\0';
}

int job_exporter_main(struct job *job)
{
    const struct settings *settings = &job->config->settings;
    struct exporter exporter = {
        .host = settings->host,
        .is_https = !text_is_empty(settings->metrics_cert_file),
        .ask = ask,
        .context = job,
        .port = {.words = &exporter_words, .demands_client = !text_is_empty(settings->metrics_ca_file)}};
    struct port_reading reading;

    read_of_metrics(job->config, &reading);
    const struct port_service service = {.event = "exporter",
                                         .port = &exporter.port,
                                         .number = settings->metrics,
                                         .reading = exporter.is_https ? &reading : NULL,
                                         .owner = &exporter,
                                         .begin = begin,
                                         .end = end,
                                         .end_softly = end_softly,
                                         .report = report,
                                         .take = take};
    return port_service_run(&service, job);
}
