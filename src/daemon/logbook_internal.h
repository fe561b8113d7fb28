#ifndef PGCOFFER_SRC_DAEMON_LOGBOOK_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_LOGBOOK_INTERNAL_H

#include <event2/event.h>

#include "pgcoffer/config/config.h"

struct supervisor;

/*
 * The log of all processes: what workers say on stderr comes to the supervisor over one socket, and the supervisor
 * alone writes. So a rotated file, another file or another format is one process's concern, and a worker that may open
 * nothing has its lines there too (doc/decisions/0039-one-process-writes-the-log.md).
 */
struct logbook {
    int ours, theirs;       /* the socket's ends; -1: none */
    struct event *incoming; /* NULL: none */
};
#define LOGBOOK_NONE ((struct logbook){.ours = -1, .theirs = -1})

/* The socket for the workers; then log_file, from when on our own lines go there too. */
bool logbook_open(struct supervisor *supervisor, struct error *err) NODISCARD;
/* What workers have said until now is written. */
void logbook_take(struct logbook *logbook);
/* On SIGUSR1, the file may have been renamed: opens the one that bears the name now, or stays with the old one. */
void logbook_reopen(void);
/* What a reload says, the file opened anew in any case. False: nothing has changed. */
bool logbook_follow(const struct settings *settings, struct error *err) NODISCARD;
void logbook_close(struct logbook *logbook);

#endif
