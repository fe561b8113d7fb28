#include "pgcoffer/pg/hosts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

#include "pg/hosts_internal.h"
#include "pgcoffer/base/clock.h"
#include "support/suite.h"

static struct server_config server;

/* A bound port; who connects is answered only if somebody listens. */
static int take_port(bool is_listening, uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    if (is_listening)
        ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void make_server(const char *hosts, const char *ports)
{
    struct error err;

    memset(&server, 0, sizeof server);
    config_default_settings(&server.settings);
    snprintf(server.name, sizeof server.name, "primary");
    ck_assert(config_set(&server.settings, "host", hosts, &err));
    ck_assert(config_set(&server.settings, "port", ports, &err));
    ck_assert(config_set(&server.settings, "tls_mode", "require", &err));
    server.settings.allow_insecure = true;
    server.settings.connect_timeout = 2;
    snprintf(server.settings.user, sizeof server.settings.user, "repl");
}

START_TEST(the_one_that_was_good_last_is_asked_first)
{
    size_t order[CONFIG_MOST_HOSTS];

    hosts_order(2, 4, order);
    ck_assert_uint_eq(order[0], 2);
    ck_assert_uint_eq(order[1], 0);
    ck_assert_uint_eq(order[2], 1);
    ck_assert_uint_eq(order[3], 3);
    hosts_order(7, 2, order); /* a list that has become shorter */
    ck_assert_uint_eq(order[0], 0);
    ck_assert_uint_eq(order[1], 1);
}
END_TEST

START_TEST(the_timeline_counts_before_the_position)
{
    const struct pg_identity old_and_far = {.timeline = {1}, .position = {900}};
    const struct pg_identity new_and_near = {.timeline = {2}, .position = {100}};
    const struct pg_identity new_and_far = {.timeline = {2}, .position = {101}};

    ck_assert(hosts_is_better(&new_and_near, &old_and_far));
    ck_assert(!hosts_is_better(&old_and_far, &new_and_near));
    ck_assert(hosts_is_better(&new_and_far, &new_and_near));
    ck_assert(!hosts_is_better(&new_and_far, &new_and_far));
}
END_TEST

START_TEST(a_system_is_common_only_when_every_host_has_told_it)
{
    struct pg_host_report reports[2] = {{.is_asked = true, .identity = {.system_identifier = 7}},
                                        {.is_asked = true, .is_refused = true, .identity = {.system_identifier = 7}}};

    ck_assert_uint_eq(pg_hosts_common_system(reports, 2), 7);
    reports[1].identity.system_identifier = 8;
    ck_assert_uint_eq(pg_hosts_common_system(reports, 2), 0);
    for (size_t silent = 0; silent < 2; silent++) {
        reports[0].identity.system_identifier = reports[1].identity.system_identifier = 7;
        reports[silent].identity.system_identifier = 0;
        ck_assert_uint_eq(pg_hosts_common_system(reports, 2), 0);
    }
}
END_TEST

START_TEST(an_error_names_every_host_and_is_of_the_kind_that_weighs_most)
{
    struct pg_host_report reports[3] = {{.is_refused = true}, {.is_refused = true}, {.is_refused = true}};
    struct error err;

    make_server("db1, db2, db3", "5432, 5433, 5434");
    error_set_cause(&reports[0].reason, ERROR_SERVER, "could not connect (db1 port 5432): ", "nobody listens", "");
    error_check(&reports[0].reason, "server.connect");
    error_set(&reports[1].reason, ERROR_TLS, "expired");
    error_check(&reports[1].reason, "server.expiry");
    error_hint(&reports[1].reason, "Renew it.");
    error_set(&reports[2].reason, ERROR_SERVER, "starting up");
    hosts_set_error(&server, reports, 3, &err);
    ck_assert_str_eq(err.message,
                     "none of the 3 hosts of server \"primary\" can be used: db1 port 5432: nobody listens; "
                     "db2 port 5433: expired; db3 port 5434: starting up");
    ck_assert_int_eq(err.kind, ERROR_TLS);
    ck_assert_str_eq(err.check, "server.expiry");
    ck_assert_str_eq(err.hint, "Renew it.");
    reports[2].reason.kind = ERROR_INTEGRITY;
    hosts_set_error(&server, reports, 3, &err);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
}
END_TEST

START_TEST(long_reasons_of_many_hosts_are_cut_and_every_host_stays_named)
{
    struct pg_host_report reports[CONFIG_MOST_HOSTS] = {{.is_refused = true}};
    struct error err;

    make_server("a,b,c,d,e,f,g,h", "1");
    for (size_t host = 0; host < CONFIG_MOST_HOSTS; host++)
        error_set(&reports[host].reason, ERROR_SERVER, "%01500d", 7);
    hosts_set_error(&server, reports, CONFIG_MOST_HOSTS, &err);
    ck_assert_ptr_nonnull(strstr(err.message, " a port 1: 000"));
    ck_assert_ptr_nonnull(strstr(err.message, "; h port 1: 000"));
}
END_TEST

START_TEST(hosts_where_nobody_listens_are_told_at_once_and_all)
{
    struct pg_hosts hosts = {.preferred = 1};
    struct pg_connection *connection = NULL;
    struct error err = {0};
    char ports[32], first_text[32], second_text[32];
    uint16_t first, second;
    int first_fd = take_port(false, &first), second_fd = take_port(false, &second);

    snprintf(ports, sizeof ports, "%d,%d", first, second);
    make_server("127.0.0.1,127.0.0.1", ports);
    ck_assert(!pg_connect_one_of(&server, "pgcoffer test", -1, &hosts, &connection, &err));
    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert_str_eq(err.check, "server.connect");
    snprintf(first_text, sizeof first_text, "port %d:", first);
    snprintf(second_text, sizeof second_text, "port %d:", second);
    ck_assert_ptr_nonnull(strstr(err.message, first_text));
    ck_assert_ptr_nonnull(strstr(err.message, second_text));
    ck_assert(hosts.reports[0].is_refused && hosts.reports[1].is_refused);
    ck_assert_uint_eq(hosts.preferred, 1);
    close(first_fd);
    close(second_fd);
}
END_TEST

START_TEST(two_silent_hosts_are_waited_for_together)
{
    struct pg_hosts hosts = {.preferred = 0};
    struct pg_connection *connection = NULL;
    struct error err = {0};
    char ports[32];
    uint16_t first, second;
    int first_fd = take_port(true, &first), second_fd = take_port(true, &second);
    int64_t start = clock_monotonic();

    snprintf(ports, sizeof ports, "%d,%d", first, second);
    make_server("127.0.0.1,127.0.0.1", ports);
    ck_assert(!pg_connect_one_of(&server, "pgcoffer test", -1, &hosts, &connection, &err));
    ck_assert_int_lt(clock_monotonic() - start, 3900000); /* one behind the other they would take 4 s */
    ck_assert_int_eq(err.errnum, ETIMEDOUT);
    close(first_fd);
    close(second_fd);
}
END_TEST

START_TEST(an_interrupt_ends_the_search)
{
    struct pg_hosts hosts = {.preferred = 0};
    struct pg_connection *connection = NULL;
    struct error err = {0};
    char ports[32];
    uint16_t first, second;
    int ends[2], first_fd = take_port(true, &first), second_fd = take_port(true, &second);

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    snprintf(ports, sizeof ports, "%d,%d", first, second);
    make_server("127.0.0.1,127.0.0.1", ports);
    ck_assert(!pg_connect_one_of(&server, "pgcoffer test", ends[0], &hosts, &connection, &err));
    ck_assert_int_eq(err.errnum, ECANCELED);
    close(first_fd);
    close(second_fd);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("hosts");

    tcase_add_test(tests, the_one_that_was_good_last_is_asked_first);
    tcase_add_test(tests, the_timeline_counts_before_the_position);
    tcase_add_test(tests, a_system_is_common_only_when_every_host_has_told_it);
    tcase_add_test(tests, an_error_names_every_host_and_is_of_the_kind_that_weighs_most);
    tcase_add_test(tests, long_reasons_of_many_hosts_are_cut_and_every_host_stays_named);
    tcase_add_test(tests, hosts_where_nobody_listens_are_told_at_once_and_all);
    tcase_add_test(tests, two_silent_hosts_are_waited_for_together);
    tcase_add_test(tests, an_interrupt_ends_the_search);
    return suite_run("hosts", tests);
}
