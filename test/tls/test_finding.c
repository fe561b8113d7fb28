#include "pgcoffer/tls/finding.h"

#include <string.h>

#include "support/suite.h"

static struct server_config server;

static void make_server(void)
{
    server = (struct server_config){.name = "primary", .settings.port = 5432};
    snprintf(server.settings.host, sizeof server.settings.host, "db1");
    snprintf(server.settings.hostaddr, sizeof server.settings.hostaddr, "192.0.2.1");
}

START_TEST(the_table_is_whole_and_what_a_check_needs_stands_above_it)
{
    for (enum check_id id = 0; id < CHECK_COUNT; id++) {
        const struct check_row *row = &check_rows[id];
        enum check_id found = CHECK_COUNT;
        char begin[64];

        ck_assert_int_eq(row->id, id);
        snprintf(begin, sizeof begin, "%s.", row->group);
        ck_assert_int_eq(strncmp(row->name, begin, strlen(begin)), 0);
        ck_assert(check_find(row->name, &found));
        ck_assert_int_eq(found, id);
        ck_assert(row->needs == CHECK_ID_NOTHING || row->needs < id);
        ck_assert_uint_gt(strlen(row->sentence), 0);
        ck_assert_uint_gt(strlen(row->level_word), 0);
        ck_assert_uint_lt(strlen(row->name), sizeof((struct error *)0)->check);
    }
    ck_assert_str_eq(check_rows[CHECK_ID_expiry_server].level_word, "handshake");
    ck_assert(!check_rows[CHECK_ID_expiry_server].is_negative);
    ck_assert(check_rows[CHECK_ID_hba_plaintext].is_negative);
}
END_TEST

START_TEST(an_unknown_name_is_no_check)
{
    enum check_id id = CHECK_ID_file_ca;

    ck_assert(!check_find("expiry", &id));
    ck_assert(!check_find("", &id));
    ck_assert(!check_find("expiry.server ", &id));
    ck_assert_int_eq(id, CHECK_ID_file_ca);
}
END_TEST

START_TEST(a_finding_is_printable_and_fits)
{
    struct finding finding = {0};
    char text[3000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    text[5] = '\x1b';
    finding_seen(&finding, "%s", text);
    finding_cause(&finding, CHECK_ID_name_match, "%s", text);
    finding_fix(&finding, "%s", text);
    ck_assert_uint_eq(strlen(finding.seen), sizeof finding.seen - 1);
    ck_assert_uint_eq(strlen(finding.cause), sizeof finding.cause - 1);
    ck_assert_uint_eq(strlen(finding.fix), sizeof finding.fix - 1);
    ck_assert_ptr_null(strchr(finding.cause, '\x1b'));
    ck_assert_int_eq(finding.check, CHECK_ID_name_match);
}
END_TEST

START_TEST(a_finding_survives_the_way_through_an_error)
{
    static const struct {
        const char *cause, *clause;
    } causes[] = {
        {"The certificate expired.", ": the certificate expired"},
        {"Nothing at all: nothing (said: it).", ": nothing at all: nothing (said: it)"},
        {"A line does. And another.", ": a line does. And another"},
        {"SCRAM is not bound.", ": SCRAM is not bound"},
        {"tls_ca_file \"x\" is wrong.", ": tls_ca_file \"x\" is wrong"},
        {"\"CN=x\" is no CA.", ": \"CN=x\" is no CA"},
        {"It said: could not connect to server \"x\" (db2 port 1): no (libpq: y).",
         ": it said: could not connect to server \"x\" (db2 port 1): no (libpq: y)"},
    };

    for (size_t i = 0; i < sizeof causes / sizeof *causes * 2; i++) {
        const char *cause = causes[i / 2].cause, *words = i % 2 == 0 ? "" : "SSL error: x (y)";
        struct finding finding = {0}, again;
        struct error err;

        finding_seen(&finding, "what was seen");
        finding_cause(&finding, CHECK_ID_expiry_server, "%s", cause);
        finding_fix(&finding, "Renew it.");
        ck_assert(!finding_to_error(&finding, &server, ERROR_TLS, words, &err));
        ck_assert_int_eq(err.kind, ERROR_TLS);
        ck_assert_str_eq(err.check, "expiry.server");
        ck_assert_msg(strstr(err.message, causes[i / 2].clause) != NULL, "%s", err.message);
        ck_assert_ptr_nonnull(strstr(err.message, "could not connect to server \"primary\" (db1 port 5432): "));
        error_wrap(&err, "could not take a backup of \"primary\"");
        ck_assert(finding_from_error(&err, &again));
        ck_assert_int_eq(again.check, CHECK_ID_expiry_server);
        ck_assert_str_eq(again.cause, cause);
        ck_assert_str_eq(again.seen, "what was seen");
        ck_assert_str_eq(again.fix, "Renew it.");
    }
}
END_TEST

START_TEST(words_that_are_all_that_was_seen_are_told_once)
{
    struct finding finding = {0}, again;
    struct error err;

    finding_seen(&finding, "FATAL:  no (really)");
    finding_cause(&finding, CHECK_ID_hba_replication, "It says no.");
    ck_assert(!finding_to_error(&finding, &server, ERROR_SERVER, "FATAL:  no (really)", &err));
    ck_assert_str_eq(err.detail, "");
    ck_assert(finding_from_error(&err, &again));
    ck_assert_str_eq(again.seen, "FATAL:  no (really)");
}
END_TEST

START_TEST(a_plain_error_is_the_cause_alone)
{
    struct finding finding = {0}, again;
    struct error err;

    finding_seen(&finding, "mode 0644");
    finding_cause(&finding, CHECK_ID_key_mode, "The key may be read: by others.");
    finding_fix(&finding, "chmod");
    ck_assert(!finding_to_plain_error(&finding, ERROR_TLS, &err));
    ck_assert_str_eq(err.message, "the key may be read: by others");
    ck_assert(finding_from_error(&err, &again));
    ck_assert_str_eq(again.cause, "The key may be read: by others.");
    error_wrap(&err, "could not connect to server \"primary\"");
    ck_assert(finding_from_error(&err, &again));
    ck_assert_str_eq(again.cause, "The key may be read: by others.");
    ck_assert_str_eq(again.seen, "mode 0644");
}
END_TEST

START_TEST(an_error_without_a_check_is_no_finding)
{
    struct finding finding;
    struct error err;

    error_set(&err, ERROR_SERVER, "could not connect to server \"primary\": no");
    ck_assert(!finding_from_error(&err, &finding));
    error_check(&err, "of a newer peer");
    ck_assert(!finding_from_error(&err, &finding));
}
END_TEST

START_TEST(a_setting_is_named_where_it_can_be_changed)
{
    char text[TLS_SETTING_NAME_SIZE];

    ck_assert_str_eq(tls_setting_name(&server, "tls_cert_file", text), "tls_cert_file in section [primary]");
    server.name[0] = '\0';
    ck_assert_str_eq(tls_setting_name(&server, "tls_cert_file", text), "--tls-cert-file");
    ck_assert_str_eq(tls_host_name(&server), "db1");
    server.settings.host[0] = '\0';
    ck_assert_str_eq(tls_host_name(&server), "192.0.2.1");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("finding");

    tcase_add_checked_fixture(tests, make_server, NULL);
    tcase_add_test(tests, the_table_is_whole_and_what_a_check_needs_stands_above_it);
    tcase_add_test(tests, an_unknown_name_is_no_check);
    tcase_add_test(tests, a_finding_is_printable_and_fits);
    tcase_add_test(tests, a_finding_survives_the_way_through_an_error);
    tcase_add_test(tests, words_that_are_all_that_was_seen_are_told_once);
    tcase_add_test(tests, a_plain_error_is_the_cause_alone);
    tcase_add_test(tests, an_error_without_a_check_is_no_finding);
    tcase_add_test(tests, a_setting_is_named_where_it_can_be_changed);
    return suite_run("finding", tests);
}
