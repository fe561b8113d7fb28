#include "daemon/start_line_internal.h"

#include <string.h>

#include "support/suite.h"

static const char text[] = "[one]\nhost = a\nuser = repl\n"
                           "tls_cert_file = /c\ntls_key_file = /k\ntls_ca_file = /a\n"
                           "[two]\nhost = b\nuser = other\n"
                           "tls_cert_file = /c\ntls_key_file = /k\ntls_ca_file = /a\n";
static struct config *config;

static void read_configuration(void)
{
    struct error err;

    ck_assert_msg(config_parse(text, sizeof text - 1, "test", &config, &err), "%s", err.message);
}

static void free_configuration(void)
{
    config_free(config);
}

START_TEST(a_worker_gets_the_sections_it_needs_and_no_other)
{
    const struct start_line line = {.config = config,
                                    .is_wanted = start_line_wants_one,
                                    .context = "two",
                                    .server = "two",
                                    .right = "admin",
                                    .job = "3",
                                    .caller = "uid 0 (root)"};
    struct config *part SCOPED(scoped_config) = NULL;
    struct error err;

    json_t *start SCOPED(scoped_json) = start_line_to_json(&line);
    const char *part_text = json_text_or_null(start, "config");
    ck_assert(config_parse(part_text, strlen(part_text), "part", &part, &err));
    ck_assert_uint_eq(part->server_count, 1);
    ck_assert_str_eq(part->servers[0].name, "two");
    ck_assert_str_eq(part->servers[0].settings.user, "other");
    ck_assert_ptr_null(strstr(part_text, "[one]"));
    ck_assert_str_eq(json_text_or_null(start, "job"), "3");
    ck_assert_uint_eq(json_array_size(json_object_get(start, "servers")), 1);
    ck_assert(!json_is_set(start, "resume"));
    ck_assert_uint_eq(config->server_count, 2); /* untouched */
}
END_TEST

START_TEST(without_a_choice_the_whole_configuration_goes)
{
    struct request request = {.command = COMMAND_ID_verify};
    const struct start_line line = {.config = config, .request = &request, .is_resume = true};

    json_t *start SCOPED(scoped_json) = start_line_to_json(&line);
    ck_assert_uint_eq(json_array_size(json_object_get(start, "servers")), 2);
    ck_assert_str_eq(json_text_or_null(json_object_get(start, "request"), "command"), "verify");
    ck_assert(json_is_set(start, "resume"));
    ck_assert_ptr_null(json_object_get(start, "server"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("start_line");

    tcase_add_checked_fixture(tests, read_configuration, free_configuration);
    tcase_add_test(tests, a_worker_gets_the_sections_it_needs_and_no_other);
    tcase_add_test(tests, without_a_choice_the_whole_configuration_goes);
    return suite_run("start_line", tests);
}
