#include "pg/conninfo_internal.h"

#include "support/suite.h"

static struct server_config usual_server(void)
{
    struct server_config server = {.name = "primary"};
    struct settings *settings = &server.settings;

    snprintf(settings->host, sizeof settings->host, "db1.example.com");
    snprintf(settings->user, sizeof settings->user, "repl");
    snprintf(settings->tls_mode, sizeof settings->tls_mode, "verify-full");
    snprintf(settings->tls_ca_file, sizeof settings->tls_ca_file, "/etc/root.crt");
    snprintf(settings->tls_cert_file, sizeof settings->tls_cert_file, "/etc/repl.crt");
    snprintf(settings->tls_key_file, sizeof settings->tls_key_file, "/etc/repl.key");
    settings->port = 5433;
    return server;
}

static const struct conninfo_wish physical = {
    .application_name = "pgcoffer wal",
    .replication = "true",
    .database = "replication",
    .channel_binding = "prefer",
};

/* NULL when it was not given. */
static const char *value_of(const struct conninfo *info, const char *keyword)
{
    for (size_t i = 0; i < info->count; i++)
        if (strcmp(info->keywords[i], keyword) == 0)
            return info->values[i];
    return NULL;
}

START_TEST(everything_is_said_explicitly)
{
    struct server_config server = usual_server();
    struct conninfo info;
    struct error err = {0};
    static const char *const expected[][2] = {
        {"host", "db1.example.com"},
        {"port", "5433"},
        {"user", "repl"},
        {"dbname", "replication"},
        {"replication", "true"},
        {"application_name", "pgcoffer wal"},
        {"sslmode", "verify-full"},
        {"sslcert", "/etc/repl.crt"},
        {"sslkey", "/etc/repl.key"},
        {"sslrootcert", "/etc/root.crt"},
        {"sslcrl", CONNINFO_NO_FILE},
        {"gssencmode", "disable"},
        {"channel_binding", "prefer"},
        {"passfile", CONNINFO_NO_FILE},
        {"ssl_min_protocol_version", "TLSv1.2"},
        {"keepalives_idle", "10"},
        {"keepalives_interval", "5"},
        {"keepalives_count", "3"},
        {"tcp_user_timeout", "30000"},
        {"target_session_attrs", "any"},
        {"client_encoding", "SQL_ASCII"},
    };

    ck_assert(conninfo_build(&server, &physical, &info, &err));
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const char *value = value_of(&info, expected[i][0]);
        ck_assert_msg(value != NULL && strcmp(value, expected[i][1]) == 0, "%s is %s", expected[i][0],
                      value == NULL ? "not given" : value);
    }
    ck_assert_ptr_null(info.keywords[info.count]);
    ck_assert_ptr_null(value_of(&info, "password"));
    ck_assert_ptr_null(value_of(&info, "hostaddr"));
    ck_assert_ptr_null(value_of(&info, "sslpassword"));
}
END_TEST

START_TEST(files_that_are_not_configured_point_nowhere)
{
    struct server_config server = usual_server();
    struct conninfo info;
    struct error err = {0};

    server.settings.tls_cert_file[0] = server.settings.tls_key_file[0] = server.settings.tls_ca_file[0] = '\0';
    ck_assert(conninfo_build(&server, &physical, &info, &err));
    ck_assert_str_eq(value_of(&info, "sslcert"), CONNINFO_NO_FILE);
    ck_assert_str_eq(value_of(&info, "sslkey"), CONNINFO_NO_FILE);
    ck_assert_str_eq(value_of(&info, "sslrootcert"), CONNINFO_NO_FILE);
    ck_assert_int_ne(access(CONNINFO_NO_FILE, F_OK), 0);
}
END_TEST

START_TEST(the_systems_bundle_is_named_by_its_path)
{
    struct server_config server = usual_server();
    struct conninfo info;
    struct error err = {0};

    snprintf(server.settings.tls_ca_file, sizeof server.settings.tls_ca_file, "system");
    ck_assert(conninfo_build(&server, &physical, &info, &err));
    ck_assert_int_eq(value_of(&info, "sslrootcert")[0], '/');
}
END_TEST

START_TEST(variables_of_libpq_are_forgotten_and_others_stay)
{
    setenv("PGPASSWORD", "secret", 1);
    setenv("PGSSLMODE", "disable", 1);
    setenv("PGSERVICEFILE", "/tmp/x", 1);
    setenv("PAGER", "less", 1);
    setenv("XPGHOST", "kept", 1);
    conninfo_forget_environment();
    ck_assert_ptr_null(getenv("PGPASSWORD"));
    ck_assert_ptr_null(getenv("PGSSLMODE"));
    ck_assert_ptr_null(getenv("PGSERVICEFILE"));
    ck_assert_str_eq(getenv("PAGER"), "less");
    ck_assert_str_eq(getenv("XPGHOST"), "kept");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("conninfo");

    tcase_add_test(tests, everything_is_said_explicitly);
    tcase_add_test(tests, files_that_are_not_configured_point_nowhere);
    tcase_add_test(tests, the_systems_bundle_is_named_by_its_path);
    tcase_add_test(tests, variables_of_libpq_are_forgotten_and_others_stay);
    return suite_run("conninfo", tests);
}
