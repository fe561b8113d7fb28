#include <string.h>

#include "pgcoffer/config/config.h"
#include "support/suite.h"

#define FILES  "tls_cert_file = /t/c\ntls_key_file = /t/k\ntls_ca_file = /t/a\n"
#define SERVER "[primary]\nhost = db1\nuser = repl\n" FILES
#define CLIENT "[client]\nconnect = backup.example.com:7432\n" FILES

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    struct error err;

    ck_assert_msg(config_parse(text, strlen(text), "c", &config, &err), "%s (%s)", err.message, err.hint);
    return config;
}

static void assert_refuses(const char *text, const char *message)
{
    struct config *config = NULL;
    struct error err;

    ck_assert_msg(!config_parse(text, strlen(text), "c", &config, &err), "accepted %s", text);
    ck_assert_str_eq(err.message, message);
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
    ck_assert_str_ne(err.hint, "");
}

START_TEST(a_client_with_connect_is_no_server)
{
    static const char *const texts[] = {CLIENT, CLIENT SERVER, SERVER CLIENT,
                                        SERVER CLIENT "[other]\nhost = db2\nuser = repl\n" FILES};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct config *config SCOPED(scoped_config) = parse(texts[i]);
        ck_assert_ptr_nonnull(config->client);
        ck_assert(config->client->is_gateway);
        ck_assert_str_eq(config->client->settings.host, "backup.example.com");
        ck_assert_int_eq(config->client->settings.port, 7432);
        ck_assert_str_eq(config->client->settings.tls_key_file, "/t/k");
        ck_assert_uint_eq(config->server_count, i == 0 ? 0 : i == 3 ? 2 : 1);
        for (size_t j = 0; j < config->server_count; j++)
            ck_assert_str_eq(config->servers[j].name, j == 0 ? "primary" : "other");
    }
}
END_TEST

START_TEST(a_client_without_connect_is_the_server_it_was)
{
    struct config *config SCOPED(scoped_config) = parse("[client]\nhost = db1\nuser = repl\n" FILES);

    ck_assert_ptr_null(config->client);
    ck_assert_uint_eq(config->server_count, 1);
    ck_assert_str_eq(config->servers[0].name, "client");
    ck_assert(!config->servers[0].is_gateway);
}
END_TEST

START_TEST(what_no_client_has_is_refused_with_its_line)
{
    assert_refuses(CLIENT "user = repl\n", "c:6: user does not belong into [client], which has connect");
    assert_refuses(CLIENT "host = db1\n", "c:6: host does not belong into [client], which has connect");
    assert_refuses("[client]\nconnect = b\n" FILES, "c:2: \"b\" is no HOST:PORT");
    assert_refuses("[client]\nconnect = b:1\ntls_key_file = /k\ntls_ca_file = /a\n",
                   "c:1: there is no tls_cert_file to connect to a gateway with");
    assert_refuses("[client]\nconnect = b:1\ntls_cert_file = /c\ntls_ca_file = /a\n",
                   "c:1: there is no tls_key_file to connect to a gateway with");
    assert_refuses("[client]\nconnect = b:1\ntls_cert_file = /c\ntls_key_file = /k\n",
                   "c:1: there is no tls_ca_file to connect to a gateway with");
    assert_refuses("[primary]\nconnect = b:1\n", "c:2: connect belongs into the section [client], not into [primary]");
    assert_refuses("[pgcoffer]\nconnect = b:1\n",
                   "c:2: connect belongs into the section [client], not into [pgcoffer]");
}
END_TEST

START_TEST(host_and_port_are_told_apart)
{
    static const struct {
        const char *text, *host;
        long port;
    } good[] = {{"db1:1", "db1", 1},
                {"backup.example.com:65535", "backup.example.com", 65535},
                {"192.0.2.1:7432", "192.0.2.1", 7432},
                {"[::1]:7432", "::1", 7432},
                {"[fe80::1%eth0]:7432", "fe80::1%eth0", 7432}};
    static const char *const bad[] = {"",        "db1",       "db1:",     "db1:0",     "db1:65536",
                                      ":7432",   "::1:7432",  "[::1]",    "[::1:5",    "[]:7432",
                                      "db1:x",   "a,b:7432",  "/run/s:1", "db1 :7432", "[db1]:1",
                                      "db1:1:2", "::1]:7432", "db1:-1",   "db1:+1",    "https://db1:1"};
    struct error err;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct settings settings = {0};
        ck_assert_msg(config_set_connect(&settings, good[i].text, &err), "%s", good[i].text);
        ck_assert_str_eq(settings.host, good[i].host);
        ck_assert_int_eq(settings.port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct settings settings = {0};
        ck_assert_msg(!config_set_connect(&settings, bad[i], &err), "accepted %s", bad[i]);
        ck_assert_str_eq(settings.host, "");
        ck_assert_str_ne(err.hint, "");
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("client");

    tcase_add_test(tests, a_client_with_connect_is_no_server);
    tcase_add_test(tests, a_client_without_connect_is_the_server_it_was);
    tcase_add_test(tests, what_no_client_has_is_refused_with_its_line);
    tcase_add_test(tests, host_and_port_are_told_apart);
    return suite_run("config client", tests);
}
