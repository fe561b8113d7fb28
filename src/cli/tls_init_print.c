#include <string.h>

#include "cli/cli_internal.h"
#include "cli/tls_kit_internal.h"
#include "pgcoffer/base/memory.h"

/* What `tls init` made and the lines that use it, for people. */

static void print_files(const struct invocation *invocation, const json_t *files)
{
    static const char *const titles[] = {"FILE", "FOR", "WHAT"};
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 3);
    const json_t *file;
    size_t i;

    json_array_foreach(files, i, file)
    {
        const char *path = json_text_or_null(file, "path");
        table_add_row(table);
        table_set(table, 0, "%s", strrchr(path, '/') + 1);
        table_set_text(table, 1, file, "for");
        table_set_text(table, 2, file, "what");
    }
    table_print(table);
}

static void print_comment(const struct invocation *invocation, const char *text)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(text);
    char *rest = copy;

    output_line(invocation, "%s", "");
    for (const char *line; (line = strsep(&rest, "\n")) != NULL;)
        output_line(invocation, "# %s", line);
}

/* Without an indent: they are there to be copied. */
static void print_lines(const struct invocation *invocation, const json_t *data, const char *key, const char *comment)
{
    const json_t *line;
    size_t i;

    print_comment(invocation, comment);
    json_array_foreach(json_object_get(data, key), i, line)
    {
        output_line(invocation, "%s", json_string_value(line));
    }
}

static void print_metrics(const struct invocation *invocation, const json_t *data)
{
    print_lines(
        invocation, data, "prometheus_yml",
        "prometheus.yml, under scrape_configs. The target is one of the names of --host, with the port on which\n"
        "the endpoint listens.");
    print_lines(invocation, data, "pgexporter_conf",
                "pgexporter.conf, in [pgexporter]; it then wants a client certificate from whoever reads metrics");
    print_lines(invocation, data, "exporter_web_config",
                "or the --web.config.file of postgres_exporter and others of its kind, to the same end");
    print_lines(invocation, data, "metrics_copy_commands",
                "Copies for those that run as users of their own: as root, and with " TLS_INIT_ENDPOINT_FOLDER
                " and\n" TLS_INIT_PROMETHEUS_FOLDER " in the lines:");
}

void tls_init_print(const struct invocation *invocation, const json_t *data)
{
    bool has_metrics = json_object_get(data, "prometheus_yml") != NULL;

    output_line(invocation, "Certificates for development are in %s:", json_text_or_null(data, "directory"));
    output_line(invocation, "%s", "");
    print_files(invocation, json_object_get(data, "files"));
    print_lines(invocation, data, "postgresql_conf", "postgresql.conf; takes effect at a reload");
    print_lines(invocation, data, "pg_hba_conf",
                "pg_hba.conf, above every other line: the first that matches decides. The address is where pgcoffer\n"
                "comes from. Take out lines like \"host ... trust\": they let others in without a certificate.");
    print_lines(invocation, data, "sql", "the role, in psql");
    print_lines(invocation, data, "pgcoffer_conf", "pgcoffer.conf, with \"port = ...\" if it is not 5432");
    print_lines(invocation, data, "copy_commands",
                "The lines are right where PostgreSQL and pgcofferd run as the user who owns these files. Others need\n"
                "copies of their own: as root, and with " TLS_INIT_SERVER_FOLDER " and " TLS_INIT_CLIENT_FOLDER
                " in the lines:");
    if (has_metrics)
        print_metrics(invocation, data);
    print_lines(invocation, data, "renewal_commands",
                has_metrics
                    ? "New certificates before the days are over. pgcofferd, exporters and Prometheus take them by\n"
                      "themselves, PostgreSQL at a reload."
                    : "New certificates before the days are over. pgcofferd takes them by itself, PostgreSQL at a "
                      "reload.");
    /* The CA of metrics signs nothing of the connection that check looks at. */
    print_comment(
        invocation,
        has_metrics
            ? "With the keys of the three CAs anybody makes certificates, logins and readers of metrics: move\n"
              "them to another machine. Until then \"pgcoffer check\" warns of server-ca.key and client-ca.key;\n"
              "of metrics-ca.key nobody does."
            : "With the keys of the two CAs anybody makes certificates and logins: move them to another machine.\n"
              "Until then \"pgcoffer check\" warns of them.");
}
