#include "jobs/gateway/gateway_internal.h"
#include "jobs/gateway/kinship_internal.h"
#include "jobs/tls_port/process_internal.h"

static void begin(void *owner, struct event_base *events)
{
    gateway_begin(owner, events, &gateway_usual_limits);
}

static void end(void *owner)
{
    gateway_end(owner);
}

static void end_softly(void *owner)
{
    gateway_end_softly(owner);
}

static json_t *report(const void *owner)
{
    const struct gateway *gateway = owner;

    return port_report(&gateway->port, gateway->connection_count);
}

int job_gateway_main(struct job *job)
{
    const struct settings *settings = &job->config->settings;
    struct gateway gateway = {.port.words = &gateway_words};
    struct port_reading reading;

    port_reading_of_daemon(job->config, &gateway_words, &reading);
    reading.find_warning = kinship_find;
    snprintf(gateway.socket_path, sizeof gateway.socket_path, "%s/pgcoffer.sock", settings->unix_socket_dir);
    const struct port_service service = {.event = "gateway",
                                         .port = &gateway.port,
                                         .number = settings->management,
                                         .reading = &reading,
                                         .owner = &gateway,
                                         .begin = begin,
                                         .end = end,
                                         .end_softly = end_softly,
                                         .report = report};
    return port_service_run(&service, job);
}
