#ifndef PGCOFFER_SRC_DAEMON_NOTIFIER_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_NOTIFIER_INTERNAL_H

#include <stdint.h>

#include "pgcoffer/base/attributes.h"

/*
 * The service manager's ear (Type=notify): datagrams to the socket named by NOTIFY_SOCKET, a path or, after '@', an
 * abstract name. Without one, and when it does not listen, nothing happens.
 */
struct notifier {
    int fd; /* -1: nobody listens */
    char status[256];
    /* WatchdogSec= of the unit in microseconds: whoever is silent for so long is ended; 0: the manager does not wait.
     */
    int64_t watchdog;
};

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment: they are none of the workers' business.
 */
void notifier_open(struct notifier *notifier);
void notifier_close(struct notifier *notifier);
void notifier_tell(const struct notifier *notifier, const char *assignments);
/* One sentence about the state; sent only when it differs from the last. */
void notifier_status(struct notifier *notifier, const char *format, ...) PRINTF_LIKE(2, 3);
void notifier_reloading(const struct notifier *notifier);

#endif
