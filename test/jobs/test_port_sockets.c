#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

#include "jobs/tls_port/port_internal.h"
#include "support/suite.h"

static const struct port_words words = {.owner = "the port", .port = "port"};

typedef int resolve_function(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* "twice" is a name of 127.0.0.1 in two lines of /etc/hosts. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret_first)
{
    union {
        void *symbol;
        resolve_function *function;
    } real = {.symbol = dlsym(RTLD_NEXT, "getaddrinfo")};

    if (strcmp(host, "twice") != 0)
        return real.function(host, service, hints, ret_first);
    int status = real.function("127.0.0.1", service, hints, ret_first);
    return status != 0 ? status : real.function("127.0.0.1", service, hints, &(*ret_first)->ai_next);
}

/* One that nobody has at the moment. */
static long free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

START_TEST(a_name_that_leads_twice_to_an_address_is_bound_once)
{
    int sockets[PORT_MOST_SOCKETS];
    size_t count = 0;
    struct error err;

    ck_assert_msg(port_bind(&words, "twice", free_port(), sockets, &count, &err), "%s", err.message);
    ck_assert_uint_eq(count, 1);
    close(sockets[0]);
}
END_TEST

START_TEST(a_port_that_another_has_is_told_so)
{
    long number = free_port();
    int sockets[PORT_MOST_SOCKETS], others[PORT_MOST_SOCKETS];
    size_t count = 0, ignored;
    struct error err;

    ck_assert_msg(port_bind(&words, "127.0.0.1", number, sockets, &count, &err), "%s", err.message);
    ck_assert_int_eq(listen(sockets[0], 1), 0);
    ck_assert(!port_bind(&words, "127.0.0.1", number, others, &ignored, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "could not bind the port to 127.0.0.1:"));
    ck_assert_ptr_nonnull(strstr(err.hint, "Another program has the port"));
    close(sockets[0]);
}
END_TEST

static void on_changed(void *context)
{
    const struct port *port = context;

    event_base_loopbreak(port->events);
}

/* Two programs may bind a port as long as neither listens. */
START_TEST(a_port_at_which_another_was_first_to_listen_is_tried_again)
{
    long number = free_port();
    struct port port = {.words = &words, .changed = on_changed, .changed_context = &port};
    struct event_base *events = event_base_new();
    int others[PORT_MOST_SOCKETS];
    size_t count = 0;
    struct error err;

    ck_assert(port_bind(&words, "127.0.0.1", number, port.sockets, &port.socket_count, &err));
    ck_assert(port_bind(&words, "127.0.0.1", number, others, &count, &err));
    ck_assert_int_eq(listen(others[0], 1), 0);
    port_begin(&port, events);
    port_listen(&port);
    ck_assert(!port.is_listening);
    close(others[0]);
    event_base_dispatch(events);
    ck_assert(port.is_listening);
    port_end(&port);
    event_base_free(events);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("port_sockets");

    tcase_add_test(tests, a_name_that_leads_twice_to_an_address_is_bound_once);
    tcase_add_test(tests, a_port_that_another_has_is_told_so);
    tcase_add_test(tests, a_port_at_which_another_was_first_to_listen_is_tried_again);
    return suite_run("port_sockets", tests);
}
