#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/gateway_internal.h"
#include "daemon/listener_internal.h"
#include "support/scratch.h"
#include "support/suite.h"

#define CONNECTIONS 3

/* As the worker: knocks, and is gone before anybody opens. */
static int knock_and_go(void)
{
    const char hello[] = "{\"v\":1,\"command\":\"shutdown\"}\n";
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "%s/pgcoffer.sock", getenv("TEST_SOCKET_FOLDER"));
    for (int i = 0; i < CONNECTIONS; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
            send(fd, hello, sizeof hello - 1, 0) < 0)
            return 1;
    }
    return 0;
}

/* What it leaves in the queue would otherwise be requests of the daemon's own user, an administrator. */
START_TEST(what_an_ended_gateway_left_in_the_queue_stays_the_gateways)
{
    struct config config = {.settings = {.management = 1}};
    struct supervisor supervisor = {.config = &config, .own_uid = getuid(), .events = event_base_new()};
    siginfo_t end;
    struct error err;

    signal(SIGPIPE, SIG_IGN);
    supervisor.children = (struct children){.events = supervisor.events, .log = -1};
    snprintf(config.settings.unix_socket_dir, sizeof config.settings.unix_socket_dir, "%s", scratch_path("run"));
    setenv("TEST_SOCKET_FOLDER", config.settings.unix_socket_dir, 1);
    ck_assert_msg(listener_open(&supervisor, &supervisor.listener, &err), "%s", err.message);
    gateway_follow_configuration(&supervisor);
    ck_assert_ptr_nonnull(supervisor.children.first);
    const struct caller caller = {.uid = getuid(), .pid = child_pid(supervisor.children.first)};
    const struct caller other = {.uid = getuid(), .pid = getpid()};
    ck_assert(gateway_is_peer(&supervisor, &caller));
    ck_assert_int_eq(waitid(P_PID, (id_t)caller.pid, &end, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(end.si_status, 0);
    children_reap(&supervisor.children);
    ck_assert_ptr_null(supervisor.children.first);
    ck_assert(gateway_is_peer(&supervisor, &caller));
    ck_assert(!gateway_is_peer(&supervisor, &other));
    for (int i = 0; i < 5; i++)
        event_base_loop(supervisor.events, EVLOOP_NONBLOCK);
    ck_assert(!supervisor.is_stopping);                /* nobody of them was an administrator */
    ck_assert(!gateway_is_peer(&supervisor, &caller)); /* the pid is anybody's again */
    listener_free(supervisor.listener);
    gateway_free(&supervisor);
    event_base_free(supervisor.events);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2 && strncmp(argv[1], "--role=", 7) == 0)
        return knock_and_go();
    TCase *tests = tcase_create("gateway");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, what_an_ended_gateway_left_in_the_queue_stays_the_gateways);
    return suite_run("gateway", tests);
}
