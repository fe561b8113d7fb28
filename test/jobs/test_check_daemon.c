#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/jobs/check.h"
#include "support/suite.h"

/* The daemon and its receiver as `check` sees them: pure, from made-up answers to `status`. */

#define STREAMING                                                                                                      \
    "\"state\":\"streaming\",\"since\":\"2026-11-22T01:30:00Z\",\"timeline\":1,\"flushed\":\"0/5000000\","             \
    "\"server_position\":\"0/5000060\",\"tls_version\":\"TLSv1.3\",\"tls_cipher\":\"TLS_AES_256_GCM_SHA384\","         \
    "\"error\":null"

static struct check_states before;
static struct check_options options;
static struct check_daemon_view view;
static struct check_result results[CHECK_COUNT];
static bool is_told[CHECK_COUNT];

static void set_up(void)
{
    struct settings settings;

    config_default_settings(&settings);
    options = check_options_default(&settings);
    before = (struct check_states){.is_told = {false}};
    view = (struct check_daemon_view){.server = "primary", .socket_path = "/run/s", .why = ""};
    memset(is_told, 0, sizeof is_told);
}

static bool take(void *context, const struct check_result *result, struct error *err)
{
    (void)context;
    (void)err;
    ck_assert(!is_told[result->id]);
    ck_assert_int_eq(check_rows[result->id].level, CHECK_LEVEL_DAEMON);
    ck_assert_str_ne(result->seen, "");
    ck_assert_int_eq(result->cause[0] != '\0', result->state == CHECK_WARN || result->state == CHECK_FAIL);
    ck_assert_int_eq(result->fix[0] != '\0', result->state == CHECK_WARN || result->state == CHECK_FAIL);
    is_told[result->id] = true;
    results[result->id] = *result;
    return true;
}

/* `receiver` is what stands between the braces; NULL: the daemon does not know the server. */
static void look(const char *receiver)
{
    struct error err;
    json_t *status SCOPED(scoped_json) = json_pack("{s:s, s:i, s:s, s:s, s:[]}", "version", "0.1.0", "pid", 7,
                                                   "started_at", "2026-11-22T01:00:00Z", "config", "/etc/c", "servers");

    if (receiver != NULL) {
        char *text SCOPED(scoped_free) = memory_text("{\"server\":\"primary\",\"receiver\":{%s}}", receiver);
        json_t *server = json_parse_object(text, strlen(text), &err);
        ck_assert_msg(server != NULL, "%s", err.message);
        json_array_append_new(json_object_get(status, "servers"), server);
    }
    view.status = status;
    ck_assert(check_daemon(&view, &before, &options, take, NULL, &err));
    view.status = NULL;
}

static void expect(enum check_id id, enum check_state state, const char *part)
{
    const struct check_result *result = &results[id];

    ck_assert_msg(is_told[id], "%s was not told", check_rows[id].name);
    ck_assert_msg(result->state == state, "%s is %s: %s", check_rows[id].name, check_state_word(result->state),
                  result->seen);
    ck_assert_msg(strstr(result->seen, part) != NULL || strstr(result->cause, part) != NULL, "%s: %s / %s",
                  check_rows[id].name, result->seen, result->cause);
}

START_TEST(a_daemon_that_streams_passes)
{
    look(STREAMING);
    expect(CHECK_ID_daemon_running, CHECK_PASS, "pid 7");
    expect(CHECK_ID_daemon_configuration, CHECK_PASS, "[primary]");
    expect(CHECK_ID_receiver_streaming, CHECK_PASS, "TLSv1.3");
    expect(CHECK_ID_receiver_lag, CHECK_PASS, "96 bytes behind");
    ck_assert_str_eq(results[CHECK_ID_receiver_lag].measure.unit, "bytes");
    ck_assert_int_eq(results[CHECK_ID_receiver_lag].measure.value, 96);
}
END_TEST

START_TEST(no_daemon_is_a_warning_that_the_rest_waits_for)
{
    struct error err;

    view.why = "could not connect to the daemon at \"/run/s\": Connection refused";
    ck_assert(check_daemon(&view, &before, &options, take, NULL, &err));
    expect(CHECK_ID_daemon_running, CHECK_WARN, "nothing receives the WAL of \"primary\"");
    ck_assert_ptr_nonnull(strstr(results[CHECK_ID_daemon_running].fix, "systemctl start pgcofferd"));
    expect(CHECK_ID_daemon_configuration, CHECK_SKIP, "daemon does not answer");
    expect(CHECK_ID_receiver_streaming, CHECK_SKIP, "daemon does not answer");
    expect(CHECK_ID_receiver_lag, CHECK_SKIP, "daemon does not answer");
}
END_TEST

START_TEST(without_a_configuration_nothing_is_known_of_a_daemon)
{
    struct error err;

    view.server = "";
    ck_assert(check_daemon(&view, &before, &options, take, NULL, &err));
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (check_rows[id].level == CHECK_LEVEL_DAEMON)
            expect(id, CHECK_SKIP, "no configuration was read");
}
END_TEST

START_TEST(a_server_the_daemon_does_not_know_is_the_fault_and_the_receiver_waits_for_it)
{
    look(NULL);
    expect(CHECK_ID_daemon_configuration, CHECK_FAIL, "does not know the server \"primary\"");
    ck_assert_ptr_nonnull(strstr(results[CHECK_ID_daemon_configuration].fix, "pgcoffer reload"));
    expect(CHECK_ID_receiver_streaming, CHECK_SKIP, "daemon.configuration failed");
}
END_TEST

static void look_waiting(const char *check)
{
    char *receiver SCOPED(scoped_free) =
        memory_text("\"state\":\"waiting\",\"error\":{\"message\":\"the certificate expired\",\"hint\":\"Renew it.\","
                    "\"check\":\"%s\"}",
                    check);

    look(receiver);
    expect(CHECK_ID_receiver_lag, CHECK_SKIP, "does not stream");
}

static void tell_before(enum check_id id, enum check_state state)
{
    before.is_told[id] = true;
    before.state[id] = state;
}

START_TEST(a_fault_of_the_receiver_is_told_with_its_own_words)
{
    look_waiting("");
    expect(CHECK_ID_receiver_streaming, CHECK_FAIL, "does not stream: the certificate expired");
    ck_assert_str_eq(results[CHECK_ID_receiver_streaming].fix, "Renew it.");
}
END_TEST

START_TEST(a_fault_that_another_check_told_is_not_told_twice)
{
    tell_before(CHECK_ID_expiry_server, CHECK_FAIL);
    look_waiting("expiry.server");
    expect(CHECK_ID_receiver_streaming, CHECK_SKIP, "expiry.server failed");
}
END_TEST

START_TEST(a_receiver_without_a_named_fault_follows_what_is_wrong_with_the_connection)
{
    tell_before(CHECK_ID_hba_plaintext, CHECK_FAIL); /* keeps nobody from connecting */
    tell_before(CHECK_ID_server_connect, CHECK_FAIL);
    look_waiting("");
    expect(CHECK_ID_receiver_streaming, CHECK_SKIP, "server.connect failed");
}
END_TEST

START_TEST(a_fault_that_is_mended_by_now_is_a_warning)
{
    tell_before(CHECK_ID_expiry_server, CHECK_PASS);
    look_waiting("expiry.server");
    expect(CHECK_ID_receiver_streaming, CHECK_WARN, "expiry.server finds nothing wrong now");
}
END_TEST

START_TEST(what_a_stream_warns_of_is_told_unless_another_check_tells_it)
{
    static const char receiver[] = STREAMING
        ",\"warning\":{\"message\":\"the new key fits not\",\"hint\":\"Put it right.\",\"check\":\"key.match\"}";

    look(receiver);
    expect(CHECK_ID_receiver_streaming, CHECK_WARN, "but warns: the new key fits not");
    ck_assert_str_eq(results[CHECK_ID_receiver_streaming].fix, "Put it right.");
    expect(CHECK_ID_receiver_lag, CHECK_PASS, "96 bytes");
    set_up();
    tell_before(CHECK_ID_key_match, CHECK_FAIL);
    look(receiver);
    expect(CHECK_ID_receiver_streaming, CHECK_PASS, "TLSv1.3");
}
END_TEST

START_TEST(a_stream_in_clear_text_fails)
{
    look("\"state\":\"streaming\",\"tls_version\":\"\",\"server_position\":\"0/5\",\"flushed\":\"0/5\"");
    expect(CHECK_ID_receiver_streaming, CHECK_FAIL, "in clear text");
    expect(CHECK_ID_receiver_lag, CHECK_PASS, "0 bytes");
}
END_TEST

START_TEST(a_receiver_far_behind_is_warned_of)
{
    look("\"state\":\"streaming\",\"tls_version\":\"TLSv1.3\",\"server_position\":\"1/0\",\"flushed\":\"0/E0000000\"");
    expect(CHECK_ID_receiver_lag, CHECK_WARN, "512 MB behind the server");
    set_up();
    look("\"state\":\"connecting\",\"since\":\"2026-11-22T01:30:00Z\",\"error\":null");
    expect(CHECK_ID_receiver_streaming, CHECK_WARN, "not streaming yet");
}
END_TEST

START_TEST(only_what_is_wanted_is_told_and_what_was_told_before_is_not)
{
    struct error err;

    ck_assert(check_options_only(&options, "receiver.streaming,daemon.configuration", true, &err));
    tell_before(CHECK_ID_daemon_configuration, CHECK_WARN);
    look(STREAMING);
    expect(CHECK_ID_receiver_streaming, CHECK_PASS, "streaming since");
    ck_assert(!is_told[CHECK_ID_daemon_running] && !is_told[CHECK_ID_daemon_configuration]);
}
END_TEST

/* ---- daemon.configuration, with both configurations ---- */

#define SECTION "host=a\nuser=repl\ntls_cert_file=/c\ntls_key_file=/k\ntls_ca_file=/a\n"

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    struct error err;

    ck_assert_msg(config_parse(text, strlen(text), "c", &config, &err), "%s", err.message);
    return config;
}

static void compare(const char *running_text, const char *present_text, enum check_state state, const char *part,
                    const char *fix)
{
    struct config *running SCOPED(scoped_config) = parse(running_text);
    struct config *present SCOPED(scoped_config) = present_text != NULL ? parse(present_text) : NULL;
    struct error failure;
    struct error err;

    error_set(&failure, ERROR_CONFIG, "c:3: there is no setting \"prot\"");
    error_hint(&failure, "Did you mean \"port\"?");
    check_configuration(running, present, &failure, "primary", &results[0]);
    results[0].id = CHECK_ID_daemon_configuration;
    set_up();
    struct check_result result = results[0];
    ck_assert(take(NULL, &result, &err));
    expect(CHECK_ID_daemon_configuration, state, part);
    ck_assert_msg(strstr(result.fix, fix) != NULL, "%s", result.fix);
}

START_TEST(the_daemons_settings_are_compared_with_the_files)
{
    const char *same = "[primary]\n" SECTION;

    compare(same, same, CHECK_PASS, "[primary] is as in", "");
    compare(same, "[primary]\nport=5433\nexpiry_warn_days=30\n" SECTION, CHECK_WARN,
            "changed in the file: ", "pgcoffer reload");
    compare(same, "[pgcoffer]\nbase_dir=/b\n[primary]\n" SECTION, CHECK_WARN, "base_dir",
            "systemctl restart pgcofferd");
    compare(same, "[other]\n" SECTION, CHECK_WARN, "was removed", "pgcoffer reload");
    compare("[other]\n" SECTION, same, CHECK_FAIL, "is new", "pgcoffer reload");
    compare(same, NULL, CHECK_FAIL, "there is no setting \"prot\"", "Did you mean \"port\"?");
}
END_TEST

/* ---- the options of a request ---- */

static bool read_options(const char *options_text, struct check_options *ret_options, struct error *err)
{
    char *text SCOPED(scoped_free) = memory_text("{%s}", options_text);
    struct request request = {.command = COMMAND_ID_check, .options = json_parse_object(text, strlen(text), err)};
    struct settings settings;

    ck_assert_ptr_nonnull(request.options);
    config_default_settings(&settings);
    bool is_read = check_options_read(&request, &settings, ret_options, err);
    request_done(&request);
    return is_read;
}

START_TEST(a_requests_options_stand_over_the_settings)
{
    struct check_options read;
    struct error err;

    ck_assert(read_options("", &read, &err));
    ck_assert_int_eq(read.warn_days, 21);
    ck_assert_int_eq(read.critical_days, 3);
    ck_assert(!read.is_passive && read.is_wanted[CHECK_ID_hba_replication]);
    ck_assert(read_options("\"warn-days\":\"40\",\"passive\":true,\"only\":\"expiry,file.key\"", &read, &err));
    ck_assert_int_eq(read.warn_days, 40);
    ck_assert(read.is_passive && read.is_wanted[CHECK_ID_expiry_crl] && read.is_wanted[CHECK_ID_file_key]);
    ck_assert(!read.is_wanted[CHECK_ID_file_ca]);
    /* One of the two follows the other. */
    ck_assert(read_options("\"critical-days\":\"40\"", &read, &err));
    ck_assert_int_eq(read.warn_days, 40);
    ck_assert(read_options("\"warn-days\":\"2\"", &read, &err));
    ck_assert_int_eq(read.critical_days, 2);
}
END_TEST

START_TEST(wrong_options_of_a_request_are_refused)
{
    struct check_options read;
    struct error err;

    ck_assert(!read_options("\"warn-days\":\"soon\"", &read, &err));
    ck_assert_str_eq(err.message, "--warn-days: \"soon\" is no number of days");
    ck_assert(!read_options("\"warn-days\":\"3651\"", &read, &err));
    ck_assert(!read_options("\"warn-days\":\"5\",\"critical-days\":\"9\"", &read, &err));
    ck_assert_str_eq(err.message, "--critical-days 9 is more than --warn-days 5");
    ck_assert(!read_options("\"only\":\"expiri\"", &read, &err));
    ck_assert_str_eq(err.hint, "Did you mean \"expiry\"?");
    ck_assert_int_eq(err.kind, ERROR_USAGE);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("check_daemon");

    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_add_test(tests, a_daemon_that_streams_passes);
    tcase_add_test(tests, no_daemon_is_a_warning_that_the_rest_waits_for);
    tcase_add_test(tests, without_a_configuration_nothing_is_known_of_a_daemon);
    tcase_add_test(tests, a_server_the_daemon_does_not_know_is_the_fault_and_the_receiver_waits_for_it);
    tcase_add_test(tests, a_fault_of_the_receiver_is_told_with_its_own_words);
    tcase_add_test(tests, a_fault_that_another_check_told_is_not_told_twice);
    tcase_add_test(tests, a_receiver_without_a_named_fault_follows_what_is_wrong_with_the_connection);
    tcase_add_test(tests, a_fault_that_is_mended_by_now_is_a_warning);
    tcase_add_test(tests, what_a_stream_warns_of_is_told_unless_another_check_tells_it);
    tcase_add_test(tests, a_stream_in_clear_text_fails);
    tcase_add_test(tests, a_receiver_far_behind_is_warned_of);
    tcase_add_test(tests, only_what_is_wanted_is_told_and_what_was_told_before_is_not);
    tcase_add_test(tests, the_daemons_settings_are_compared_with_the_files);
    tcase_add_test(tests, a_requests_options_stand_over_the_settings);
    tcase_add_test(tests, wrong_options_of_a_request_are_refused);
    return suite_run("check_daemon", tests);
}
