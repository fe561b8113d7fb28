#include "pgcoffer/daemon/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/errands_internal.h"
#include "daemon/exporter_internal.h"
#include "daemon/gateway_internal.h"
#include "daemon/heartbeat_internal.h"
#include "daemon/jobs_internal.h"
#include "daemon/listener_internal.h"
#include "daemon/receivers_internal.h"
#include "daemon/reload_internal.h"
#include "daemon/reports_internal.h"
#include "daemon/supervisor_internal.h"
#include "daemon/surveys_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define KILL_AFTER_SECONDS 3
#define GIVE_UP_SECONDS    1 /* after SIGKILL: a process in the kernel's hands ends when it can */
#define MOST_DESCRIPTORS   4096

/* ---- end ---- */

static void on_kill_due(evutil_socket_t fd, short what, void *context)
{
    const struct timeval delay = {.tv_sec = GIVE_UP_SECONDS};
    struct supervisor *supervisor = context;

    (void)fd;
    (void)what;
    if (supervisor->was_killing) {
        log_warning("%zu workers did not end, not even by SIGKILL", supervisor->children.count);
        event_base_loopbreak(supervisor->events);
        return;
    }
    supervisor->was_killing = true;
    log_warning("%zu workers did not end within %d s and are killed", supervisor->children.count, KILL_AFTER_SECONDS);
    children_kill_all(&supervisor->children);
    evtimer_add(supervisor->kill_timer, &delay);
}

static void on_children_emptied(void *context)
{
    struct supervisor *supervisor = context;

    if (supervisor->is_stopping)
        event_base_loopbreak(supervisor->events);
}

void supervisor_stop(struct supervisor *supervisor, const char *reason)
{
    const struct timeval delay = {.tv_sec = KILL_AFTER_SECONDS};

    if (supervisor->is_stopping)
        return;
    supervisor->is_stopping = true;
    log_info("shutting down: %s", reason);
    notifier_tell(&supervisor->notifier, "STOPPING=1\nSTATUS=shutting down");
    reports_stop(supervisor);
    listener_close(supervisor->listener);
    children_stop_all(&supervisor->children);
    evtimer_add(supervisor->kill_timer, &delay);
    if (supervisor->children.count == 0)
        event_base_loopbreak(supervisor->events);
}

/* ---- signals ---- */

static void on_signal(evutil_socket_t number, short what, void *context)
{
    struct supervisor *supervisor = context;
    char restart_needed[CONFIG_TEXT_SIZE];
    struct error logged;

    (void)what;
    if (number == SIGCHLD) {
        logbook_take(&supervisor->logbook); /* what it said last, before what is said of its end */
        children_reap(&supervisor->children);
    } else if (number == SIGUSR1) {
        logbook_reopen();
    } else if (number == SIGHUP && !supervisor->is_stopping) {
        (void)!reload_configuration(supervisor, "asked by SIGHUP", restart_needed, &logged);
    } else if (number == SIGTERM || number == SIGINT) {
        supervisor_stop(supervisor, number == SIGTERM ? "SIGTERM" : "SIGINT");
    }
}

static void watch_signals(struct supervisor *supervisor)
{
    static const int numbers[SUPERVISOR_SIGNAL_COUNT] = {
        [SUPERVISOR_CHILD] = SIGCHLD,     [SUPERVISOR_HANGUP] = SIGHUP,    [SUPERVISOR_ROTATED] = SIGUSR1,
        [SUPERVISOR_TERMINATE] = SIGTERM, [SUPERVISOR_INTERRUPT] = SIGINT,
    };

    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < SUPERVISOR_SIGNAL_COUNT; i++) {
        supervisor->signals[i] = evsignal_new(supervisor->events, numbers[i], on_signal, supervisor);
        if (supervisor->signals[i] == NULL || evsignal_add(supervisor->signals[i], NULL) < 0)
            abort();
    }
}

/* ---- start ---- */

static bool check_base_dir(const char *base_dir, struct error *err)
{
    struct stat status;

    if (stat(base_dir, &status) == 0 && S_ISDIR(status.st_mode))
        return true;
    if (errno == ENOENT || errno == 0)
        errno = ENOENT;
    error_set_errno(err, "could not open the repository \"%s\" (base_dir)", base_dir);
    return error_hint(err, "Create it with \"install -d -m 0700 -o USER %s\", USER being who runs pgcofferd.",
                      base_dir);
}

static bool take_lock(struct supervisor *supervisor, struct error *err)
{
    const char *base_dir = supervisor->config->settings.base_dir;
    char *path SCOPED(scoped_free) = memory_text("%s/lock", base_dir);
    char now[TIMESTAMP_TEXT_SIZE];

    if (!check_base_dir(base_dir, err))
        return false;
    timestamp_format(supervisor->started_at, now);
    char *holder SCOPED(scoped_free) = memory_text("pid %d, pgcofferd since %s", (int)getpid(), now);
    if (file_lock_exclusive(path, holder, &supervisor->lock, err))
        return true;
    if (err->kind == ERROR_BUSY) {
        error_wrap(err, "another daemon runs on this repository");
        return error_hint(err, "One repository has one daemon: end the other one, or set another base_dir.");
    }
    return error_hint(err, "The repository must belong to the user who runs pgcofferd: chown -R USER %s", base_dir);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= MOST_DESCRIPTORS)
        return;
    limit.rlim_cur = limit.rlim_max < MOST_DESCRIPTORS ? limit.rlim_max : MOST_DESCRIPTORS;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_debug("could not raise the limit of open files: %s", strerror(errno)); /* enough for most */
}

static bool start(struct supervisor *supervisor, struct error *err)
{
    char notice[256];

    if (!reload_check_groups(supervisor->config, notice, err) || !take_lock(supervisor, err))
        return false;
    raise_descriptor_limit();
    supervisor->events = event_base_new();
    if (supervisor->events == NULL)
        return error_set(err, ERROR_FAILED, "could not make an event loop");
    supervisor->children = (struct children){
        .events = supervisor->events, .log = -1, .emptied = on_children_emptied, .context = supervisor};
    supervisor->kill_timer = evtimer_new(supervisor->events, on_kill_due, supervisor);
    if (supervisor->kill_timer == NULL)
        abort();
    if (!listener_open(supervisor, &supervisor->listener, err))
        return false;
    watch_signals(supervisor); /* before a file is opened, which may be renamed at any moment */
    if (!logbook_open(supervisor, err))
        return false;
    log_info("pgcofferd %s started: pid %d, configuration \"%s\", repository \"%s\", socket \"%s/pgcoffer.sock\", "
             "%zu server%s",
             PGCOFFER_VERSION, (int)getpid(), supervisor->config->path, supervisor->config->settings.base_dir,
             supervisor->config->settings.unix_socket_dir, supervisor->config->server_count,
             supervisor->config->server_count == 1 ? "" : "s");
    if (notice[0] != '\0')
        log_info("%s", notice);
    return true;
}

static void run(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->config->server_count; i++)
        jobs_start_resume(supervisor, supervisor->config->servers[i].name);
    receivers_start(supervisor);
    surveys_want(supervisor, "");
    gateway_follow_configuration(supervisor);
    exporter_follow_configuration(supervisor);
    heartbeat_start(supervisor);
    notifier_tell(&supervisor->notifier, "READY=1");
    event_base_dispatch(supervisor->events);
    /* The last answers on their way: what the sockets take at once. */
    event_base_loop(supervisor->events, EVLOOP_NONBLOCK);
}

static void finish(struct supervisor *supervisor)
{
    listener_free(supervisor->listener);
    job_table_done(&supervisor->jobs);
    counts_done(&supervisor->counts);
    receivers_free(supervisor);
    surveys_free(supervisor);
    errands_free(supervisor);
    gateway_free(supervisor);
    exporter_free(supervisor);
    logbook_close(&supervisor->logbook);
    for (int i = 0; i < SUPERVISOR_SIGNAL_COUNT; i++)
        if (supervisor->signals[i] != NULL)
            event_free(supervisor->signals[i]);
    if (supervisor->kill_timer != NULL)
        event_free(supervisor->kill_timer);
    heartbeat_free(supervisor);
    if (supervisor->events != NULL)
        event_base_free(supervisor->events);
    notifier_close(&supervisor->notifier);
    file_lock_done(&supervisor->lock);
    config_free(supervisor->config);
}

int supervisor_run(struct config *config)
{
    struct supervisor supervisor = {.config = config,
                                    .own_uid = geteuid(),
                                    .started_at = clock_now(),
                                    .lock = FILE_LOCK_NONE,
                                    .logbook = LOGBOOK_NONE};
    int status = EXIT_SUCCESS;
    struct error err;

    notifier_open(&supervisor.notifier);
    counts_begin(&supervisor.counts, supervisor.started_at);
    if (start(&supervisor, &err)) {
        run(&supervisor);
        logbook_take(&supervisor.logbook);
        log_info("pgcofferd ended");
    } else {
        log_failure(LOG_LEVEL_ERROR, &err);
        status = error_exit_status(&err);
    }
    finish(&supervisor);
    return status;
}
