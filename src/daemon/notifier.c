#include "daemon/notifier_internal.h"

#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/text.h"

/* As sd_watchdog_enabled(3): 0 when the manager waits for nobody, or for another process. */
static int64_t take_watchdog(void)
{
    const char *period = getenv("WATCHDOG_USEC"), *process = getenv("WATCHDOG_PID");
    uint64_t microseconds = 0, pid = 0;

    bool is_ours = process == NULL || (text_parse_unsigned(process, INT_MAX, &pid) && (pid_t)pid == getpid());
    bool is_on = is_ours && period != NULL && text_parse_unsigned(period, INT64_MAX, &microseconds);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return is_on ? (int64_t)microseconds : 0;
}

void notifier_open(struct notifier *notifier)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = getenv("NOTIFY_SOCKET");
    size_t size = name != NULL ? strlen(name) : 0;

    *notifier = (struct notifier){.fd = -1, .watchdog = take_watchdog()};
    if (size < 2 || size >= sizeof address.sun_path || (name[0] != '/' && name[0] != '@')) {
        unsetenv("NOTIFY_SOCKET");
        return;
    }
    memcpy(address.sun_path, name, size);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    unsetenv("NOTIFY_SOCKET");
    int fd SCOPED(scoped_close) = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, address_size) < 0)
        return;
    notifier->fd = fd;
    fd = -1;
}

void notifier_close(struct notifier *notifier)
{
    if (notifier->fd >= 0)
        close(notifier->fd);
    notifier->fd = -1;
}

void notifier_tell(const struct notifier *notifier, const char *assignments)
{
    if (notifier->fd >= 0 && send(notifier->fd, assignments, strlen(assignments), MSG_NOSIGNAL) < 0)
        return; /* a manager that went away needs no news */
}

void notifier_status(struct notifier *notifier, const char *format, ...)
{
    char status[sizeof notifier->status];
    char line[sizeof status + 16];
    va_list args;

    va_start(args, format);
    vsnprintf(status, sizeof status, format, args);
    va_end(args);
    text_make_printable(status);
    if (strcmp(status, notifier->status) == 0)
        return;
    memcpy(notifier->status, status, sizeof status);
    snprintf(line, sizeof line, "STATUS=%s", status);
    notifier_tell(notifier, line);
}

void notifier_reloading(const struct notifier *notifier)
{
    char line[64];

    snprintf(line, sizeof line, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_monotonic());
    notifier_tell(notifier, line);
}
