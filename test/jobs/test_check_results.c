#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "jobs/check/check_internal.h"
#include "support/suite.h"

static struct server_config server;
static struct check_request request;
static struct check_run run;

static void begin(void)
{
    server = (struct server_config){.name = "primary"};
    snprintf(server.settings.host, sizeof server.settings.host, "db1");
    server.settings.expiry_warn_days = 21;
    server.settings.expiry_critical_days = 3;
    request = (struct check_request){.server = &server, .interrupt_fd = -1};
    request.options = check_options_default(&server.settings);
    run = (struct check_run){.request = &request, .server = &server};
}

static void end(void)
{
    check_run_done(&run);
}

static void fail_at(enum check_id id)
{
    struct finding finding = {0};

    finding_cause(&finding, id, "The cause of %s.", check_rows[id].name);
    finding_fix(&finding, "Mend it.");
    check_fail(&run, &finding);
}

static void warn_at(enum check_id id)
{
    struct finding finding = {0};

    finding_cause(&finding, id, "A doubt.");
    check_warn(&run, &finding);
}

START_TEST(the_first_result_counts_until_a_worse_one_comes)
{
    check_pass(&run, CHECK_ID_expiry_ca, "fine");
    check_pass(&run, CHECK_ID_expiry_ca, "fine again");
    check_skip(&run, CHECK_ID_expiry_ca, "not so");
    ck_assert_int_eq(run.results[CHECK_ID_expiry_ca].state, CHECK_PASS);
    ck_assert_str_eq(run.results[CHECK_ID_expiry_ca].seen, "fine");
    warn_at(CHECK_ID_expiry_ca);
    ck_assert_int_eq(run.results[CHECK_ID_expiry_ca].state, CHECK_WARN);
    fail_at(CHECK_ID_expiry_ca);
    warn_at(CHECK_ID_expiry_ca);
    check_pass(&run, CHECK_ID_expiry_ca, "fine");
    ck_assert_int_eq(run.results[CHECK_ID_expiry_ca].state, CHECK_FAIL);
    ck_assert_str_eq(run.results[CHECK_ID_expiry_ca].cause, "The cause of expiry.ca.");
    ck_assert_str_eq(run.results[CHECK_ID_expiry_ca].fix, "Mend it.");
}
END_TEST

START_TEST(a_check_waits_for_what_it_needs)
{
    ck_assert(check_may(&run, CHECK_ID_server_resolve));
    ck_assert(!check_may(&run, CHECK_ID_server_connect));
    check_pass(&run, CHECK_ID_server_resolve, "one address");
    ck_assert(check_may(&run, CHECK_ID_server_connect));
    warn_at(CHECK_ID_server_connect);
    ck_assert(check_may(&run, CHECK_ID_protocol_answer));
    fail_at(CHECK_ID_server_connect);
    ck_assert(!check_may(&run, CHECK_ID_protocol_answer));
    check_skip(&run, CHECK_ID_file_crl, "tls_crl_file is not configured");
    ck_assert(check_may(&run, CHECK_ID_expiry_crl));
}
END_TEST

static const char *settled(enum check_id id)
{
    ck_assert_int_eq(run.results[id].state, CHECK_SKIP);
    return run.results[id].seen;
}

START_TEST(what_was_not_looked_at_names_the_fault_it_waited_for)
{
    check_pass(&run, CHECK_ID_server_resolve, "one address");
    fail_at(CHECK_ID_server_connect);
    check_run_settle(&run, CHECK_LEVEL_FILES, CHECK_LEVEL_STORE);
    ck_assert_str_eq(settled(CHECK_ID_protocol_answer), "not looked at: server.connect failed");
    ck_assert_str_eq(settled(CHECK_ID_replication_slot), "not looked at: server.connect failed");
    ck_assert_int_eq(run.results[CHECK_ID_server_resolve].state, CHECK_PASS);
    ck_assert_int_eq(run.results[CHECK_ID_server_connect].state, CHECK_FAIL);
}
END_TEST

START_TEST(a_fault_of_a_file_keeps_the_certificate_from_being_shown)
{
    for (enum check_id id = 0; id < CHECK_ID_identity_requested; id++)
        if (id != CHECK_ID_key_mode)
            check_pass(&run, id, "fine");
    fail_at(CHECK_ID_key_mode);
    check_pass(&run, CHECK_ID_identity_requested, "asked for");
    check_run_settle(&run, CHECK_LEVEL_FILES, CHECK_LEVEL_STORE);
    ck_assert_str_eq(settled(CHECK_ID_identity_accepted), "not looked at: key.mode failed");
    ck_assert_str_eq(settled(CHECK_ID_replication_login), "not looked at: key.mode failed");
}
END_TEST

START_TEST(a_fault_told_by_another_check_is_the_reason)
{
    check_pass(&run, CHECK_ID_protocol_handshake, "TLSv1.3");
    fail_at(CHECK_ID_key_match);
    fail_at(CHECK_ID_expiry_server);
    check_block(&run, CHECK_ID_chain_server, CHECK_ID_expiry_server);
    check_block(&run, CHECK_ID_chain_server, CHECK_ID_key_match);
    check_run_settle(&run, CHECK_LEVEL_FILES, CHECK_LEVEL_STORE);
    ck_assert_str_eq(settled(CHECK_ID_chain_server), "not looked at: expiry.server failed");
    ck_assert_str_eq(settled(CHECK_ID_name_match), "not looked at: expiry.server failed");
}
END_TEST

START_TEST(without_a_fault_the_reason_is_honest)
{
    check_run_settle(&run, CHECK_LEVEL_FILES, CHECK_LEVEL_STORE);
    ck_assert_str_eq(settled(CHECK_ID_name_match), "not reached");
    ck_assert_str_eq(settled(CHECK_ID_repository_room), "not reached");
}
END_TEST

START_TEST(negative_probes_are_left_out_when_passive)
{
    request.options.is_passive = true;
    check_run_settle(&run, CHECK_LEVEL_FILES, CHECK_LEVEL_STORE);
    ck_assert_str_eq(settled(CHECK_ID_hba_plaintext), "left out by --passive");
    ck_assert_str_eq(settled(CHECK_ID_protocol_versions), "left out by --passive");
    ck_assert_str_eq(settled(CHECK_ID_hba_replication), "not reached");
}
END_TEST

START_TEST(an_error_goes_to_the_check_it_names)
{
    struct error err = {0};

    error_set_cause(&err, ERROR_TLS, "could not connect to server \"primary\" (db1 port 5432): ", "the key is open",
                    " (libpq: no)");
    error_detail(&err, "mode 0644");
    error_hint(&err, "Type: chmod 0600 it.");
    error_check(&err, "key.mode");
    check_fail_error(&run, CHECK_ID_replication_login, &err);
    ck_assert(check_has_failed(&run, CHECK_ID_key_mode));
    ck_assert(!check_is_set(&run, CHECK_ID_replication_login));
    ck_assert_str_eq(run.results[CHECK_ID_key_mode].cause, "The key is open.");
    ck_assert_str_eq(run.results[CHECK_ID_key_mode].seen, "mode 0644");
    check_run_settle(&run, CHECK_LEVEL_FILES, CHECK_LEVEL_STORE);
    ck_assert_str_eq(settled(CHECK_ID_replication_login), "not looked at: key.mode failed");
}
END_TEST

START_TEST(an_error_that_names_none_goes_to_the_one_that_looked)
{
    struct error err = {0};

    error_set(&err, ERROR_SERVER, "could not show \"wal_level\"");
    error_check(&err, "no.such");
    check_fail_error(&run, CHECK_ID_replication_wal_level, &err);
    ck_assert_str_eq(run.results[CHECK_ID_replication_wal_level].cause, "Could not show \"wal_level\".");
}
END_TEST

START_TEST(a_result_is_json_whatever_its_bytes)
{
    struct check_result result = {.id = CHECK_ID_expiry_server, .state = CHECK_WARN, .seen = "caf\xe9", .cause = "c"};
    json_t *json SCOPED(scoped_json) = check_result_to_json("primary", &result);
    json_t *bare SCOPED(scoped_json) = check_result_to_json("", &result);

    ck_assert_str_eq(json_text_or_null(json, "server"), "primary");
    ck_assert_str_eq(json_text_or_null(json, "id"), "expiry.server");
    ck_assert_str_eq(json_text_or_null(json, "group"), "expiry");
    ck_assert_str_eq(json_text_or_null(json, "level"), "handshake");
    ck_assert_str_eq(json_text_or_null(json, "state"), "warn");
    ck_assert_str_eq(json_text_or_null(json, "seen"), "caf?");
    ck_assert_str_eq(json_text_or_null(json, "fix"), "");
    ck_assert_ptr_null(json_object_get(bare, "server"));
}
END_TEST

START_TEST(only_keeps_groups_and_single_checks)
{
    struct check_options options = check_options_default(&server.settings);
    struct error err;

    ck_assert_int_eq(options.warn_days, 21);
    ck_assert_int_eq(options.critical_days, 3);
    ck_assert(check_options_only(&options, "expiry, chain.server", true, &err));
    ck_assert(options.is_wanted[CHECK_ID_expiry_client]);
    ck_assert(options.is_wanted[CHECK_ID_chain_server]);
    ck_assert(!options.is_wanted[CHECK_ID_chain_sent]);
    ck_assert(check_options_only(&options, "wal", false, &err));
    ck_assert(options.is_wanted[CHECK_ID_wal_continuity]);
    ck_assert(options.is_wanted[CHECK_ID_expiry_client]);
}
END_TEST

START_TEST(an_unknown_name_suggests_the_closest)
{
    struct check_options options = check_options_default(&server.settings);
    struct error err = {0};

    ck_assert(!check_options_only(&options, "expiri", true, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_ptr_nonnull(strstr(err.hint, "\"expiry\""));
    ck_assert(options.is_wanted[CHECK_ID_chain_sent]);
    ck_assert(!check_options_only(&options, "expiry,", true, &err));
    ck_assert(!check_options_only(&options, "", true, &err));
    ck_assert(!check_options_only(&options, "completely different", true, &err));
    ck_assert_ptr_nonnull(strstr(err.hint, "--list"));
}
END_TEST

static unsigned told;

static bool count_result(void *context, const struct check_result *result, struct error *err)
{
    enum check_id *last = context;

    (void)err;
    ck_assert(check_is_of_walk(result->id));
    ck_assert(told == 0 || result->id > *last);
    *last = result->id;
    told++;
    return true;
}

START_TEST(what_is_wanted_is_told_in_the_order_of_the_table)
{
    enum check_id last = 0;
    struct error err;

    told = 0;
    ck_assert(check_options_only(&request.options, "file,key,daemon", true, &err));
    snprintf(server.settings.tls_mode, sizeof server.settings.tls_mode, "verify-full");
    snprintf(server.settings.tls_ca_file, sizeof server.settings.tls_ca_file, "/nonexistent/ca.crt");
    server.settings.connect_timeout = 2;
    server.settings.port = 1;
    snprintf(server.settings.host, sizeof server.settings.host, "localhost");
    ck_assert(check_server(&request, count_result, &last, &err));
    unsigned wanted = 0;
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        wanted += request.options.is_wanted[id] && check_is_of_walk(id);
    ck_assert_uint_eq(told, wanted);
}
END_TEST

START_TEST(an_interrupt_ends_the_walk)
{
    struct error err = {0};
    enum check_id last = 0;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    close(ends[1]);
    request.interrupt_fd = ends[0];
    server.settings.connect_timeout = 2;
    ck_assert(!check_server(&request, count_result, &last, &err));
    ck_assert_int_eq(err.kind, ERROR_FAILED);
    ck_assert_int_eq(err.errnum, ECANCELED);
    close(ends[0]);
}
END_TEST

static bool refuse_result(void *context, const struct check_result *result, struct error *err)
{
    (void)context;
    (void)result;
    return error_set(err, ERROR_STORAGE, "full");
}

START_TEST(a_listener_that_fails_ends_it)
{
    struct error err = {0};

    ck_assert(check_options_only(&request.options, "file", true, &err));
    ck_assert(!check_server(&request, refuse_result, NULL, &err));
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("check_results");

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, the_first_result_counts_until_a_worse_one_comes);
    tcase_add_test(tests, a_check_waits_for_what_it_needs);
    tcase_add_test(tests, what_was_not_looked_at_names_the_fault_it_waited_for);
    tcase_add_test(tests, a_fault_of_a_file_keeps_the_certificate_from_being_shown);
    tcase_add_test(tests, a_fault_told_by_another_check_is_the_reason);
    tcase_add_test(tests, without_a_fault_the_reason_is_honest);
    tcase_add_test(tests, negative_probes_are_left_out_when_passive);
    tcase_add_test(tests, an_error_goes_to_the_check_it_names);
    tcase_add_test(tests, an_error_that_names_none_goes_to_the_one_that_looked);
    tcase_add_test(tests, a_result_is_json_whatever_its_bytes);
    tcase_add_test(tests, only_keeps_groups_and_single_checks);
    tcase_add_test(tests, an_unknown_name_suggests_the_closest);
    tcase_add_test(tests, what_is_wanted_is_told_in_the_order_of_the_table);
    tcase_add_test(tests, an_interrupt_ends_the_walk);
    tcase_add_test(tests, a_listener_that_fails_ends_it);
    return suite_run("check_results", tests);
}
