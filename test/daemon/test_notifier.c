#include "daemon/notifier_internal.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/scratch.h"
#include "support/suite.h"

static int listen_as_manager(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(address.sun_path, name, strlen(name));
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    ck_assert_int_eq(
        bind(fd, (const struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
        0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void expect(int manager, const char *text)
{
    char bytes[512] = "";

    ssize_t size = recv(manager, bytes, sizeof bytes - 1, 0);
    ck_assert_str_eq(size >= 0 ? bytes : "nothing", text);
}

static void tell_all(const char *name)
{
    struct notifier notifier;

    int manager = listen_as_manager(name);
    notifier_open(&notifier);
    ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
    notifier_tell(&notifier, "READY=1");
    notifier_status(&notifier, "streaming from %d of %d servers", 1, 2);
    notifier_status(&notifier, "streaming from %d of %d servers", 1, 2);
    notifier_status(&notifier, "two\nlines");
    expect(manager, "READY=1");
    expect(manager, "STATUS=streaming from 1 of 2 servers");
    expect(manager, "STATUS=two?lines");
    expect(manager, "nothing");
    notifier_close(&notifier);
    close(manager);
}

START_TEST(a_manager_hears_by_path_and_by_abstract_name_what_is_new)
{
    char name[64];

    tell_all(scratch_path("manager"));
    snprintf(name, sizeof name, "@pgcoffer-test-%d", (int)getpid());
    tell_all(name);
}
END_TEST

START_TEST(without_a_manager_nothing_happens)
{
    static const char *const names[] = {"", "@", "relative", "/no/such/socket"};
    struct notifier notifier;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        notifier_open(&notifier);
        notifier_tell(&notifier, "READY=1");
        notifier_status(&notifier, "x");
        notifier_reloading(&notifier);
        notifier_close(&notifier);
    }
    unsetenv("NOTIFY_SOCKET");
    notifier_open(&notifier);
    ck_assert_int_eq(notifier.fd, -1);
}
END_TEST

static int64_t watchdog_with(const char *period, const char *process)
{
    struct notifier notifier;

    if (process != NULL)
        setenv("WATCHDOG_PID", process, 1);
    setenv("WATCHDOG_USEC", period, 1);
    notifier_open(&notifier);
    notifier_close(&notifier);
    ck_assert_ptr_null(getenv("WATCHDOG_USEC"));
    ck_assert_ptr_null(getenv("WATCHDOG_PID"));
    return notifier.watchdog;
}

START_TEST(a_watchdog_counts_when_it_waits_for_this_process)
{
    char self[24];

    snprintf(self, sizeof self, "%d", (int)getpid());
    ck_assert_int_eq(watchdog_with("60000000", self), 60000000);
    ck_assert_int_eq(watchdog_with("86400000000", NULL), INT64_C(86400000000));
    ck_assert_int_eq(watchdog_with("60000000", "1"), 0);
    ck_assert_int_eq(watchdog_with("0", self), 0);
    ck_assert_int_eq(watchdog_with("soon", self), 0);
    ck_assert_int_eq(watchdog_with("60000000", "me"), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("notifier");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, a_manager_hears_by_path_and_by_abstract_name_what_is_new);
    tcase_add_test(tests, without_a_manager_nothing_happens);
    tcase_add_test(tests, a_watchdog_counts_when_it_waits_for_this_process);
    return suite_run("notifier", tests);
}
