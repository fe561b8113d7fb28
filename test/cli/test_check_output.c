#include <string.h>
#include <unistd.h>

#include "cli/check_internal.h"
#include "pgcoffer/base/memory.h"
#include "support/suite.h"

/* How results become a table, an object, or one line for a monitoring system; and a server described by options. */

static struct invocation make_invocation(const char *const *words)
{
    static char *argv[32];
    struct invocation invocation = {.command = COMMAND_COUNT};
    struct error err;
    int count = 0;

    argv[count++] = (char *)"pgcoffer";
    argv[count++] = (char *)"check";
    for (; *words != NULL; words++)
        argv[count++] = (char *)*words;
    argv[count] = NULL;
    ck_assert_msg(arguments_parse(count, argv, &invocation, &err), "%s", err.message);
    return invocation;
}

#define INVOCATION(...) make_invocation((const char *const[]){__VA_ARGS__, NULL})

static void add(struct check_page *page, enum check_id id, enum check_state state, const char *cause, int64_t measure)
{
    struct check_result result = {.id = id, .state = state};

    snprintf(result.seen, sizeof result.seen, "seen %s", check_rows[id].name);
    snprintf(result.cause, sizeof result.cause, "%s", cause);
    snprintf(result.fix, sizeof result.fix, "%s", cause[0] != '\0' ? "type this" : "");
    if (measure >= 0)
        result.measure = (struct check_measure){"days", measure, 21, id == CHECK_ID_receiver_lag ? -1 : 3};
    json_t *check SCOPED(scoped_json) = check_result_to_json(page->server, &result);
    check_page_add(page, check);
}

static void expect_nagios(const struct check_report *report, int status, const char *line)
{
    int found = -1;
    char *text SCOPED(scoped_free) = check_nagios_line(report, &found);

    ck_assert_str_eq(text, line);
    ck_assert_int_eq(found, status);
}

START_TEST(a_healthy_server_is_one_line_with_its_numbers)
{
    struct check_report report SCOPED(check_report_done) = {.pages = NULL};
    struct check_page *page = check_report_begin(&report, "primary", "primary");

    add(page, CHECK_ID_expiry_client, CHECK_PASS, "", 85);
    add(page, CHECK_ID_receiver_lag, CHECK_PASS, "", 0);
    add(page, CHECK_ID_hba_plaintext, CHECK_SKIP, "", -1);
    expect_nagios(&report, 0,
                  "PGCOFFER OK - primary: 2 checks passed | days_client=85;21:;3: lag_bytes=0B;21; passed=2 warnings=0 "
                  "failed=0 skipped=1");
}
END_TEST

START_TEST(the_worst_fault_is_named_first_and_nothing_breaks_the_line)
{
    struct check_report report SCOPED(check_report_done) = {.pages = NULL};
    struct check_page *page = check_report_begin(&report, "primary", "primary");

    add(page, CHECK_ID_expiry_client, CHECK_WARN, "It ends in 5 days.", 5);
    expect_nagios(&report, 1,
                  "PGCOFFER WARNING - primary: expiry.client: It ends in 5 days (1 warning, 0 checks passed) | "
                  "days_client=5;21:;3: passed=0 warnings=1 failed=0 skipped=0");
    add(page, CHECK_ID_server_connect, CHECK_FAIL, "refused | by\nthe wall", -1);
    expect_nagios(&report, 2,
                  "PGCOFFER CRITICAL - primary: server.connect: refused / by?the wall (1 failed, 1 warning, 0 checks "
                  "passed) | days_client=5;21:;3: passed=0 warnings=1 failed=1 skipped=0");
}
END_TEST

START_TEST(a_gateway_beside_a_server_has_labels_of_its_own)
{
    struct check_report report SCOPED(check_report_done) = {.pages = NULL};

    add(check_report_begin(&report, "", "gateway at backup port 7432"), CHECK_ID_client_expiry, CHECK_PASS, "", 85);
    add(check_report_page(&report, "one"), CHECK_ID_expiry_client, CHECK_PASS, "", 40);
    ck_assert_str_eq(check_report_page(&report, "")->title, "gateway at backup port 7432");
    expect_nagios(
        &report, 0,
        "PGCOFFER OK - gateway at backup port 7432: 1 checks passed; one: 1 checks passed | "
        "gateway_days_client=85;21:;3: gateway_passed=1 gateway_warnings=0 gateway_failed=0 gateway_skipped=0 "
        "days_client=40;21:;3: passed=1 warnings=0 failed=0 skipped=0");
}
END_TEST

START_TEST(of_several_servers_the_worst_stands_first_and_every_number_has_its_server)
{
    struct check_report report SCOPED(check_report_done) = {.pages = NULL};

    add(check_report_begin(&report, "one", "one"), CHECK_ID_file_ca, CHECK_PASS, "", -1);
    add(check_report_begin(&report, "two", "two"), CHECK_ID_file_ca, CHECK_FAIL, "It is gone.", -1);
    expect_nagios(&report, 2,
                  "PGCOFFER CRITICAL - two: file.ca: It is gone (1 failed, 0 checks passed); one: 1 checks passed | "
                  "one_passed=1 one_warnings=0 one_failed=0 one_skipped=0 two_passed=0 two_warnings=0 two_failed=1 "
                  "two_skipped=0");
}
END_TEST

START_TEST(what_could_not_be_tested_is_unknown)
{
    struct check_report report SCOPED(check_report_done) = {.pages = NULL};
    struct error err;
    int status = 0;

    error_set(&err, ERROR_CONFIG, "c:1: \"a|b\" is\nwrong");
    error_hint(&err, "Write it otherwise.");
    char *line SCOPED(scoped_free) = check_nagios_failure(&err);
    ck_assert_str_eq(line, "PGCOFFER UNKNOWN - c:1: \"a/b\" is?wrong: Write it otherwise");
    /* Nothing but skips proves nothing. */
    add(check_report_begin(&report, "one", "one"), CHECK_ID_file_crl, CHECK_SKIP, "", -1);
    char *skipped SCOPED(scoped_free) = check_nagios_line(&report, &status);
    ck_assert_int_eq(status, CHECK_NAGIOS_UNKNOWN);
    ck_assert_msg(strncmp(skipped, "PGCOFFER UNKNOWN - one: 0 checks passed |", 41) == 0, "%s", skipped);
}
END_TEST

START_TEST(the_object_has_every_result_in_the_tables_order_and_the_counts)
{
    struct check_report report SCOPED(check_report_done) = {.pages = NULL};
    struct check_page *page = check_report_begin(&report, "primary", "primary");

    add(page, CHECK_ID_expiry_client, CHECK_PASS, "", 85);
    add(page, CHECK_ID_file_ca, CHECK_FAIL, "It is gone.", -1);
    json_t *newer SCOPED(scoped_json) =
        json_pack("{s:s, s:s, s:s}", "id", "moon.phase", "state", "warn", "group", "moon");
    check_page_add(page, newer); /* of a newer daemon */
    json_t *garbage SCOPED(scoped_json) = json_pack("{s:s}", "id", "file.key");
    check_page_add(page, garbage);
    json_t *object SCOPED(scoped_json) = check_report_to_json(&report);
    const json_t *checks = json_object_get(object, "checks");
    ck_assert_uint_eq(json_array_size(checks), 3);
    ck_assert_str_eq(json_text_or_null(json_array_get(checks, 0), "id"), "file.ca");
    ck_assert_str_eq(json_text_or_null(json_array_get(checks, 2), "id"), "moon.phase");
    const json_t *first = json_array_get(checks, 1);
    ck_assert_str_eq(json_text_or_null(first, "server"), "primary");
    ck_assert_str_eq(json_text_or_null(first, "id"), "expiry.client");
    ck_assert_str_eq(json_text_or_null(first, "level"), "files");
    ck_assert_int_eq(json_number_or(json_object_get(first, "measure"), "value", -1), 85);
    const json_t *summary = json_object_get(object, "summary");
    ck_assert_int_eq(json_number_or(summary, "pass", -1), 1);
    ck_assert_int_eq(json_number_or(summary, "warn", -1), 1);
    ck_assert_int_eq(json_number_or(summary, "fail", -1), 1);
    ck_assert_int_eq(json_number_or(summary, "skip", -1), 0);
    ck_assert(page->states.is_told[CHECK_ID_file_ca] && page->states.state[CHECK_ID_file_ca] == CHECK_FAIL);
}
END_TEST

/* What `print` writes to the standard output. */
static char *printed(const struct invocation *invocation, const struct check_report *report)
{
    char *text = memory_new(8192);
    int pipe_ends[2];

    ck_assert_int_eq(pipe(pipe_ends), 0);
    fflush(stdout);
    int before = dup(STDOUT_FILENO);
    dup2(pipe_ends[1], STDOUT_FILENO);
    close(pipe_ends[1]);
    check_report_print(invocation, report);
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    ssize_t size = read(pipe_ends[0], text, 8191);
    close(pipe_ends[0]);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

START_TEST(people_get_groups_with_cause_and_fix_below_what_is_wrong)
{
    struct check_report report SCOPED(check_report_done) = {.pages = NULL};
    struct check_page *page = check_report_begin(&report, "primary", "primary");
    struct invocation plain SCOPED(invocation_done) = INVOCATION("--color", "never");
    struct invocation colored SCOPED(invocation_done) = INVOCATION("--color", "always");
    struct invocation quiet SCOPED(invocation_done) = INVOCATION("--quiet");

    add(page, CHECK_ID_protocol_mode, CHECK_PASS, "", -1);
    add(page, CHECK_ID_file_ca, CHECK_FAIL, "It is \033[2J gone.", -1);
    add(page, CHECK_ID_protocol_answer, CHECK_SKIP, "", -1);
    char *text SCOPED(scoped_free) = printed(&plain, &report);
    ck_assert_str_eq(text, "primary\n"
                           "\nprotocol\n"
                           "  pass  protocol.mode          seen protocol.mode\n"
                           "  skip  protocol.answer        seen protocol.answer\n"
                           "\nfile\n"
                           "  fail  file.ca                seen file.ca\n"
                           "        cause: It is ?[2J gone.\n"
                           "        fix: type this\n"
                           "\nprimary: 1 passed, 0 warnings, 1 failed, 1 skipped\n");
    char *bright SCOPED(scoped_free) = printed(&colored, &report);
    ck_assert_ptr_nonnull(strstr(bright, "  \033[1;31mfail\033[0m  file.ca "));
    char *essentials SCOPED(scoped_free) = printed(&quiet, &report);
    ck_assert_str_eq(essentials, "primary: file.ca: It is ?[2J gone.\n        fix: type this\n");
}
END_TEST

/* ---- a server described by options ---- */

static bool read_target(struct invocation invocation, struct server_config *server, struct error *err)
{
    struct invocation owned SCOPED(invocation_done) = invocation;

    *server = (struct server_config){.name = ""};
    config_default_settings(&server->settings);
    ck_assert(check_target_is_given(&owned));
    return check_target_read(&owned, server, err);
}

START_TEST(options_describe_a_server_as_settings_would)
{
    struct server_config server;
    struct error err;
    char here[1024], expected[1100];

    ck_assert_msg(
        read_target(INVOCATION("--host", "db1", "--user", "a\"b\nallow_weak_password = yes", "--tls-mode", "require",
                               "--tls-cert-file", "repl.crt", "--tls-key-file", "/k", "--tls-ca-file", "system"),
                    &server, &err),
        "%s", err.message);
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    snprintf(expected, sizeof expected, "%s/repl.crt", here);
    ck_assert_str_eq(server.name, "");
    ck_assert_str_eq(server.settings.tls_cert_file, expected);
    ck_assert_str_eq(server.settings.tls_ca_file, "system");
    ck_assert_str_eq(server.settings.user, "a\"b\nallow_weak_password = yes");
    ck_assert(!server.settings.allow_weak_password && server.settings.allow_insecure);
    ck_assert_int_eq(server.settings.port, 5432);
    ck_assert_int_eq(config_tls_mode(&server.settings), TLS_REQUIRE);
}
END_TEST

static void expect_refused(struct invocation invocation, const char *message)
{
    struct server_config server;
    struct error err;

    ck_assert(!read_target(invocation, &server, &err));
    ck_assert_str_eq(err.message, message);
    ck_assert_int_eq(err.kind, ERROR_USAGE);
}

START_TEST(options_no_setting_would_take_are_refused)
{
    expect_refused(INVOCATION("--host", "a", "--user", "u", "--port", "0"), "--port: \"0\" is no value for port");
    expect_refused(INVOCATION("--host", "a", "--user", "u", "--tls-mode", "prefer"),
                   "--tls-mode: \"prefer\" is no value for tls_mode");
    expect_refused(INVOCATION("--user", "u"), "no host was given");
    expect_refused(INVOCATION("--host", "a"), "no user was given");
    expect_refused(INVOCATION("--host", "/run/postgresql", "--user", "u"),
                   "--host /run/postgresql is a Unix socket, which has no TLS");
}
END_TEST

START_TEST(names_given_several_times_are_one_list)
{
    struct invocation invocation SCOPED(invocation_done) = INVOCATION("--only", "expiry", "--only", "hba,file.ca");
    struct request request SCOPED(request_done) = {0};
    struct error err;

    ck_assert(invocation_request(&invocation, &request, &err));
    ck_assert_str_eq(request_text(&request, OPTION_ID_only), "expiry,hba,file.ca");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("check_output");

    tcase_add_test(tests, a_healthy_server_is_one_line_with_its_numbers);
    tcase_add_test(tests, the_worst_fault_is_named_first_and_nothing_breaks_the_line);
    tcase_add_test(tests, a_gateway_beside_a_server_has_labels_of_its_own);
    tcase_add_test(tests, of_several_servers_the_worst_stands_first_and_every_number_has_its_server);
    tcase_add_test(tests, what_could_not_be_tested_is_unknown);
    tcase_add_test(tests, the_object_has_every_result_in_the_tables_order_and_the_counts);
    tcase_add_test(tests, people_get_groups_with_cause_and_fix_below_what_is_wrong);
    tcase_add_test(tests, options_describe_a_server_as_settings_would);
    tcase_add_test(tests, options_no_setting_would_take_are_refused);
    tcase_add_test(tests, names_given_several_times_are_one_list);
    return suite_run("check_output", tests);
}
