#include "support/suite.h"

#include <poll.h>
#include <string.h>

#include "jobs/receive/sync_standby_internal.h"

static struct server_config config = {.name = "primary"};

static void config_make(void)
{
    struct error err;

    config_default_settings(&config.settings);
    ck_assert(config_set(&config.settings, "application_name", "second copy", &err));
}

static void config_remove(void)
{
}

static struct sync_answer answer_of(const char *names)
{
    struct sync_answer answer = {.is_known = true, .names = (char *)(uintptr_t)names};
    struct error err;

    ck_assert_msg(sync_names_match(names, config.settings.application_name, &answer.match, &err), "%s", err.message);
    return answer;
}

static void assert_fault(const struct sync_answer *answer, const char *words, const char *check)
{
    struct error err;

    ck_assert_msg(receive_sync_find_fault(&config.settings, answer, &err), "nothing was found for %s", answer->names);
    ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
    ck_assert_str_eq(err.check, check);
    ck_assert_str_ne(err.hint, "");
    ck_assert_ptr_nonnull(strstr(err.detail, answer->names));
}

static void assert_no_fault(const struct sync_answer *answer)
{
    struct error err;

    ck_assert(!receive_sync_find_fault(&config.settings, answer, &err));
}

START_TEST(settings_that_fit_are_no_fault)
{
    struct sync_answer others = answer_of("a, b"), ours = answer_of("a, \"Second Copy\""), unknown = {0};

    assert_no_fault(&others);
    assert_no_fault(&unknown);
    config.settings.synchronous = true;
    assert_no_fault(&ours);
    assert_no_fault(&unknown);
}
END_TEST

START_TEST(a_name_that_matches_by_accident_is_one)
{
    struct sync_answer named = answer_of("\"second copy\""), star = answer_of("FIRST 2 (a, *)");

    assert_fault(&named, "lists \"second copy\"", "replication.sync_name");
    assert_fault(&star, "\"*\"", "replication.sync_name");
}
END_TEST

START_TEST(a_receiver_that_nobody_waits_for_although_it_wants_to_is_one)
{
    struct sync_answer none = answer_of(""), others = answer_of("ANY 1 (a, b)");

    config.settings.synchronous = true;
    assert_fault(&none, "waits for nobody named \"second copy\"", "replication.sync_name");
    assert_fault(&others, "waits for nobody named \"second copy\"", "replication.sync_name");
}
END_TEST

START_TEST(remote_apply_is_one_where_we_may_be_waited_for)
{
    struct sync_answer ours = answer_of("*"), others = answer_of("a");

    snprintf(ours.commit, sizeof ours.commit, "remote_apply");
    snprintf(others.commit, sizeof others.commit, "remote_apply");
    assert_no_fault(&others);
    assert_fault(&ours, "remote_apply", "replication.synchronous");
    config.settings.synchronous = true;
    assert_fault(&ours, "remote_apply", "replication.synchronous");
}
END_TEST

START_TEST(whoever_may_be_waited_for_syncs_at_once)
{
    struct receive_sync sync = {.server = &config};

    ck_assert(receive_sync_is_at_once(&sync)); /* nobody knows */
    sync.answer = answer_of("a, b");
    ck_assert(!receive_sync_is_at_once(&sync));
    config.settings.synchronous = true;
    ck_assert(receive_sync_is_at_once(&sync));
    config.settings.synchronous = false;
    sync.answer = answer_of("a, b, *");
    ck_assert(receive_sync_is_at_once(&sync));
}
END_TEST

/* ---- asked aside ---- */

static const char *names_of_server = "";

bool pg_connect(const struct server_config *server, const char *application_name, int interrupt_fd,
                struct pg_connection **ret_connection, struct error *err)
{
    (void)server;
    (void)application_name;
    (void)interrupt_fd;
    (void)err;
    *ret_connection = NULL;
    return true;
}

void pg_disconnect(struct pg_connection *connection)
{
    (void)connection;
}

bool pg_show(struct pg_connection *connection, const char *name, char *ret_value, size_t size, struct error *err)
{
    (void)connection;
    (void)err;
    snprintf(ret_value, size, "%s", strcmp(name, "synchronous_commit") == 0 ? "on" : names_of_server);
    return true;
}

START_TEST(what_a_host_answered_that_was_left_does_not_count)
{
    struct server_config other = config;
    struct receive_report report = {.state = RECEIVE_STREAMING};

    names_of_server = "\"second copy\"";
    for (int left = 0; left < 2; left++) {
        struct receive_sync sync;
        receive_sync_begin(&sync, &config, &report, -1);
        report.received.value = 5;
        receive_sync_turn(&sync);
        ck_assert_ptr_nonnull(sync.thread);
        if (left == 1)
            sync.server = &other;
        while (sync.thread != NULL) {
            struct pollfd done = {.fd = receive_sync_descriptor(&sync), .events = POLLIN};
            ck_assert_int_gt(poll(&done, 1, 20000), 0);
            receive_sync_turn(&sync);
        }
        ck_assert(sync.answer.is_known == (left == 0));
        receive_sync_end(&sync);
        receive_report_done(&report);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive sync");

    tcase_add_checked_fixture(tests, config_make, config_remove);
    tcase_add_test(tests, settings_that_fit_are_no_fault);
    tcase_add_test(tests, a_name_that_matches_by_accident_is_one);
    tcase_add_test(tests, a_receiver_that_nobody_waits_for_although_it_wants_to_is_one);
    tcase_add_test(tests, remote_apply_is_one_where_we_may_be_waited_for);
    tcase_add_test(tests, whoever_may_be_waited_for_syncs_at_once);
    tcase_add_test(tests, what_a_host_answered_that_was_left_does_not_count);
    return suite_run("receive_sync", tests);
}
