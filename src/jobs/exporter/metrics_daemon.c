#include "jobs/exporter/metrics_internal.h"

/* Figures of the daemon itself, and of its certificates and those that it meets. */

static const json_t *counts(const struct scrape *scrape, const char *name)
{
    return json_object_get(json_object_get(scrape->state, "counts"), name);
}

void metric_pgcoffer_build_info(struct scrape *scrape, const json_t *server)
{
    const char *version = json_text_or_null(scrape->state, "version");

    (void)server;
    if (version != NULL)
        scrape_sample_with(scrape, version, NULL, 1);
}

void metric_pgcoffer_config_last_reload_successful(struct scrape *scrape, const json_t *server)
{
    (void)server;
    scrape_boolean(scrape, counts(scrape, "reload"), "good");
}

void metric_pgcoffer_config_last_reload_timestamp_seconds(struct scrape *scrape, const json_t *server)
{
    (void)server;
    scrape_time(scrape, counts(scrape, "reload"), "at");
}

void metric_process_start_time_seconds(struct scrape *scrape, const json_t *server)
{
    (void)server;
    scrape_time(scrape, scrape->state, "started_at");
}

void metric_process_cpu_seconds_total(struct scrape *scrape, const json_t *server)
{
    (void)server;
    scrape_number(scrape, counts(scrape, "process"), "cpu_seconds");
}

void metric_process_resident_memory_bytes(struct scrape *scrape, const json_t *server)
{
    (void)server;
    scrape_number(scrape, counts(scrape, "process"), "resident_bytes");
}

/* ---- TLS ---- */

void metric_pgcoffer_tls_certificate_not_after_timestamp_seconds(struct scrape *scrape, const json_t *server)
{
    const json_t *receiver = json_object_get(server, "receiver");
    const json_t *gateway = json_object_get(scrape->state, "gateway");
    const json_t *exporter = json_object_get(scrape->state, "exporter");

    if (server != NULL) {
        scrape_time_with(scrape, "client", json_object_get(receiver, "certificate"), "not_after");
        scrape_time_with(scrape, "server", json_object_get(receiver, "server_certificate"), "not_after");
        scrape_time_with(scrape, "ca", receiver, "authorities_not_after");
        return;
    }
    scrape_time_with(scrape, "gateway", json_object_get(gateway, "certificate"), "not_after");
    scrape_time_with(scrape, "metrics", json_object_get(exporter, "certificate"), "not_after");
}

static void tell_handshakes(struct scrape *scrape, const char *endpoint, const json_t *who)
{
    static const char *const results[] = {"ok", "refused"};
    const json_t *handshakes = json_object_get(who, "handshakes");

    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        const json_t *count = json_object_get(handshakes, results[i]);
        if (json_is_integer(count))
            scrape_sample_with(scrape, endpoint, results[i], json_number_value(count));
    }
}

void metric_pgcoffer_tls_handshakes_total(struct scrape *scrape, const json_t *server)
{
    if (server != NULL) {
        tell_handshakes(scrape, "postgresql", json_object_get(server, "counts"));
        return;
    }
    tell_handshakes(scrape, "gateway", json_object_get(scrape->state, "gateway"));
    tell_handshakes(scrape, "metrics", json_object_get(scrape->state, "exporter"));
}
