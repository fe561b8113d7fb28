#include "daemon/logbook_internal.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "daemon/supervisor_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/log.h"

#define MESSAGE_SIZE     131072
#define MOST_AT_ONCE     512 /* more than the socket holds; then others have their turn */
#define MOST_SIZE        (4 * MESSAGE_SIZE)
#define PATIENCE_SECONDS 1 /* of a library that writes to stderr itself; our own lines: log.h */

/* ---- what workers say ---- */

static pid_t sender_of(struct msghdr *message)
{
    struct ucred credentials = {.pid = 0};

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_CREDENTIALS)
            memcpy(&credentials, CMSG_DATA(part), sizeof credentials);
    return credentials.pid;
}

/* Its size; 0: there is none. */
static size_t take_message(const struct logbook *logbook)
{
    static char bytes[MESSAGE_SIZE];
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

    ssize_t size = recvmsg(logbook->ours, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size <= 0)
        return 0;
    log_on_behalf(bytes, (size_t)size, sender_of(&message));
    return (size_t)size;
}

void logbook_take(struct logbook *logbook)
{
    size_t taken, all = 0;

    for (int i = 0; logbook->ours >= 0 && i < MOST_AT_ONCE && all < MOST_SIZE; i++) {
        taken = take_message(logbook);
        if (taken == 0)
            return;
        all += taken;
    }
}

static void on_incoming(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    logbook_take(context);
}

static bool make_socket(struct logbook *logbook, struct event_base *events, struct error *err)
{
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    const int yes = 1;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a socket for the log");
    logbook->ours = ends[0];
    logbook->theirs = ends[1];
    if (setsockopt(logbook->ours, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) < 0 ||
        setsockopt(logbook->theirs, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not set up the socket for the log");
    logbook->incoming = event_new(events, logbook->ours, EV_READ | EV_PERSIST, on_incoming, logbook);
    if (logbook->incoming == NULL || event_add(logbook->incoming, NULL) < 0)
        return error_set(err, ERROR_FAILED, "no memory for the log");
    return true;
}

/* ---- where it goes ---- */

static void on_library_word(int severity, const char *words)
{
    if (severity == EVENT_LOG_ERR || severity == EVENT_LOG_WARN)
        log_warning("event loop: %s", words);
    else
        log_debug("event loop: %s", words);
}

bool logbook_open(struct supervisor *supervisor, struct error *err)
{
    const char *path = supervisor->config->settings.log_file;

    event_set_log_callback(on_library_word); /* it would write to stderr itself, in a form of its own */
    if (!make_socket(&supervisor->logbook, supervisor->events, err))
        return false;
    supervisor->children.log = supervisor->logbook.theirs;
    if (path[0] == '\0')
        return true;
    log_info("the log goes to \"%s\" (log_file)", path);
    return log_open_file(path, err);
}

void logbook_reopen(void)
{
    struct error err;

    if (log_file_path()[0] == '\0') {
        log_debug("SIGUSR1: there is no log file (log_file) to open again");
        return;
    }
    if (log_open_file(log_file_path(), &err)) {
        log_info("the log file \"%s\" was opened again, asked by SIGUSR1", log_file_path());
        return;
    }
    error_wrap(&err, "the log goes on in the file that is open");
    log_failure(LOG_LEVEL_ERROR, &err);
}

bool logbook_follow(const struct settings *settings, struct error *err)
{
    enum log_format format;

    if (strcmp(settings->log_file, log_file_path()) != 0)
        log_info("the log goes to %s%s%s", settings->log_file[0] != '\0' ? "\"" : "stderr", settings->log_file,
                 settings->log_file[0] != '\0' ? "\" (log_file)" : "");
    if (!log_open_file(settings->log_file, err))
        return false;
    if (log_format_from_word(settings->log_format, &format))
        log_set_format(format);
    return true;
}

void logbook_close(struct logbook *logbook)
{
    logbook_take(logbook);
    if (logbook->incoming != NULL)
        event_free(logbook->incoming);
    scoped_close(&logbook->ours);
    scoped_close(&logbook->theirs);
    *logbook = LOGBOOK_NONE;
}
