#include "jobs/check/judgement_internal.h"

#include "support/suite.h"

/*
 * What answers to startup packets mean: the table of TLS-CASES 6.2, one answer after the other. The server is
 * "primary", the role repl, and our certificate has CN=repl unless a test says otherwise.
 */
static struct config *config;
static struct check_run run;
static struct check_request request;
static struct answer_facts facts;
static struct startup_answer answer;
static struct finding finding;
static bool is_tolerated;

static const char section[] = "[primary]\nhost = db1.example.com\nuser = repl\ntls_ca_file = /tls/ca.crt\n"
                              "password_file = /tls/pgpass\n";

static void begin(void)
{
    struct error err;

    ck_assert_msg(config_parse(section, sizeof section - 1, "test", &config, &err), "%s", err.message);
    request = (struct check_request){.server = &config->servers[0], .config = config, .interrupt_fd = -1};
    run = (struct check_run){.request = &request, .server = request.server};
    facts = (struct answer_facts){
        .run = &run,
        .address = "192.0.2.1",
        .client = "192.0.2.9/32",
        .role = "repl",
        .line = "hostssl replication repl 192.0.2.9/32 cert",
        .has_certificate = true,
        .common_name = "repl",
    };
    finding = (struct finding){.check = CHECK_ID_NOTHING};
    is_tolerated = false;
}

static void finish(void)
{
    config_free(config);
}

static void answer_is(enum startup_kind kind)
{
    answer = (struct startup_answer){.kind = kind, .probe = {.alert = -1, .is_certificate_wanted = true}};
    answer.has_scram = kind == STARTUP_SCRAM;
    answer.has_scram_plus = kind == STARTUP_SCRAM;
}

static void server_refuses(const char *sqlstate, const char *message)
{
    answer_is(STARTUP_REFUSED);
    snprintf(answer.sqlstate, sizeof answer.sqlstate, "%s", sqlstate);
    snprintf(answer.severity, sizeof answer.severity, "FATAL");
    snprintf(answer.message, sizeof answer.message, "%s", message);
}

#define NO_LINE "no pg_hba.conf entry for replication connection from host \"192.0.2.9\", user \"repl\", no encryption"

START_TEST(every_way_in_is_a_line_of_pg_hba)
{
    static const enum startup_kind ways[] = {STARTUP_ADMITTED, STARTUP_SCRAM, STARTUP_CLEARTEXT, STARTUP_MD5};

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        answer_is(ways[i]);
        ck_assert_int_eq(judge_replication(&facts, &answer, &finding), JUDGED_FINE);
    }
}
END_TEST

START_TEST(kerberos_is_no_way_in)
{
    answer_is(STARTUP_OTHER);
    answer.method = 7;
    ck_assert_int_eq(judge_replication(&facts, &answer, &finding), JUDGED_WRONG);
    ck_assert_int_eq(finding.check, CHECK_ID_hba_replication);
    ck_assert_ptr_nonnull(strstr(finding.cause, "method number 7"));
    ck_assert_ptr_nonnull(strstr(finding.fix, facts.line));
}
END_TEST

START_TEST(a_refusal_nobody_knows_is_told_in_the_servers_words)
{
    server_refuses("XX000", "the moon is full");
    ck_assert_int_eq(judge_replication(&facts, &answer, &finding), JUDGED_WRONG);
    ck_assert_int_eq(finding.check, CHECK_ID_hba_replication);
    ck_assert_ptr_nonnull(strstr(finding.cause, "the moon is full"));
}
END_TEST

START_TEST(a_password_by_scram_or_none_is_fine)
{
    answer_is(STARTUP_SCRAM);
    ck_assert_int_eq(judge_password(&facts, &answer, &finding, &is_tolerated), JUDGED_FINE);
    answer_is(STARTUP_ADMITTED);
    ck_assert_int_eq(judge_password(&facts, &answer, &finding, &is_tolerated), JUDGED_FINE);
}
END_TEST

START_TEST(a_password_in_clear_text_or_by_md5_is_not_sent)
{
    answer_is(STARTUP_CLEARTEXT);
    ck_assert_int_eq(judge_password(&facts, &answer, &finding, &is_tolerated), JUDGED_WRONG);
    ck_assert_int_eq(finding.check, CHECK_ID_hba_password);
    ck_assert_ptr_nonnull(strstr(finding.cause, "in clear text"));
    ck_assert(!is_tolerated);

    answer_is(STARTUP_MD5);
    ck_assert_int_eq(judge_password(&facts, &answer, &finding, &is_tolerated), JUDGED_WRONG);
    ck_assert_ptr_null(strstr(finding.cause, "in clear text"));
    ck_assert_ptr_nonnull(strstr(finding.fix, "ALTER ROLE repl PASSWORD"));
}
END_TEST

START_TEST(a_weak_password_that_is_allowed_is_a_warning)
{
    config->servers[0].settings.allow_weak_password = true;
    answer_is(STARTUP_MD5);
    ck_assert_int_eq(judge_password(&facts, &answer, &finding, &is_tolerated), JUDGED_WRONG);
    ck_assert(is_tolerated);
}
END_TEST

START_TEST(scram_without_binding_over_tls_means_a_proxy)
{
    answer_is(STARTUP_SCRAM);
    ck_assert_int_eq(judge_binding(&facts, &answer, &finding, &is_tolerated), JUDGED_FINE);
    answer.has_scram_plus = false;
    ck_assert_int_eq(judge_binding(&facts, &answer, &finding, &is_tolerated), JUDGED_WRONG);
    ck_assert_int_eq(finding.check, CHECK_ID_protocol_binding);
    ck_assert_ptr_nonnull(strstr(finding.cause, "ends TLS"));
    answer_is(STARTUP_ADMITTED);
    ck_assert_int_eq(judge_binding(&facts, &answer, &finding, &is_tolerated), JUDGED_NOTHING);
}
END_TEST

START_TEST(another_cn_is_mapped_when_no_password_is_asked_for)
{
    answer_is(STARTUP_ADMITTED);
    ck_assert_int_eq(judge_common_name(&facts, &answer, &finding), JUDGED_NOTHING);
    snprintf(facts.common_name, sizeof facts.common_name, "agent");
    ck_assert_int_eq(judge_common_name(&facts, &answer, &finding), JUDGED_FINE);
    answer_is(STARTUP_SCRAM);
    ck_assert_int_eq(judge_common_name(&facts, &answer, &finding), JUDGED_WRONG);
    ck_assert_int_eq(finding.check, CHECK_ID_identity_common_name);
    ck_assert_ptr_nonnull(strstr(finding.cause, "\"agent\""));
    ck_assert_ptr_nonnull(strstr(finding.fix, "clientcert=verify-full"));
}
END_TEST

START_TEST(a_certificate_without_cn_works_by_accident_only)
{
    facts.common_name[0] = '\0';
    answer_is(STARTUP_SCRAM);
    ck_assert_int_eq(judge_common_name(&facts, &answer, &finding), JUDGED_WRONG);
    ck_assert_ptr_nonnull(strstr(finding.cause, "has no CN"));
    facts.has_certificate = false;
    ck_assert_int_eq(judge_common_name(&facts, &answer, &finding), JUDGED_NOTHING);
}
END_TEST

START_TEST(plain_text_must_be_refused)
{
    server_refuses("28000", NO_LINE);
    ck_assert_int_eq(judge_plaintext(&facts, &answer, &finding), JUDGED_FINE);

    answer_is(STARTUP_ADMITTED);
    ck_assert_int_eq(judge_plaintext(&facts, &answer, &finding), JUDGED_WRONG);
    ck_assert_int_eq(finding.check, CHECK_ID_hba_plaintext);
    ck_assert_ptr_nonnull(strstr(finding.cause, "trust"));

    answer_is(STARTUP_SCRAM);
    ck_assert_int_eq(judge_plaintext(&facts, &answer, &finding), JUDGED_WRONG);
    ck_assert_ptr_nonnull(strstr(finding.cause, "host instead of hostssl"));
    ck_assert_ptr_nonnull(strstr(finding.fix, facts.line));
}
END_TEST

START_TEST(a_server_that_is_busy_tells_nothing)
{
    server_refuses("57P03", "the database system is starting up");
    ck_assert_int_eq(judge_plaintext(&facts, &answer, &finding), JUDGED_NOTHING);
    ck_assert_int_eq(judge_certificate(&facts, &answer, &finding), JUDGED_NOTHING);
    ck_assert_int_eq(judge_superuser(&facts, &answer, &finding), JUDGED_NOTHING);
    answer_is(STARTUP_GARBAGE);
    ck_assert_int_eq(judge_plaintext(&facts, &answer, &finding), JUDGED_NOTHING);
    answer_is(STARTUP_NO_ANSWER);
    ck_assert_int_eq(judge_plaintext(&facts, &answer, &finding), JUDGED_NOTHING);
}
END_TEST

START_TEST(without_a_certificate_a_password_alone_must_not_do)
{
    server_refuses("28000", "connection requires a valid client certificate");
    ck_assert_int_eq(judge_certificate(&facts, &answer, &finding), JUDGED_FINE);

    answer_is(STARTUP_SCRAM);
    ck_assert_int_eq(judge_certificate(&facts, &answer, &finding), JUDGED_WRONG);
    ck_assert_int_eq(finding.check, CHECK_ID_hba_certificate);
    ck_assert_ptr_nonnull(strstr(finding.cause, "a password alone"));
    facts.has_certificate = false;
    ck_assert_int_eq(judge_certificate(&facts, &answer, &finding), JUDGED_FINE);

    answer_is(STARTUP_ADMITTED);
    ck_assert_int_eq(judge_certificate(&facts, &answer, &finding), JUDGED_WRONG);
    ck_assert_ptr_nonnull(strstr(finding.cause, "without certificate and without password"));
}
END_TEST

START_TEST(a_stranger_is_refused_by_an_alert_or_was_never_asked)
{
    answer_is(STARTUP_NO_ANSWER);
    answer.probe.outcome = TLS_PROBE_REFUSED_BY_PEER;
    ck_assert_int_eq(judge_foreign(&facts, &answer, &finding), JUDGED_FINE);
    answer.probe.outcome = TLS_PROBE_UNREACHABLE;
    ck_assert_int_eq(judge_foreign(&facts, &answer, &finding), JUDGED_NOTHING);
    answer_is(STARTUP_SCRAM);
    answer.probe.is_certificate_wanted = false;
    ck_assert_int_eq(judge_foreign(&facts, &answer, &finding), JUDGED_NOTHING);
    answer.probe.is_certificate_wanted = true;
    ck_assert_int_eq(judge_foreign(&facts, &answer, &finding), JUDGED_WRONG);
    ck_assert_int_eq(finding.check, CHECK_ID_identity_foreign);
}
END_TEST

START_TEST(a_role_that_does_not_exist_was_let_in_first)
{
    server_refuses("28000", "certificate authentication failed for user \"pgcoffer_check_other\"");
    ck_assert_int_eq(judge_other_role(&facts, &answer, "pgcoffer_check_other", false, &finding), JUDGED_FINE);
    server_refuses("28000", "role \"pgcoffer_check_other\" does not exist");
    ck_assert_int_eq(judge_other_role(&facts, &answer, "pgcoffer_check_other", false, &finding), JUDGED_WRONG);
    ck_assert_int_eq(finding.check, CHECK_ID_identity_other_role);
    ck_assert_ptr_nonnull(strstr(finding.cause, "any role"));
    answer_is(STARTUP_SCRAM);
    ck_assert_int_eq(judge_other_role(&facts, &answer, "pgcoffer_check_other", false, &finding), JUDGED_NOTHING);
}
END_TEST

START_TEST(a_certificate_that_opens_the_superuser_is_a_matter_of_the_map)
{
    answer_is(STARTUP_ADMITTED);
    ck_assert_int_eq(judge_other_role(&facts, &answer, "postgres", true, &finding), JUDGED_WRONG);
    ck_assert_ptr_nonnull(strstr(finding.cause, "pg_ident.conf"));
    ck_assert_ptr_null(strstr(finding.cause, "any role"));
}
END_TEST

START_TEST(the_superuser_may_be_asked_for_a_password_but_not_let_in)
{
    answer_is(STARTUP_SCRAM);
    ck_assert_int_eq(judge_superuser(&facts, &answer, &finding), JUDGED_FINE);
    answer_is(STARTUP_ADMITTED);
    ck_assert_int_eq(judge_superuser(&facts, &answer, &finding), JUDGED_WRONG);
    ck_assert_int_eq(finding.check, CHECK_ID_hba_superuser);
}
END_TEST

START_TEST(names_are_quoted_where_they_must_be)
{
    char text[ROLE_NAME_SIZE], name[400];

    ck_assert_str_eq(role_name_quote("repl", text), "repl");
    ck_assert_str_eq(role_name_quote("Repl", text), "\"Repl\"");
    ck_assert_str_eq(role_name_quote("re\"pl", text), "\"re\"\"pl\"");
    ck_assert_str_eq(role_name_quote("1st", text), "\"1st\"");
    ck_assert_str_eq(role_name_quote("all", text), "\"all\"");
    ck_assert_str_eq(role_name_quote("", text), "\"\"");
    memset(name, '"', sizeof name);
    name[sizeof name - 1] = '\0';
    ck_assert_uint_lt(strlen(role_name_quote(name, text)), ROLE_NAME_SIZE);
    memset(name, 'x', sizeof name - 1);
    ck_assert_uint_lt(strlen(role_name_quote(name, text)), ROLE_NAME_SIZE);
}
END_TEST

START_TEST(the_line_names_our_own_address)
{
    answer_facts_gather(&run, "127.0.0.1", &facts);
    ck_assert_str_eq(facts.client, "127.0.0.1/32");
    ck_assert_str_eq(facts.line, "hostssl replication repl 127.0.0.1/32 scram-sha-256");
    answer_facts_gather(&run, "", &facts);
    ck_assert_str_eq(facts.client, "ADDRESS/32");
    ck_assert_str_eq(facts.address, "db1.example.com");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("check_startup");

    tcase_add_checked_fixture(tests, begin, finish);
    tcase_add_test(tests, every_way_in_is_a_line_of_pg_hba);
    tcase_add_test(tests, kerberos_is_no_way_in);
    tcase_add_test(tests, a_refusal_nobody_knows_is_told_in_the_servers_words);
    tcase_add_test(tests, a_password_by_scram_or_none_is_fine);
    tcase_add_test(tests, a_password_in_clear_text_or_by_md5_is_not_sent);
    tcase_add_test(tests, a_weak_password_that_is_allowed_is_a_warning);
    tcase_add_test(tests, scram_without_binding_over_tls_means_a_proxy);
    tcase_add_test(tests, another_cn_is_mapped_when_no_password_is_asked_for);
    tcase_add_test(tests, a_certificate_without_cn_works_by_accident_only);
    tcase_add_test(tests, plain_text_must_be_refused);
    tcase_add_test(tests, a_server_that_is_busy_tells_nothing);
    tcase_add_test(tests, without_a_certificate_a_password_alone_must_not_do);
    tcase_add_test(tests, a_stranger_is_refused_by_an_alert_or_was_never_asked);
    tcase_add_test(tests, a_role_that_does_not_exist_was_let_in_first);
    tcase_add_test(tests, a_certificate_that_opens_the_superuser_is_a_matter_of_the_map);
    tcase_add_test(tests, the_superuser_may_be_asked_for_a_password_but_not_let_in);
    tcase_add_test(tests, names_are_quoted_where_they_must_be);
    tcase_add_test(tests, the_line_names_our_own_address);
    return suite_run("check_startup", tests);
}
