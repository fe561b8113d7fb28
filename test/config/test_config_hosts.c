#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/config/config.h"
#include "support/suite.h"

#define FILES "tls_cert_file=/t/c\ntls_key_file=/t/k\ntls_ca_file=/t/a\nuser=repl\n"

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    struct error err;

    ck_assert_msg(config_parse(text, strlen(text), "c", &config, &err), "%s (%s)\n%s", err.message, err.hint, text);
    return config;
}

static void assert_refuses(const char *text, const char *message)
{
    struct config *config = NULL;
    struct error err;

    ck_assert_msg(!config_parse(text, strlen(text), "c", &config, &err), "%s", text);
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
    ck_assert_str_eq(err.message, message);
    ck_assert_str_ne(err.hint, "");
}

static void assert_view(const struct config *config, size_t index, const char *host, const char *address, long port)
{
    struct server_config view;

    config_take_host(&config->servers[0], index, &view);
    ck_assert_str_eq(view.name, config->servers[0].name);
    ck_assert_str_eq(view.settings.host, host);
    ck_assert_str_eq(view.settings.hostaddr, address);
    ck_assert_int_eq(view.settings.port, port);
    ck_assert_str_eq(view.settings.user, "repl");
    ck_assert_uint_eq(config_host_count(&view), 1);
    ck_assert(view.is_one_of_several == (config_host_count(&config->servers[0]) > 1));
    ck_assert_str_eq(config_host_name(&view), host[0] != '\0' ? host : address);
}

START_TEST(one_host_is_its_own_view)
{
    struct config *config SCOPED(scoped_config) = parse("[p]\nhost = db1\nhostaddr = 192.0.2.1\nport = 5433\n" FILES);

    ck_assert_uint_eq(config_host_count(&config->servers[0]), 1);
    assert_view(config, 0, "db1", "192.0.2.1", 5433);
}
END_TEST

START_TEST(every_host_has_its_own_port_and_address)
{
    struct config *config SCOPED(scoped_config) =
        parse("[p]\nhost = db1 ,db2,  db3\nport = 5432, 5433 ,5434\nhostaddr = 192.0.2.1, ::1, 192.0.2.3\n" FILES);

    ck_assert_uint_eq(config_host_count(&config->servers[0]), 3);
    assert_view(config, 0, "db1", "192.0.2.1", 5432);
    assert_view(config, 1, "db2", "::1", 5433);
    assert_view(config, 2, "db3", "192.0.2.3", 5434);
}
END_TEST

START_TEST(one_port_is_for_all_hosts)
{
    struct config *config SCOPED(scoped_config) = parse("[p]\nhost = db1, db2\nport = 6000\n" FILES);

    assert_view(config, 0, "db1", "", 6000);
    assert_view(config, 1, "db2", "", 6000);
}
END_TEST

START_TEST(the_default_port_is_for_all_hosts)
{
    struct config *config SCOPED(scoped_config) = parse("[p]\nhost = a,b,c,d,e,f,g,h\n" FILES);

    ck_assert_uint_eq(config_host_count(&config->servers[0]), CONFIG_MOST_HOSTS);
    assert_view(config, 0, "a", "", 5432);
    assert_view(config, 7, "h", "", 5432);
}
END_TEST

START_TEST(addresses_alone_are_hosts_too)
{
    struct config *config SCOPED(scoped_config) =
        parse("[p]\nhostaddr = 192.0.2.1,192.0.2.2\ntls_mode = verify-ca\n" FILES);

    ck_assert_uint_eq(config_host_count(&config->servers[0]), 2);
    assert_view(config, 1, "", "192.0.2.2", 5432);
}
END_TEST

START_TEST(lists_that_do_not_go_together_are_refused_with_their_line)
{
    assert_refuses("[p]\nhost = a, b\nport = 1, 2, 3\n" FILES, "c:3: port has 3 numbers, and there are 2 hosts");
    assert_refuses("[p]\nhost = a\nport = 1, 2\n" FILES, "c:3: port has 2 numbers, and there is 1 host");
    assert_refuses("[p]\nhost = a, b\nhostaddr = 192.0.2.1\n" FILES, "c:3: hostaddr has 1 address, and host has 2");
    assert_refuses("[p]\nhost = a,b,c,d,e,f,g,h,i\n" FILES, "c:2: 9 hosts are more than 8");
    assert_refuses("[p]\nhost = a\nport = 1,2,3,4,5,6,7,8,9\n" FILES, "c:3: port has more than 8 numbers");
}
END_TEST

START_TEST(an_item_that_is_none_is_refused)
{
    assert_refuses("[p]\nhost = a,, b\n" FILES,
                   "c:2: \"a,, b\" is no value for host: between two commas there is nothing");
    assert_refuses("[p]\nhost = a,\n" FILES, "c:2: \"a,\" is no value for host: between two commas there is nothing");
    assert_refuses("[p]\nhost = ,a\n" FILES, "c:2: \",a\" is no value for host: between two commas there is nothing");
    assert_refuses("[p]\nhost = a b, c\n" FILES, "c:2: \"a b\" is no host name");
    assert_refuses("[p]\nhostaddr = 192.0.2.1, db2\n" FILES, "c:2: \"db2\" is no IP address");
    assert_refuses("[p]\nhost = a, b\nport = 1,\n" FILES, "c:3: \"\" is no value for port");
    assert_refuses("[p]\nhost = a, b\nport = 1, 65536\n" FILES, "c:3: \"65536\" is no value for port");
    assert_refuses("[p]\nhost = a, /run/postgresql\n" FILES,
                   "c:2: host = /run/postgresql is a Unix socket, which has no TLS");
}
END_TEST

START_TEST(the_same_place_twice_is_refused)
{
    assert_refuses("[p]\nhost = a, b, A\n" FILES, "c:2: a port 5432 stands twice among the hosts");
    assert_refuses("[p]\nhost = a, a\nport = 1, 1\n" FILES, "c:2: a port 1 stands twice among the hosts");
    config_free(parse("[p]\nhost = a, a\nport = 1, 2\n" FILES));
    config_free(parse("[p]\nhost = a, a\nhostaddr = 192.0.2.1, 192.0.2.2\n" FILES));
}
END_TEST

static void look_for_lists(const struct config_value *value, void *context)
{
    unsigned *found = context;

    *found += strcmp(value->name, "host") == 0 && strcmp(value->value, "db1 , db2") == 0;
    *found += strcmp(value->name, "port") == 0 && strcmp(value->value, "5432, 5433") == 0;
}

START_TEST(lists_are_shown_as_they_were_written_and_survive_a_round_trip)
{
    struct config *config SCOPED(scoped_config) = parse("[p]\nhost = db1 , db2\nport = 5432, 5433\n" FILES);
    char *text SCOPED(scoped_free) = config_to_text(config);
    struct config *again SCOPED(scoped_config) = parse(text);
    unsigned found = 0;

    config_visit(again, look_for_lists, &found);
    ck_assert_uint_eq(found, 2);
    assert_view(again, 1, "db2", "", 5433);
}
END_TEST

START_TEST(a_changed_port_of_one_host_is_a_difference)
{
    struct config *left SCOPED(scoped_config) = parse("[p]\nhost = a, b\nport = 1, 2\n" FILES);
    struct config *right SCOPED(scoped_config) = parse("[p]\nhost = a, b\nport = 1, 3\n" FILES);
    char names[CONFIG_TEXT_SIZE];

    config_differences(&left->servers[0].settings, &right->servers[0].settings, names);
    ck_assert_str_eq(names, "port");
    config_differences(&left->servers[0].settings, &left->servers[0].settings, names);
    ck_assert_str_eq(names, "");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("hosts");

    tcase_add_test(tests, one_host_is_its_own_view);
    tcase_add_test(tests, every_host_has_its_own_port_and_address);
    tcase_add_test(tests, one_port_is_for_all_hosts);
    tcase_add_test(tests, the_default_port_is_for_all_hosts);
    tcase_add_test(tests, addresses_alone_are_hosts_too);
    tcase_add_test(tests, lists_that_do_not_go_together_are_refused_with_their_line);
    tcase_add_test(tests, an_item_that_is_none_is_refused);
    tcase_add_test(tests, the_same_place_twice_is_refused);
    tcase_add_test(tests, lists_are_shown_as_they_were_written_and_survive_a_round_trip);
    tcase_add_test(tests, a_changed_port_of_one_host_is_a_difference);
    return suite_run("config hosts", tests);
}
