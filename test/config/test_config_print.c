#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/config/config.h"
#include "support/suite.h"

static const char full[] = "[pgcoffer]\nbase_dir = /b\nadmin_group = \"a \\\"b\\\\\"\nmonitors = nagios, @ops\n"
                           "[primary]\nhost = db1\nuser = repl # x\nport = 5433\n"
                           "tls_cert_file=/t/c\ntls_key_file=/t/k\ntls_ca_file=/t/a\ncreate_slot = no\n"
                           "[other]\nhost = db2\nuser = \" r#x \"\ntls_ca_file=system\npassword_file=/p\n";

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    struct error err;

    ck_assert_msg(config_parse(text, strlen(text), "c", &config, &err), "%s (%s)\n%s", err.message, err.hint, text);
    return config;
}

START_TEST(a_configuration_survives_a_round_trip_as_text)
{
    struct config *config SCOPED(scoped_config) = parse(full);
    char *text SCOPED(scoped_free) = config_to_text(config);
    struct config *again SCOPED(scoped_config) = parse(text);

    ck_assert_uint_eq(again->server_count, 2);
    ck_assert_mem_eq(&again->settings, &config->settings, sizeof config->settings);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_str_eq(again->servers[i].name, config->servers[i].name);
        ck_assert_str_eq(again->servers[i].settings.user, config->servers[i].settings.user);
    }
    ck_assert_str_eq(again->servers[1].settings.user, " r#x ");
    ck_assert_str_eq(again->settings.admin_group, "a \"b\\");
    ck_assert(again->is_admin_group_written);
    char *text_again SCOPED(scoped_free) = config_to_text(again);
    ck_assert_str_eq(text, text_again);

    struct config *empty SCOPED(scoped_config) = parse("");
    char *empty_text SCOPED(scoped_free) = config_to_text(empty);
    struct config *empty_again SCOPED(scoped_config) = parse(empty_text);
    ck_assert(!empty_again->is_admin_group_written);
    ck_assert_str_eq(empty_again->settings.admin_group, "pgcoffer");
}
END_TEST

static void note_value(const struct config_value *value, void *context)
{
    char *seen = context;
    size_t used = strlen(seen);

    snprintf(seen + used, 65536 - used, "%s.%s=%s (%s)\n", value->section, value->name, value->value, value->origin);
}

START_TEST(every_value_is_shown_with_its_origin)
{
    struct config *config SCOPED(scoped_config) = parse(full);
    char *seen SCOPED(scoped_free) = memory_new(65536);

    config_visit(config, note_value, seen);
    ck_assert_ptr_nonnull(strstr(seen, "pgcoffer.base_dir=/b (c:2)\n"));
    ck_assert_ptr_nonnull(strstr(seen, "pgcoffer.unix_socket_dir=/run/pgcoffer (default)\n"));
    ck_assert_ptr_nonnull(strstr(seen, "primary.port=5433 (c:8)\n"));
    ck_assert_ptr_nonnull(strstr(seen, "primary.create_slot=no (c:12)\n"));
    ck_assert_ptr_nonnull(strstr(seen, "other.port=5432 (default)\n"));
    ck_assert_ptr_nonnull(strstr(seen, "other.monitors=nagios,@ops (c:4)\n"));
    ck_assert_ptr_null(strstr(seen, "primary.base_dir"));
    ck_assert_ptr_null(strstr(seen, "pgcoffer.user"));
}
END_TEST

START_TEST(an_unknown_server_is_told_the_known_ones)
{
    struct config *config SCOPED(scoped_config) = parse(full);
    const struct server_config *server = NULL;
    struct error err;

    ck_assert(config_find_server(config, "other", &server, &err));
    ck_assert_str_eq(server->name, "other");
    ck_assert(!config_find_server(config, "primry", &server, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_str_eq(err.message, "there is no server \"primry\" in the configuration");
    ck_assert_str_eq(err.hint, "Did you mean \"primary\"?");
    ck_assert(!config_find_server(config, "warehouse", &server, &err));
    ck_assert_str_eq(err.hint, "The configuration has: primary, other.");
    struct config *empty SCOPED(scoped_config) = parse("");
    ck_assert(!config_find_server(empty, "p", &server, &err));
    ck_assert_str_eq(err.hint, "Add a section [p] with host, user and the tls_* files to the configuration.");
}
END_TEST

START_TEST(only_settings_that_cannot_be_reloaded_ask_for_a_restart)
{
    struct config *old_config SCOPED(scoped_config) = parse("[pgcoffer]\nlog_level = info\n");
    struct config *same SCOPED(scoped_config) = parse("[pgcoffer]\nlog_level = debug\n");
    struct config *moved SCOPED(scoped_config) = parse("[pgcoffer]\nbase_dir = /b\nunix_socket_dir = /s\n");
    char names[CONFIG_TEXT_SIZE];

    config_restart_needed(old_config, same, names);
    ck_assert_str_eq(names, "");
    config_restart_needed(old_config, moved, names);
    ck_assert_str_eq(names, "base_dir, unix_socket_dir");
}
END_TEST

static char *print_sample(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    config_print_sample(out);
    fclose(out);
    return text;
}

START_TEST(the_sample_parses_and_changes_nothing)
{
    char *sample SCOPED(scoped_free) = print_sample();
    struct config *config SCOPED(scoped_config) = parse(sample);
    struct config *empty SCOPED(scoped_config) = parse("");

    ck_assert_uint_eq(config->server_count, 0);
    ck_assert_mem_eq(&config->settings, &empty->settings, sizeof config->settings);
}
END_TEST

START_TEST(the_sample_parses_with_every_line_made_active)
{
    char *sample SCOPED(scoped_free) = print_sample();

    for (char *line = sample; line != NULL; line = strchr(line, '\n')) {
        if (line[0] == '\n')
            line++;
        if (line[0] == '#' && line[1] != ' ' && line[1] != '\n')
            line[0] = ' ';
    }
    struct config *config SCOPED(scoped_config) = parse(sample);
    ck_assert_uint_eq(config->server_count, 1);
    ck_assert_str_eq(config->servers[0].settings.host, "db1.example.com");
}
END_TEST

START_TEST(the_file_in_conf_is_the_sample)
{
    char *sample SCOPED(scoped_free) = print_sample();
    const char *path = TEST_SOURCE_DIRECTORY "/conf/pgcoffer.conf";

    if (getenv("UPDATE_GOLDEN") != NULL) {
        FILE *golden = fopen(path, "w");
        ck_assert_ptr_nonnull(golden);
        fputs(sample, golden);
        ck_assert_int_eq(fclose(golden), 0);
    }
    char *file SCOPED(scoped_free) = memory_new(65536);
    FILE *in = fopen(path, "r");
    ck_assert_ptr_nonnull(in);
    size_t size = fread(file, 1, 65535, in);
    fclose(in);
    ck_assert_msg(size == strlen(sample) && memcmp(file, sample, size) == 0,
                  "conf/pgcoffer.conf differs from the sample; run this test with UPDATE_GOLDEN=1");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("config_print");

    tcase_add_test(tests, a_configuration_survives_a_round_trip_as_text);
    tcase_add_test(tests, every_value_is_shown_with_its_origin);
    tcase_add_test(tests, an_unknown_server_is_told_the_known_ones);
    tcase_add_test(tests, only_settings_that_cannot_be_reloaded_ask_for_a_restart);
    tcase_add_test(tests, the_sample_parses_and_changes_nothing);
    tcase_add_test(tests, the_sample_parses_with_every_line_made_active);
    tcase_add_test(tests, the_file_in_conf_is_the_sample);
    return suite_run("config_print", tests);
}
