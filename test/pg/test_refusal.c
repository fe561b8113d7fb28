#include "pg/refusal_internal.h"

#include "support/suite.h"
#include "tls/pki.h"

#define PREFIX "connection to server at \"localhost\" (127.0.0.1), port 5432 failed: "

static struct server_config server;

static void make_server(void)
{
    server = (struct server_config){.name = "primary", .settings.port = 5432};
    snprintf(server.settings.host, sizeof server.settings.host, "db1");
    snprintf(server.settings.user, sizeof server.settings.user, "repl");
}

static struct error explain(const char *libpq_words)
{
    char words[REFUSAL_WORDS_SIZE], sqlstate[6];
    bool is_explained = false;
    struct error err = {0};

    refusal_clean_words(libpq_words, words, sqlstate);
    ck_assert(!refusal_explain(&server, words, sqlstate, &is_explained, &err));
    ck_assert_int_eq(is_explained, err.check[0] != '\0');
    if (is_explained)
        ck_assert_msg(strstr(err.message, words) != NULL, "\"%s\" lost its words", err.message);
    return err;
}

START_TEST(the_sqlstate_and_the_location_leave_the_words)
{
    char words[REFUSAL_WORDS_SIZE], sqlstate[6];

    refusal_clean_words(PREFIX "FATAL:  28000: no pg_hba.conf entry\nLOCATION:  ClientAuthentication, auth.c:538\n",
                        words, sqlstate);
    ck_assert_str_eq(sqlstate, "28000");
    ck_assert_str_eq(words, PREFIX "FATAL:  no pg_hba.conf entry");
    refusal_clean_words("Connection refused\n\tIs the server running?\n", words, sqlstate);
    ck_assert_str_eq(sqlstate, "");
    ck_assert_str_eq(words, "Connection refused; Is the server running?");
    refusal_clean_words("", words, sqlstate);
    ck_assert_str_eq(words, "");
}
END_TEST

START_TEST(words_of_any_length_fit)
{
    char words[REFUSAL_WORDS_SIZE], sqlstate[6], text[4096];

    for (size_t size = REFUSAL_WORDS_SIZE - 8; size < REFUSAL_WORDS_SIZE + 8; size++) {
        memset(text, '\n', size);
        memset(text, 'x', size - 4);
        text[size] = '\0';
        refusal_clean_words(text, words, sqlstate);
        ck_assert_uint_lt(strlen(words), sizeof words);
    }
}
END_TEST

START_TEST(a_missing_hba_line_is_given_as_it_must_be_typed)
{
    struct error err = explain(PREFIX "FATAL:  28000: no pg_hba.conf entry for replication connection from host "
                                      "\"192.0.2.7\", user \"repl\", SSL encryption\n");

    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert_ptr_nonnull(strstr(err.hint, "hostssl replication repl 192.0.2.7/32 scram-sha-256"));
    snprintf(server.settings.tls_cert_file, CONFIG_TEXT_SIZE, "/nowhere/repl.crt");
    err = explain("FATAL:  no pg_hba.conf entry for replication connection from host \"2001:db8::7\", user \"repl\"");
    ck_assert_ptr_nonnull(strstr(err.hint, "hostssl replication repl 2001:db8::7/128 cert"));
}
END_TEST

START_TEST(a_client_certificate_that_is_wanted_is_a_tls_error)
{
    struct error err = explain("FATAL:  28000: connection requires a valid client certificate");

    ck_assert_int_eq(err.kind, ERROR_TLS);
    ck_assert_ptr_nonnull(strstr(err.hint, "tls_cert_file"));
    snprintf(server.settings.tls_cert_file, CONFIG_TEXT_SIZE, "/nowhere/repl.crt");
    err = explain("FATAL:  28000: connection requires a valid client certificate");
    ck_assert_int_eq(err.kind, ERROR_TLS);
    ck_assert_ptr_nonnull(strstr(err.message, "/nowhere/repl.crt"));
}
END_TEST

START_TEST(the_name_in_our_certificate_decides_what_is_wrong)
{
    static const struct {
        const char *common_name, *cause;
    } cases[] = {
        {NULL, "has none"},
        {"backup", "is \"backup\" and the role is \"repl\""},
        {"Repl", "upper and lower case"},
        {"repl", "pg_ident.conf"},
    };
    char folder[64];

    pki_scratch(folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pki_pair pair = pki_make((struct pki_wish){.common_name = cases[i].common_name});
        snprintf(server.settings.tls_cert_file, CONFIG_TEXT_SIZE, "%s/%zu.crt", folder, i);
        pki_write_certificate(server.settings.tls_cert_file, &pair);
        struct error err = explain("FATAL:  28000: certificate authentication failed for user \"repl\"");
        ck_assert_int_eq(err.kind, ERROR_TLS);
        ck_assert_msg(strstr(err.message, cases[i].cause) != NULL, "%s", err.message);
        ck_assert_ptr_nonnull(strstr(err.message, server.settings.tls_cert_file));
        ck_assert_str_eq(err.check, "identity.common_name");
        pki_done(&pair);
    }
}
END_TEST

START_TEST(known_refusals_have_a_kind_a_cause_and_a_hint)
{
    static const struct {
        const char *words;
        enum error_kind kind;
        const char *check, *hint;
    } cases[] = {
        {"server does not support SSL, but SSL was required", ERROR_TLS, "protocol.answer", "ssl = on"},
        {"FATAL:  must be superuser or replication role to start walsender", ERROR_SERVER, "replication.role",
         "ALTER ROLE repl REPLICATION"},
        {"FATAL:  permission denied to start WAL sender", ERROR_SERVER, "replication.role",
         "ALTER ROLE repl REPLICATION"},
        {"FATAL:  role \"repl\" does not exist", ERROR_SERVER, "replication.login", "CREATE ROLE repl"},
        {"FATAL:  role \"repl\" is not permitted to log in", ERROR_SERVER, "replication.role", "ALTER ROLE repl LOGIN"},
        {"FATAL:  number of requested standby connections exceeds max_wal_senders (currently 0)", ERROR_SERVER,
         "replication.senders", "max_wal_senders"},
        {"FATAL:  the database system is starting up", ERROR_SERVER, "replication.login", "Wait"},
        {"FATAL:  the database system is shutting down", ERROR_SERVER, "replication.login", "Start"},
        {"FATAL:  password authentication failed for user \"repl\"", ERROR_SERVER, "replication.login",
         "ALTER ROLE repl PASSWORD"},
        {"channel binding required, but server authenticated client without channel binding", ERROR_SERVER,
         "hba.password", "scram-sha-256"},
        {"channel binding is required, but server did not offer an authentication method that supports channel binding",
         ERROR_SERVER, "protocol.binding", "PostgreSQL itself"},
        {"FATAL:  SCRAM channel binding check failed", ERROR_TLS, "protocol.binding", "PostgreSQL itself"},
        {"could not find digest for NID UNDEF", ERROR_TLS, "protocol.binding", "method cert"},
        {"FATAL:  client certificates can only be checked if a root certificate store is available", ERROR_TLS,
         "identity.requested", "ssl_ca_file"},
        {"FATAL:  pg_hba.conf rejects replication connection for host \"192.0.2.7\", user \"repl\", SSL encryption",
         ERROR_SERVER, "hba.replication", "above it"},
        {"FATAL:  no pg_hba.conf entry for replication connection from host \"192.0.2.7\", user \"repl\", no "
         "encryption",
         ERROR_SERVER, "hba.replication", "verify-full"},
        {"FATAL:  no pg_hba.conf entry for host \"192.0.2.7\", user \"repl\", database \"x\", SSL encryption",
         ERROR_SERVER, "hba.replication", "hostssl postgres repl 192.0.2.7/32"},
        {"Connection refused\n\tIs the server running on that host?", ERROR_SERVER, "server.connect", "port"},
        {"could not translate host name \"db1\" to address: Name or service not known", ERROR_SERVER, "server.resolve",
         "getent hosts db1"},
        {"timed out after 10 s: no answer to the attempt to connect", ERROR_SERVER, "server.connect", "firewall"},
        {"timed out after 10 s: the TLS negotiation did not end", ERROR_SERVER, "protocol.answer", "connect_timeout"},
        {"received invalid response to SSL negotiation: H", ERROR_TLS, "protocol.answer", "port"},
        {"host name must be specified for a verified SSL connection", ERROR_TLS, "name.match", "hostaddr may stay"},
        {"FATAL:  unsupported startup parameter: replication", ERROR_SERVER, "protocol.answer", "PostgreSQL itself"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = explain(cases[i].words);
        ck_assert_msg(err.kind == cases[i].kind, "%s: kind %s", cases[i].words, error_kind_word(err.kind));
        ck_assert_msg(strcmp(err.check, cases[i].check) == 0, "%s: check %s", cases[i].words, err.check);
        ck_assert_msg(strstr(err.hint, cases[i].hint) != NULL, "%s: hint %s", cases[i].words, err.hint);
        ck_assert_ptr_null(strchr(err.message, '{'));
        ck_assert_ptr_null(strchr(err.hint, '{'));
    }
}
END_TEST

START_TEST(every_row_is_found_and_every_placeholder_known)
{
    static const struct {
        const char *words, *sqlstate;
    } rows[] = {
#define REFUSAL(words, sqlstate, condition, kind, check, cause, fix) {words, sqlstate},
#include "pg/refusals.def"
#undef REFUSAL
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char words[256];
        struct finding finding;
        snprintf(words, sizeof words, "%s", rows[i].words);
        for (char *star = words; (star = strchr(star, '*')) != NULL;)
            *star = ' ';
        ck_assert_msg(refusal_find(&server, words, rows[i].sqlstate, &finding), "%s", rows[i].words);
        ck_assert_int_lt(finding.check, CHECK_COUNT);
        ck_assert_ptr_null(strchr(finding.cause, '{'));
        ck_assert_ptr_null(strchr(finding.fix, '{'));
        ck_assert_int_eq(finding.cause[strlen(finding.cause) - 1], '.');
    }
}
END_TEST

START_TEST(without_a_configuration_the_options_are_named)
{
    struct error err = explain("could not translate host name \"db1\" to address: Name or service not known");

    ck_assert_ptr_nonnull(strstr(err.hint, "host in section [primary]"));
    server.name[0] = '\0';
    err = explain("could not translate host name \"db1\" to address: Name or service not known");
    ck_assert_ptr_nonnull(strstr(err.hint, "Correct --host"));
    ck_assert_ptr_null(strstr(err.hint, "section"));
}
END_TEST

START_TEST(a_role_that_needs_quotes_is_quoted_in_what_is_to_be_typed)
{
    snprintf(server.settings.user, sizeof server.settings.user, "Backup \"2\"");
    struct error err = explain("FATAL:  42501: permission denied to start WAL sender");

    ck_assert_ptr_nonnull(strstr(err.hint, "ALTER ROLE \"Backup \"\"2\"\"\" REPLICATION"));
}
END_TEST

START_TEST(an_error_of_a_refusal_gives_its_finding_back)
{
    struct error err = explain(PREFIX "FATAL:  28P01: password authentication failed for user \"repl\"");
    struct finding finding;

    error_wrap(&err, "server primary");
    ck_assert(finding_from_error(&err, &finding));
    ck_assert_int_eq(finding.check, CHECK_ID_replication_login);
    ck_assert_msg(strncmp(finding.cause, "The password is wrong", 21) == 0, "%s", finding.cause);
    ck_assert_int_eq(finding.cause[strlen(finding.cause) - 1], '.');
    ck_assert_str_eq(finding.seen, PREFIX "FATAL:  password authentication failed for user \"repl\"");
    ck_assert_ptr_nonnull(strstr(finding.fix, "ALTER ROLE"));
}
END_TEST

START_TEST(a_server_of_another_language_is_understood_by_sqlstate)
{
    struct error err = explain("FATAL:  42501: muss Superuser oder Replikationsrolle sein\nORT:  x, y.c:1\n");

    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert_ptr_nonnull(strstr(err.hint, "ALTER ROLE repl REPLICATION"));
}
END_TEST

START_TEST(what_a_server_said_counts_more_than_a_dead_address)
{
    struct error err = explain("connection to server at \"db1\" (::1), port 5432 failed: Connection refused\n"
                               "connection to server at \"db1\" (127.0.0.1), port 5432 failed: FATAL:  28000: role "
                               "\"repl\" does not exist\n");

    ck_assert_ptr_nonnull(strstr(err.hint, "CREATE ROLE"));
}
END_TEST

START_TEST(unknown_words_are_kept_and_not_explained)
{
    struct error err = explain("SSL error: certificate verify failed\x1b[2J");

    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert_str_eq(err.message, "could not connect to server \"primary\": SSL error: certificate verify failed?[2J");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("refusal");

    tcase_add_checked_fixture(tests, make_server, NULL);
    tcase_add_test(tests, the_sqlstate_and_the_location_leave_the_words);
    tcase_add_test(tests, words_of_any_length_fit);
    tcase_add_test(tests, a_missing_hba_line_is_given_as_it_must_be_typed);
    tcase_add_test(tests, a_client_certificate_that_is_wanted_is_a_tls_error);
    tcase_add_test(tests, the_name_in_our_certificate_decides_what_is_wrong);
    tcase_add_test(tests, known_refusals_have_a_kind_a_cause_and_a_hint);
    tcase_add_test(tests, every_row_is_found_and_every_placeholder_known);
    tcase_add_test(tests, without_a_configuration_the_options_are_named);
    tcase_add_test(tests, a_role_that_needs_quotes_is_quoted_in_what_is_to_be_typed);
    tcase_add_test(tests, an_error_of_a_refusal_gives_its_finding_back);
    tcase_add_test(tests, a_server_of_another_language_is_understood_by_sqlstate);
    tcase_add_test(tests, what_a_server_said_counts_more_than_a_dead_address);
    tcase_add_test(tests, unknown_words_are_kept_and_not_explained);
    return suite_run("refusal", tests);
}
