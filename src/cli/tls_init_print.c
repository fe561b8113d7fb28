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
        invocation, data, "metrics_conf",
        "pgcoffer.conf of the daemon, for its own metrics and its page: whoever reads them needs a certificate");
    print_lines(invocation, data, "metrics_yml",
                "prometheus.yml, under scrape_configs. The target is a name of the certificate.");
    print_lines(invocation, data, "pgcoffer_copy_commands",
                "Copies for the daemon, as above with " TLS_INIT_CLIENT_FOLDER " in the lines:");
    print_comment(invocation, "A browser opens the page once it has imported " TLS_KIT_BROWSER
                              ".p12, with the password of " TLS_KIT_BROWSER ".password, and\n"
                              "trusts metrics-ca.crt. Give the two files to nobody else, and by different ways.");
    print_lines(invocation, data, "prometheus_yml",
                "prometheus.yml, for another exporter of the same host, which takes the same files");
    print_lines(invocation, data, "pgexporter_conf",
                "pgexporter.conf, in [pgexporter]; it then wants a client certificate from whoever reads metrics");
    print_lines(invocation, data, "exporter_web_config",
                "or the --web.config.file of postgres_exporter and others of its kind, to the same end");
    print_lines(invocation, data, "metrics_copy_commands",
                "Copies for those that run as users of their own: as root, and with " TLS_INIT_ENDPOINT_FOLDER
                " and\n" TLS_INIT_PROMETHEUS_FOLDER " in the lines:");
}

static void print_gateway(const struct invocation *invocation, const json_t *data)
{
    print_lines(
        invocation, data, "gateway_conf",
        "pgcoffer.conf of the daemon, for its gateway, which listens at host: if that name leads to 127.0.1.1 on\n"
        "the daemon's own machine, as Debian sets it up, write an address of its network, or 0.0.0.0 for all.");
    print_lines(invocation, data, "client_conf",
                "/etc/pgcoffer/pgcoffer.conf of the database host, mode 0644: commands there go to the gateway then");
    print_lines(invocation, data, "gateway_copy_commands",
                "Copies for the daemon, as above with " TLS_INIT_CLIENT_FOLDER " in the lines:");
    print_lines(
        invocation, data, "client_copy_commands",
        "Copies on the database host, where these three files have to go: as root, and with\n" TLS_INIT_SERVER_FOLDER
        " in the lines. The OS user postgres restores, and replays WAL with the same key:");
}

/* What is to be done with the keys of the CAs. That of metrics and that of the gateway sign nothing of the connection
 * that check looks at. */
static void print_warning(const struct invocation *invocation, bool has_gateway, bool has_metrics)
{
    static const char *const words[2][2][2] = {
        /* how many, and what they make; [has_gateway][has_metrics] */
        {{"two", "logins"}, {"three", "logins and readers of metrics"}},
        {{"three", "logins and readers of backups"}, {"four", "logins, readers of backups and of metrics"}},
    };
    static const char *const silent[2][2] = {
        {"", ";\nof metrics-ca.key nobody does"},
        {";\nof gateway-ca.key nobody does", ";\nof gateway-ca.key and metrics-ca.key nobody does"},
    };
    const char *const *row = words[has_gateway][has_metrics];
    char *text SCOPED(scoped_free) =
        memory_text("With the keys of the %s CAs anybody makes certificates, %s: move them to another\n"
                    "machine. Until then \"pgcoffer check\" warns of server-ca.key and client-ca.key%s.",
                    row[0], row[1], silent[has_gateway][has_metrics]);

    print_comment(invocation, text);
}

void tls_init_print(const struct invocation *invocation, const json_t *data)
{
    bool has_gateway = json_object_get(data, "gateway_conf") != NULL;
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
    if (has_gateway)
        print_gateway(invocation, data);
    if (has_metrics)
        print_metrics(invocation, data);
    print_lines(invocation, data, "renewal_commands",
                has_metrics
                    ? "New certificates before the days are over. pgcofferd, exporters and Prometheus take them by\n"
                      "themselves, PostgreSQL at a reload."
                    : "New certificates before the days are over. pgcofferd takes them by itself, PostgreSQL at a "
                      "reload.");
    print_warning(invocation, has_gateway, has_metrics);
}
