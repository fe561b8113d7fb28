#include <string.h>

#include "cli/cli_internal.h"
#include "cli/tls_kit_internal.h"
#include "pgcoffer/cli/cli.h"
#include "pgcoffer/config/config.h"
#include "support/scratch.h"
#include "support/suite.h"

#define MOST_WORDS 8

static int run(const char *const *words)
{
    char *copy[MOST_WORDS + 1] = {NULL};
    int count = 0;

    for (; words[count] != NULL; count++)
        copy[count] = (char *)words[count];
    return cli_main(count, copy, command_check);
}

/* The lines for files that need not exist. */
static json_t *lines_with(const struct tls_kit_wish *wish, const char *directory)
{
    static char file_names[TLS_KIT_PARTS][16];
    struct tls_kit kit = {0};

    for (int part = 0; part < TLS_KIT_PARTS; part++) {
        bool is_of_gateway = part >= TLS_KIT_GATEWAY_CA_CERTIFICATE;
        bool is_of_metrics = !is_of_gateway && part >= TLS_KIT_METRICS_CA_CERTIFICATE;
        if ((is_of_gateway && wish->gateway_names == NULL) || (is_of_metrics && wish->metrics_names == NULL))
            continue;
        snprintf(file_names[part], sizeof file_names[part], "file%d", part);
        kit.files[part] = (struct tls_kit_file){.name = file_names[part]};
    }
    return tls_init_lines(&kit, wish, directory);
}

static json_t *lines_for(const char *const *names, const char *user, const char *directory)
{
    const struct tls_kit_wish wish = {.names = names, .user = user, .days = 365};

    return lines_with(&wish, directory);
}

static const char *line_of(const json_t *lines, const char *key, size_t number)
{
    const char *line = json_string_value(json_array_get(json_object_get(lines, key), number));

    ck_assert_msg(line != NULL, "no line %zu of %s", number, key);
    return line;
}

static const char *const local_names[] = {"localhost", "box", NULL};

START_TEST(paths_are_quoted_as_each_file_wants_it)
{
    json_t *lines SCOPED(scoped_json) = lines_for(local_names, "repl", "/srv/o'clock \\ \"x\"");

    ck_assert_str_eq(line_of(lines, "postgresql_conf", 1), "ssl_cert_file = '/srv/o''clock \\\\ \"x\"/file6'");
    ck_assert_str_eq(line_of(lines, "pgcoffer_conf", 3), "tls_cert_file = \"/srv/o'clock \\\\ \\\"x\\\"/file8\"");
    ck_assert_ptr_nonnull(strstr(line_of(lines, "copy_commands", 1), "'/srv/o'\\''clock \\ \"x\"/file6'"));
}
END_TEST

START_TEST(the_lines_for_pgcoffer_are_a_configuration)
{
    static const char *const directories[] = {"/srv/tls", "/srv/a folder; with # all"};
    json_t *lines SCOPED(scoped_json) = lines_for(local_names, "repl", directories[_i]);
    const json_t *line;
    struct config *config SCOPED(scoped_config) = NULL;
    char text[4096] = "", path[256];
    struct error err;
    size_t i;

    json_array_foreach(json_object_get(lines, "pgcoffer_conf"), i, line)
    {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s\n", json_string_value(line));
    }
    ck_assert_msg(config_parse(text, strlen(text), "lines", &config, &err), "%s", err.message);
    ck_assert_uint_eq(config->server_count, 1);
    snprintf(path, sizeof path, "%s/file%d", directories[_i], TLS_KIT_SERVER_CA_CERTIFICATE);
    ck_assert_str_eq(config->servers[0].settings.tls_ca_file, path);
    ck_assert_str_eq(config->servers[0].settings.host, "localhost");
}
END_TEST

START_TEST(pg_hba_lines_let_the_role_in_by_certificate_only)
{
    json_t *lines SCOPED(scoped_json) = lines_for(local_names, "repl", "/srv/tls");

    ck_assert_uint_eq(json_array_size(json_object_get(lines, "pg_hba_conf")), 4);
    ck_assert_str_eq(line_of(lines, "pg_hba_conf", 0), "hostssl  replication  repl       127.0.0.1/32   cert");
    ck_assert_str_eq(line_of(lines, "pg_hba_conf", 1), "hostssl  replication  repl       ::1/128        cert");
    ck_assert_str_eq(line_of(lines, "pg_hba_conf", 2), "hostssl  postgres     repl       127.0.0.1/32   cert");
}
END_TEST

START_TEST(a_server_with_a_name_in_the_network_takes_its_networks)
{
    static const char *const names[] = {"db1.example.com", "localhost", NULL};
    json_t *lines SCOPED(scoped_json) = lines_for(names, "all", "/srv/tls");

    ck_assert_str_eq(line_of(lines, "pg_hba_conf", 0), "hostssl  replication  \"all\"      samenet        cert");
    ck_assert_str_eq(line_of(lines, "pgcoffer_conf", 1), "host = db1.example.com");
    ck_assert_str_eq(line_of(lines, "sql", 0), "CREATE ROLE \"all\" LOGIN REPLICATION;");
}
END_TEST

START_TEST(every_file_is_told_with_its_reader)
{
    json_t *lines SCOPED(scoped_json) = lines_for(local_names, "repl", "/srv/tls");
    const json_t *files = json_object_get(lines, "files");
    size_t counts[3] = {0};
    const json_t *file;
    size_t i;

    ck_assert_uint_eq(json_array_size(files), TLS_KIT_METRICS_CA_CERTIFICATE);
    json_array_foreach(files, i, file)
    {
        const char *reader = json_text_or_null(file, "for");
        counts[strcmp(reader, "PostgreSQL") == 0 ? 0 : strcmp(reader, "pgcoffer") == 0 ? 1 : 2]++;
    }
    ck_assert_uint_eq(counts[0], 4);
    ck_assert_uint_eq(counts[1], 4);
    ck_assert_uint_eq(counts[2], 2);
    /* What neither needs is not copied. */
    json_array_foreach(json_object_get(lines, "copy_commands"), i, file)
    {
        ck_assert_ptr_null(strstr(json_string_value(file), "file1 "));
        ck_assert_ptr_null(strstr(json_string_value(file), "file4 "));
    }
}
END_TEST

static const json_t *file_row(const json_t *lines, const char *path)
{
    const json_t *file;
    size_t i;

    json_array_foreach(json_object_get(lines, "files"), i, file)
    {
        if (strcmp(json_text_or_null(file, "path"), path) == 0)
            return file;
    }
    ck_abort_msg("%s is not told", path);
}

START_TEST(the_files_of_metrics_are_told_to_the_endpoint_and_to_prometheus)
{
    const struct tls_kit_wish wish = {.names = local_names, .user = "repl", .days = 365, .metrics_names = local_names};
    json_t *lines SCOPED(scoped_json) = lines_with(&wish, "/srv/it's \\ tls");

    ck_assert_uint_eq(json_array_size(json_object_get(lines, "files")), TLS_KIT_GATEWAY_CA_CERTIFICATE);
    ck_assert_str_eq(json_text_or_null(file_row(lines, "/srv/it's \\ tls/file10"), "for"),
                     "metrics endpoint and Prometheus and browser");
    ck_assert_str_eq(json_text_or_null(file_row(lines, "/srv/it's \\ tls/file11"), "for"), "nobody");
    ck_assert_str_eq(json_text_or_null(file_row(lines, "/srv/it's \\ tls/file13"), "for"), "metrics endpoint");
    ck_assert_str_eq(json_text_or_null(file_row(lines, "/srv/it's \\ tls/file15"), "for"), "Prometheus");
    ck_assert_str_eq(line_of(lines, "prometheus_yml", 1), "    scheme: https");
    ck_assert_str_eq(line_of(lines, "prometheus_yml", 3), "      ca_file: '/srv/it''s \\ tls/file10'");
    ck_assert_str_eq(line_of(lines, "prometheus_yml", 4), "      cert_file: '/srv/it''s \\ tls/file14'");
    ck_assert_str_eq(line_of(lines, "prometheus_yml", 5), "      key_file: '/srv/it''s \\ tls/file15'");
    ck_assert_str_eq(line_of(lines, "prometheus_yml", 7), "      - targets: ['localhost:5001']");
    ck_assert_str_eq(line_of(lines, "pgexporter_conf", 0), "metrics_cert_file = /srv/it's \\ tls/file12");
    ck_assert_str_eq(line_of(lines, "pgexporter_conf", 1), "metrics_key_file = /srv/it's \\ tls/file13");
    ck_assert_str_eq(line_of(lines, "pgexporter_conf", 2), "metrics_ca_file = /srv/it's \\ tls/file10");
    ck_assert_str_eq(line_of(lines, "exporter_web_config", 3), "  client_ca_file: '/srv/it''s \\ tls/file10'");
    ck_assert_str_eq(json_text_or_null(file_row(lines, "/srv/it's \\ tls/file18"), "for"), "browser");
    ck_assert_str_eq(line_of(lines, "metrics_conf", 1), "host = localhost");
    ck_assert_str_eq(line_of(lines, "metrics_conf", 2), "metrics = 6604");
    ck_assert_str_eq(line_of(lines, "metrics_conf", 5), "metrics_ca_file = \"/srv/it's \\\\ tls/file10\"");
    ck_assert_str_eq(line_of(lines, "metrics_yml", 0), "  - job_name: pgcoffer");
    ck_assert_str_eq(line_of(lines, "metrics_yml", 7), "      - targets: ['localhost:6604']");
    ck_assert_uint_eq(json_array_size(json_object_get(lines, "pgcoffer_conf")), 7);
    ck_assert_uint_eq(json_array_size(json_object_get(lines, "renewal_commands")), 7);
}
END_TEST

START_TEST(an_ipv6_target_stands_in_brackets)
{
    static const char *const names[] = {"2001:db8::7", NULL};
    const struct tls_kit_wish wish = {
        .names = names, .user = "repl", .days = 365, .metrics_names = names, .gateway_names = names};
    json_t *lines SCOPED(scoped_json) = lines_with(&wish, "/srv/tls");

    ck_assert_uint_eq(json_array_size(json_object_get(lines, "files")), TLS_KIT_PARTS);
    ck_assert_str_eq(line_of(lines, "prometheus_yml", 7), "      - targets: ['[2001:db8::7]:5001']");
    ck_assert_str_eq(line_of(lines, "client_conf", 1), "connect = [2001:db8::7]:7432");
    /* The gateway's lines have it, and a setting stands once. */
    ck_assert_str_eq(line_of(lines, "metrics_conf", 1), "metrics = 6604");
    ck_assert_uint_eq(json_array_size(json_object_get(lines, "renewal_commands")), 9);
}
END_TEST

/* Without metrics: the one does not depend on the other. */
START_TEST(the_files_of_the_gateway_are_told_to_the_daemon_and_to_the_database_host)
{
    static const char *const names[] = {"backup.example.com", NULL};
    const struct tls_kit_wish wish = {.names = local_names, .user = "repl", .days = 365, .gateway_names = names};
    json_t *lines SCOPED(scoped_json) = lines_with(&wish, "/srv/tls");

    ck_assert_str_eq(json_text_or_null(file_row(lines, "/srv/tls/file20"), "for"), "gateway and database host");
    ck_assert_str_eq(json_text_or_null(file_row(lines, "/srv/tls/file21"), "for"), "nobody");
    ck_assert_str_eq(json_text_or_null(file_row(lines, "/srv/tls/file24"), "for"), "gateway");
    ck_assert_str_eq(json_text_or_null(file_row(lines, "/srv/tls/file26"), "for"), "database host");
    ck_assert_str_eq(line_of(lines, "gateway_conf", 0), "[pgcoffer]");
    ck_assert_str_eq(line_of(lines, "gateway_conf", 1), "host = backup.example.com");
    ck_assert_str_eq(line_of(lines, "gateway_conf", 5), "tls_ca_file = /srv/tls/file20");
    ck_assert_str_eq(line_of(lines, "client_conf", 1), "connect = backup.example.com:7432");
    ck_assert_str_eq(line_of(lines, "client_conf", 4), "tls_ca_file = /srv/tls/file20");
    ck_assert_str_eq(line_of(lines, "pgcoffer_conf", 7), "restorers = cert:restorer");
    /* The key of the gateway stays there, and so does that of the CA. */
    ck_assert_ptr_null(strstr(line_of(lines, "client_copy_commands", 1), "file21"));
    ck_assert_ptr_null(strstr(line_of(lines, "client_copy_commands", 1), "file24"));
    ck_assert_uint_eq(json_array_size(json_object_get(lines, "renewal_commands")), 5);
    ck_assert_ptr_null(json_object_get(lines, "prometheus_yml"));
}
END_TEST

START_TEST(nothing_is_told_of_metrics_and_gateway_unless_they_are_wished)
{
    json_t *lines SCOPED(scoped_json) = lines_for(local_names, "repl", "/srv/tls");
    static const char *const keys[] = {"metrics_conf",          "metrics_yml",         "pgcoffer_copy_commands",
                                       "prometheus_yml",        "pgexporter_conf",     "exporter_web_config",
                                       "metrics_copy_commands", "gateway_conf",        "client_conf",
                                       "gateway_copy_commands", "client_copy_commands"};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        ck_assert_ptr_null(json_object_get(lines, keys[i]));
    ck_assert_uint_eq(json_array_size(json_object_get(lines, "renewal_commands")), 3);
}
END_TEST

START_TEST(what_is_no_name_number_or_kind_is_a_wrong_usage_and_writes_nothing)
{
    static const char *const options[][2] = {
        {"--host", "db1,not a name"},
        {"--host", ""},
        {"--host", "a,,b"},
        {"--host", "-x"},
        {"--gateway", "not a name"},
        {"--gateway", ""},
        {"--metrics-host", "not a name"},
        {"--user", "../repl"},
        {"--user", ""},
        {"--user", "server"},
        {"--user", "a b"},
        {"--days", "0"},
        {"--days", "3651"},
        {"--days", "x"},
        {"--key-type", "dsa"},
    };
    const char *const words[] = {"pgcoffer", "tls", "init", scratch_path("tls"), options[_i][0], options[_i][1], NULL};

    ck_assert_int_eq(run(words), 2);
    ck_assert_int_eq(scratch_count_entries(), 0);
}
END_TEST

/* libpq takes "name:rest" for a key in an engine. */
START_TEST(a_path_that_libpq_could_not_name_is_refused)
{
    static const char *const places[] = {"a:b", "a\nb"};
    const char *const words[] = {"pgcoffer", "tls", "init", scratch_path(places[_i]), NULL};

    ck_assert_int_eq(run(words), 2);
    ck_assert_int_eq(scratch_count_entries(), 0);
}
END_TEST

START_TEST(a_second_run_changes_nothing)
{
    const char *const words[] = {"pgcoffer", "tls", "init", scratch_path("tls"), "--quiet", NULL};
    struct buffer before SCOPED(buffer_done) = BUFFER_WITH_LIMIT(10000);
    struct buffer after SCOPED(buffer_done) = BUFFER_WITH_LIMIT(10000);
    struct error err;

    ck_assert_int_eq(run(words), 0);
    ck_assert(file_read_whole(scratch_path("tls/server.key"), &before, &err));
    ck_assert_int_eq(run(words), 2);
    ck_assert(file_read_whole(scratch_path("tls/server.key"), &after, &err));
    ck_assert_uint_eq(before.used, after.used);
    ck_assert_mem_eq(before.bytes, after.bytes, before.used);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("tls_init");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, paths_are_quoted_as_each_file_wants_it);
    tcase_add_loop_test(tests, the_lines_for_pgcoffer_are_a_configuration, 0, 2);
    tcase_add_test(tests, pg_hba_lines_let_the_role_in_by_certificate_only);
    tcase_add_test(tests, a_server_with_a_name_in_the_network_takes_its_networks);
    tcase_add_test(tests, every_file_is_told_with_its_reader);
    tcase_add_test(tests, the_files_of_metrics_are_told_to_the_endpoint_and_to_prometheus);
    tcase_add_test(tests, the_files_of_the_gateway_are_told_to_the_daemon_and_to_the_database_host);
    tcase_add_test(tests, an_ipv6_target_stands_in_brackets);
    tcase_add_test(tests, nothing_is_told_of_metrics_and_gateway_unless_they_are_wished);
    tcase_add_loop_test(tests, what_is_no_name_number_or_kind_is_a_wrong_usage_and_writes_nothing, 0, 15);
    tcase_add_loop_test(tests, a_path_that_libpq_could_not_name_is_refused, 0, 2);
    tcase_add_test(tests, a_second_run_changes_nothing);
    return suite_run("tls_init", tests);
}
