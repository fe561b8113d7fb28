#include "cli/tls_kit_internal.h"
#include "pgcoffer/base/memory.h"

/* The lines of metrics: of pgcofferd's own endpoint, of other exporters, and of Prometheus, which reads them. */

/* That of contrib/prometheus. */
#define PGCOFFER_PORT 6604
/* The port of pgexporter's own examples. */
#define EXPORTER_PORT 5001

static const struct tls_init_setting endpoint_files[] = {
    {"metrics_cert_file", TLS_KIT_METRICS_CERTIFICATE},
    {"metrics_key_file", TLS_KIT_METRICS_KEY},
    {"metrics_ca_file", TLS_KIT_METRICS_CA_CERTIFICATE},
    {NULL, 0},
};

/* With a gateway, that says which host it is. */
static json_t *pgcoffer_lines(const struct tls_kit *kit, const struct tls_kit_wish *wish, const char *directory)
{
    json_t *lines = json_array();

    tls_init_append(lines, memory_copy_text("[pgcoffer]"));
    if (!tls_kit_has_gateway(kit))
        tls_init_append(lines, memory_text("host = %s", wish->metrics_names[0]));
    tls_init_append(lines, memory_text("metrics = %d", PGCOFFER_PORT));
    tls_init_append_settings(lines, kit, directory, tls_init_pair_line, endpoint_files);
    return lines;
}

/* A job for scrape_configs. The target is what Prometheus looks for among the names of the certificate. */
static json_t *job_lines(const struct tls_kit *kit, const struct tls_kit_wish *wish, const char *directory,
                         const char *job, int port)
{
    static const struct tls_init_setting files[] = {
        {"      ca_file", TLS_KIT_METRICS_CA_CERTIFICATE},
        {"      cert_file", TLS_KIT_PROMETHEUS_CERTIFICATE},
        {"      key_file", TLS_KIT_PROMETHEUS_KEY},
        {NULL, 0},
    };
    char *target SCOPED(scoped_free) = tls_init_with_port(wish->metrics_names[0], port);
    json_t *lines = json_array();

    tls_init_append(lines, memory_text("  - job_name: %s", job));
    tls_init_append(lines, memory_copy_text("    scheme: https"));
    tls_init_append(lines, memory_copy_text("    tls_config:"));
    tls_init_append_settings(lines, kit, directory, tls_init_yaml_line, files);
    tls_init_append(lines, memory_copy_text("    static_configs:"));
    tls_init_append(lines, memory_text("      - targets: ['%s']", target));
    return lines;
}

/* pgexporter takes the rest of the line as it is, without quotes. */
static char *plain_line(const char *name, const char *directory, const char *file)
{
    return memory_text("%s = %s/%s", name, directory, file);
}

static json_t *pgexporter_lines(const struct tls_kit *kit, const char *directory)
{
    json_t *lines = json_array();

    tls_init_append_settings(lines, kit, directory, plain_line, endpoint_files);
    return lines;
}

/* The file that postgres_exporter and the other exporters of the Prometheus project share. */
static json_t *web_config_lines(const struct tls_kit *kit, const char *directory)
{
    static const struct tls_init_setting files[] = {
        {"  cert_file", TLS_KIT_METRICS_CERTIFICATE},
        {"  key_file", TLS_KIT_METRICS_KEY},
        {"  client_ca_file", TLS_KIT_METRICS_CA_CERTIFICATE},
        {NULL, 0},
    };
    json_t *lines = json_array();

    tls_init_append(lines, memory_copy_text("tls_server_config:"));
    tls_init_append_settings(lines, kit, directory, tls_init_yaml_line, files);
    tls_init_append(lines, memory_copy_text("  client_auth_type: RequireAndVerifyClientCert"));
    return lines;
}

void tls_init_add_metrics(json_t *data, const struct tls_kit *kit, const struct tls_kit_wish *wish,
                          const char *directory)
{
    json_t *own_copies = json_array();
    json_t *copies = json_array();

    tls_init_append_copy(own_copies, kit, directory, TLS_INIT_EXPORTER);
    tls_init_append_copy(copies, kit, directory, TLS_INIT_ENDPOINT);
    tls_init_append_copy(copies, kit, directory, TLS_INIT_PROMETHEUS);
    json_object_set_new(data, "metrics_conf", pgcoffer_lines(kit, wish, directory));
    json_object_set_new(data, "metrics_yml", job_lines(kit, wish, directory, "pgcoffer", PGCOFFER_PORT));
    json_object_set_new(data, "pgcoffer_copy_commands", own_copies);
    json_object_set_new(data, "prometheus_yml", job_lines(kit, wish, directory, "postgresql", EXPORTER_PORT));
    json_object_set_new(data, "pgexporter_conf", pgexporter_lines(kit, directory));
    json_object_set_new(data, "exporter_web_config", web_config_lines(kit, directory));
    json_object_set_new(data, "metrics_copy_commands", copies);
}
