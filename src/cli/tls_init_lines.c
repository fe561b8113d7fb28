#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "cli/tls_kit_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/restore.h"

/* What to write where, so that the files of `tls init` are used. */

/* That of the manual pages. */
#define GATEWAY_PORT 7432

static const struct {
    const char *word, *owner, *folder;
} readers[TLS_INIT_READERS] = {
    [TLS_INIT_SERVER] = {"PostgreSQL", "postgres", TLS_INIT_SERVER_FOLDER},
    [TLS_INIT_CLIENT] = {"pgcoffer", "pgcoffer", TLS_INIT_CLIENT_FOLDER},
    [TLS_INIT_ENDPOINT] = {"metrics endpoint", "pgexporter", TLS_INIT_ENDPOINT_FOLDER},
    [TLS_INIT_PROMETHEUS] = {"Prometheus", "prometheus", TLS_INIT_PROMETHEUS_FOLDER},
    /* The same endpoint, which the word above tells of. */
    [TLS_INIT_EXPORTER] = {NULL, "pgcoffer", TLS_INIT_CLIENT_FOLDER},
    /* Of a person: no copies. */
    [TLS_INIT_BROWSER] = {"browser", NULL, NULL},
    [TLS_INIT_GATEWAY] = {"gateway", "pgcoffer", TLS_INIT_CLIENT_FOLDER},
    /* Not a folder of pgcoffer's: the key is for the OS user that restores, and there the daemon need not live. */
    [TLS_INIT_RESTORER] = {"database host", "postgres", TLS_INIT_SERVER_FOLDER},
};

#define BY(reader) (1u << TLS_INIT_##reader)
#define BY_NOBODY  0u

/* In the order in which they are printed. */
static const struct {
    enum tls_kit_part part;
    unsigned readers;
    const char *what;
} rows[] = {
    {TLS_KIT_SERVER_CERTIFICATE, BY(SERVER), "the server's certificate"},
    {TLS_KIT_SERVER_KEY, BY(SERVER), "its key; must belong to the OS user that runs PostgreSQL"},
    {TLS_KIT_CLIENT_CA_CERTIFICATE, BY(SERVER), "the CA whose client certificates PostgreSQL takes"},
    {TLS_KIT_CLIENT_CA_LIST, BY(SERVER), "its revocation list, empty so far"},
    {TLS_KIT_CLIENT_CERTIFICATE, BY(CLIENT), "the client's certificate: its CN is the role"},
    {TLS_KIT_CLIENT_KEY, BY(CLIENT), "its key; must belong to the OS user that runs pgcofferd"},
    {TLS_KIT_SERVER_CA_CERTIFICATE, BY(CLIENT), "the CA that signed the server's certificate"},
    {TLS_KIT_SERVER_CA_LIST, BY(CLIENT), "its revocation list, empty so far"},
    {TLS_KIT_METRICS_CERTIFICATE, BY(ENDPOINT) | BY(EXPORTER), "the certificate of the metrics endpoint"},
    {TLS_KIT_METRICS_KEY, BY(ENDPOINT) | BY(EXPORTER), "its key"},
    {TLS_KIT_PROMETHEUS_CERTIFICATE, BY(PROMETHEUS), "Prometheus's client certificate"},
    {TLS_KIT_PROMETHEUS_KEY, BY(PROMETHEUS), "its key"},
    {TLS_KIT_BROWSER_BUNDLE, BY(BROWSER), "a browser's client certificate, its key and the CA, to be imported"},
    {TLS_KIT_BROWSER_PASSWORD, BY(BROWSER), "the password that the import asks for"},
    {TLS_KIT_BROWSER_CERTIFICATE, BY(BROWSER), "the same certificate, for curl"},
    {TLS_KIT_BROWSER_KEY, BY(BROWSER), "its key"},
    {TLS_KIT_METRICS_CA_CERTIFICATE, BY(ENDPOINT) | BY(EXPORTER) | BY(PROMETHEUS) | BY(BROWSER),
     "the CA that signed these"},
    {TLS_KIT_GATEWAY_CERTIFICATE, BY(GATEWAY), "the certificate of pgcofferd's gateway"},
    {TLS_KIT_GATEWAY_KEY, BY(GATEWAY), "its key; must belong to the OS user that runs pgcofferd"},
    {TLS_KIT_GATEWAY_CA_LIST, BY(GATEWAY), "the revocation list of the gateway's CA, empty so far"},
    {TLS_KIT_RESTORER_CERTIFICATE, BY(RESTORER), "the certificate of who restores: its CN is in restorers"},
    {TLS_KIT_RESTORER_KEY, BY(RESTORER), "its key; must be readable by the OS user that runs PostgreSQL"},
    {TLS_KIT_GATEWAY_CA_CERTIFICATE, BY(GATEWAY) | BY(RESTORER), "the CA that signed both"},
    {TLS_KIT_SERVER_CA_KEY, BY_NOBODY, "signs certificates of servers: keep it elsewhere"},
    {TLS_KIT_CLIENT_CA_KEY, BY_NOBODY, "signs logins: keep it elsewhere"},
    {TLS_KIT_METRICS_CA_KEY, BY_NOBODY, "signs endpoints and readers of metrics: keep it elsewhere"},
    {TLS_KIT_GATEWAY_CA_KEY, BY_NOBODY, "signs gateways and who restores: keep it elsewhere"},
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

/* Whether it is made, and that one reads it. */
static bool reads(const struct tls_kit *kit, size_t row, enum tls_init_reader reader)
{
    return tls_kit_holds(kit, rows[row].part) && (rows[row].readers & 1u << reader) != 0;
}

char *tls_init_absolute_path(const char *directory)
{
    char *real SCOPED(scoped_free) = realpath(directory, NULL);

    if (real != NULL)
        return TAKE(real);
    if (directory[0] == '/')
        return memory_copy_text(directory);
    char *current SCOPED(scoped_free) = getcwd(NULL, 0);
    return memory_text("%s/%s", current != NULL ? current : "", directory);
}

void tls_init_append(json_t *list, char *line)
{
    json_array_append_new(list, control_text(line));
    free(line);
}

void tls_init_append_settings(json_t *lines, const struct tls_kit *kit, const char *directory,
                              tls_init_line_function *line, const struct tls_init_setting *settings)
{
    for (; settings->name != NULL; settings++)
        tls_init_append(lines, line(settings->name, directory, kit->files[settings->part].name));
}

/* ---- lists ---- */

static char *name_readers(const struct tls_kit *kit, size_t row)
{
    char *names = memory_copy_text("");

    for (enum tls_init_reader reader = 0; reader < TLS_INIT_READERS; reader++) {
        if (!reads(kit, row, reader) || readers[reader].word == NULL)
            continue;
        char *longer = memory_text("%s%s%s", names, names[0] != '\0' ? " and " : "", readers[reader].word);
        free(names);
        names = longer;
    }
    if (names[0] != '\0')
        return names;
    free(names);
    return memory_copy_text("nobody");
}

static json_t *list_files(const struct tls_kit *kit, const char *directory)
{
    json_t *files = json_array();

    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (!tls_kit_holds(kit, rows[i].part))
            continue;
        char *names SCOPED(scoped_free) = name_readers(kit, i);
        char *path SCOPED(scoped_free) = memory_text("%s/%s", directory, kit->files[rows[i].part].name);
        json_array_append_new(
            files, json_pack("{s:o, s:s, s:s}", "path", control_text(path), "for", names, "what", rows[i].what));
    }
    return files;
}

static json_t *postgresql_lines(const struct tls_kit *kit, const char *directory)
{
    static const struct tls_init_setting files[] = {
        {"ssl_cert_file", TLS_KIT_SERVER_CERTIFICATE},
        {"ssl_key_file", TLS_KIT_SERVER_KEY},
        {"ssl_ca_file", TLS_KIT_CLIENT_CA_CERTIFICATE},
        {"ssl_crl_file", TLS_KIT_CLIENT_CA_LIST},
        {NULL, 0},
    };
    json_t *lines = json_array();

    tls_init_append(lines, memory_copy_text("ssl = on"));
    tls_init_append_settings(lines, kit, directory, tls_init_setting_line, files);
    return lines;
}

/*
 * pgcoffer on the same machine when the server has a loopback name to be called by, else anywhere in its networks. The
 * machine's own name beside a loopback name changes nothing: pgcoffer.conf gets the first.
 */
static size_t find_addresses(const char *const *names, const char *ret_addresses[2])
{
    if (text_is_loopback(names[0])) {
        ret_addresses[0] = "127.0.0.1/32";
        ret_addresses[1] = "::1/128";
        return 2;
    }
    ret_addresses[0] = "samenet";
    return 1;
}

static json_t *hba_lines(const struct tls_kit_wish *wish)
{
    static const char *const databases[] = {"replication", "postgres"};
    const char *addresses[2] = {NULL, NULL};
    size_t count = find_addresses(wish->names, addresses);
    /* A role of that name must not stand for everybody. */
    const char *user = strcmp(wish->user, "all") == 0 ? "\"all\"" : wish->user;
    json_t *lines = json_array();

    for (size_t database = 0; database < 2; database++)
        for (size_t i = 0; i < count; i++)
            tls_init_append(lines, memory_text("%-8s %-12s %-10s %-14s %s", "hostssl", databases[database], user,
                                               addresses[i], "cert"));
    return lines;
}

static json_t *pgcoffer_lines(const struct tls_kit *kit, const struct tls_kit_wish *wish, const char *directory)
{
    static const struct tls_init_setting files[] = {
        {"tls_cert_file", TLS_KIT_CLIENT_CERTIFICATE},
        {"tls_key_file", TLS_KIT_CLIENT_KEY},
        {"tls_ca_file", TLS_KIT_SERVER_CA_CERTIFICATE},
        {"tls_crl_file", TLS_KIT_SERVER_CA_LIST},
        {NULL, 0},
    };
    json_t *lines = json_array();

    tls_init_append(lines, memory_copy_text("[primary]"));
    tls_init_append(lines, memory_text("host = %s", wish->names[0]));
    tls_init_append(lines, memory_text("user = %s", wish->user));
    tls_init_append_settings(lines, kit, directory, tls_init_pair_line, files);
    if (tls_kit_has_gateway(kit))
        tls_init_append(lines, memory_copy_text("restorers = cert:" TLS_KIT_RESTORER));
    return lines;
}

void tls_init_append_copy(json_t *lines, const struct tls_kit *kit, const char *directory, enum tls_init_reader reader)
{
    const char *owner = readers[reader].owner, *folder = readers[reader].folder;

    tls_init_append(lines, memory_text("install -d -o %s -g %s -m 0700 %s", owner, owner, folder));
    char *command = memory_text("install -o %s -g %s -m 0600 -t %s", owner, owner, folder);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (!reads(kit, i, reader))
            continue;
        char *path SCOPED(scoped_free) = memory_text("%s/%s", directory, kit->files[rows[i].part].name);
        char *quoted SCOPED(scoped_free) = restore_quote_for_shell(path);
        char *longer = memory_text("%s %s", command, quoted);
        free(command);
        command = longer;
    }
    tls_init_append(lines, command);
}

/* A new certificate for the old key, with the old one's names and usages. */
static char *renewal(const char *authority, const char *stem, long days)
{
    return memory_text("openssl x509 -x509toreq -copy_extensions copyall -in %s.crt -key %s.key | openssl x509 -req "
                       "-copy_extensions copyall -CA %s-ca.crt -CAkey %s-ca.key -CAcreateserial -days %ld -out "
                       "%s.crt.new && mv %s.crt.new %s.crt",
                       stem, stem, authority, authority, days, stem, stem, stem);
}

/* As `tls init` made it, with OpenSSL's own rounds. */
#define BROWSER_BUNDLE                                                                                                 \
    "openssl pkcs12 -export -in " TLS_KIT_BROWSER ".crt -inkey " TLS_KIT_BROWSER                                       \
    ".key -certfile metrics-ca.crt -name 'pgcoffer " TLS_KIT_BROWSER "' -passout file:" TLS_KIT_BROWSER                \
    ".password -out " TLS_KIT_BROWSER ".p12.new && mv " TLS_KIT_BROWSER ".p12.new " TLS_KIT_BROWSER ".p12"

static json_t *renewal_lines(const struct tls_kit *kit, const struct tls_kit_wish *wish, const char *directory)
{
    json_t *lines = json_array();
    char *quoted SCOPED(scoped_free) = restore_quote_for_shell(directory);

    tls_init_append(lines, memory_text("cd %s && umask 077", quoted));
    tls_init_append(lines, renewal("client", wish->user, wish->days));
    tls_init_append(lines, renewal("server", "server", wish->days));
    if (tls_kit_has_metrics(kit)) {
        tls_init_append(lines, renewal("metrics", "metrics", wish->days));
        tls_init_append(lines, renewal("metrics", "prometheus", wish->days));
        tls_init_append(lines, renewal("metrics", TLS_KIT_BROWSER, wish->days));
        tls_init_append(lines, memory_copy_text(BROWSER_BUNDLE));
    }
    if (tls_kit_has_gateway(kit)) {
        tls_init_append(lines, renewal("gateway", "gateway", wish->days));
        tls_init_append(lines, renewal("gateway", TLS_KIT_RESTORER, wish->days));
    }
    return lines;
}

/* ---- the gateway ---- */

static json_t *gateway_lines(const struct tls_kit *kit, const struct tls_kit_wish *wish, const char *directory)
{
    static const struct tls_init_setting files[] = {
        {"tls_cert_file", TLS_KIT_GATEWAY_CERTIFICATE},
        {"tls_key_file", TLS_KIT_GATEWAY_KEY},
        {"tls_ca_file", TLS_KIT_GATEWAY_CA_CERTIFICATE},
        {"tls_crl_file", TLS_KIT_GATEWAY_CA_LIST},
        {NULL, 0},
    };
    json_t *lines = json_array();

    tls_init_append(lines, memory_copy_text("[pgcoffer]"));
    tls_init_append(lines, memory_text("host = %s", wish->gateway_names[0]));
    tls_init_append(lines, memory_text("management = %d", GATEWAY_PORT));
    tls_init_append_settings(lines, kit, directory, tls_init_pair_line, files);
    return lines;
}

static json_t *client_lines(const struct tls_kit *kit, const struct tls_kit_wish *wish, const char *directory)
{
    static const struct tls_init_setting files[] = {
        {"tls_cert_file", TLS_KIT_RESTORER_CERTIFICATE},
        {"tls_key_file", TLS_KIT_RESTORER_KEY},
        {"tls_ca_file", TLS_KIT_GATEWAY_CA_CERTIFICATE},
        {NULL, 0},
    };
    char *gateway SCOPED(scoped_free) = tls_init_with_port(wish->gateway_names[0], GATEWAY_PORT);
    json_t *lines = json_array();

    tls_init_append(lines, memory_copy_text("[client]"));
    tls_init_append(lines, memory_text("connect = %s", gateway));
    tls_init_append_settings(lines, kit, directory, tls_init_pair_line, files);
    return lines;
}

static void add_gateway(json_t *data, const struct tls_kit *kit, const struct tls_kit_wish *wish, const char *directory)
{
    json_t *copies = json_array();
    json_t *client_copies = json_array();

    tls_init_append_copy(copies, kit, directory, TLS_INIT_GATEWAY);
    tls_init_append_copy(client_copies, kit, directory, TLS_INIT_RESTORER);
    json_object_set_new(data, "gateway_conf", gateway_lines(kit, wish, directory));
    json_object_set_new(data, "client_conf", client_lines(kit, wish, directory));
    json_object_set_new(data, "gateway_copy_commands", copies);
    json_object_set_new(data, "client_copy_commands", client_copies);
}

/* ---- all ---- */

json_t *tls_init_lines(const struct tls_kit *kit, const struct tls_kit_wish *wish, const char *directory)
{
    json_t *copies = json_array();
    json_t *role_lines = json_array();

    tls_init_append_copy(copies, kit, directory, TLS_INIT_SERVER);
    tls_init_append_copy(copies, kit, directory, TLS_INIT_CLIENT);
    tls_init_append(role_lines, memory_text("CREATE ROLE \"%s\" LOGIN REPLICATION;", wish->user));
    json_t *data =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "directory", control_text(directory), "files",
                  list_files(kit, directory), "postgresql_conf", postgresql_lines(kit, directory), "pg_hba_conf",
                  hba_lines(wish), "sql", role_lines, "pgcoffer_conf", pgcoffer_lines(kit, wish, directory),
                  "copy_commands", copies, "renewal_commands", renewal_lines(kit, wish, directory));
    if (tls_kit_has_gateway(kit))
        add_gateway(data, kit, wish, directory);
    if (tls_kit_has_metrics(kit))
        tls_init_add_metrics(data, kit, wish, directory);
    return data;
}
