#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/jobs/wal_get.h"

#define STATUS_NOT_THERE 1

static char temporary_path[PATH_MAX];
static volatile sig_atomic_t is_temporary_ours;

/*
 * PostgreSQL takes the exit status of a process killed by SIGTERM for its own shutdown, and the other signals' for
 * what they are; all that is to be said here is that the file did not come.
 */
static void give_up(int signal_number)
{
    (void)signal_number;
    if (is_temporary_ours)
        unlink(temporary_path);
    _exit(WAL_GET_STATUS_BASE + 1);
}

static void catch_signals(void)
{
    static const int caught[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = give_up};

    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++)
        sigaction(caught[i], &action, NULL);
}

/* Opened when it is needed: a segment that was fetched ahead needs neither the daemon nor the repository. */
struct late_source {
    const struct invocation *invocation;
    struct session_source *source;
    struct connector connector; /* its patience is known once the source is */
};

static bool open_late(void *context, struct control_stream **ret_stream, struct error *err)
{
    struct late_source *late = context;

    if (late->source == NULL && !session_source_new(late->invocation, false, &late->source, err))
        return false;
    struct connector known = session_source_connector(late->source);
    late->connector.patience_seconds = known.patience_seconds;
    late->connector.silence_seconds = known.silence_seconds;
    return session_source_open(late->source, ret_stream, err);
}

static void scoped_late_source(struct late_source *late)
{
    session_source_free(late->source);
}

static const char *text_or_nothing(const struct invocation *invocation, enum option_id option)
{
    const char *text = invocation_text(invocation, option);

    return text == NULL ? "" : text;
}

/* The words of the command line that say where the archive is; NULL with --no-prefetch. */
static char *describe_source(const struct invocation *invocation)
{
    if (invocation_has(invocation, OPTION_ID_no_prefetch))
        return NULL;
    return memory_text("%d\n%s\n%s\n%s\n%s", invocation_has(invocation, OPTION_ID_direct),
                       text_or_nothing(invocation, OPTION_ID_config), text_or_nothing(invocation, OPTION_ID_socket),
                       text_or_nothing(invocation, OPTION_ID_connect),
                       text_or_nothing(invocation, OPTION_ID_tls_cert_file));
}

/* The process left behind: it has no caller, and nobody to tell of a failure. */
static void run_ahead(struct invocation *invocation, struct wal_ahead *ahead)
{
    struct session_source *source SCOPED(scoped_session_source) = NULL;
    struct error ignored;

    wal_ahead_detach(ahead);
    if (!session_source_new(invocation, false, &source, &ignored)) {
        wal_ahead_cancel(ahead);
        return;
    }
    struct connector connector = session_source_connector(source);
    wal_ahead_run(ahead, &connector);
}

static void leave_behind(struct invocation *invocation, struct wal_ahead *ahead)
{
    fflush(NULL);
    switch (fork()) {
    case -1:
        wal_ahead_cancel(ahead);
        return;
    case 0:
        run_ahead(invocation, ahead);
        _exit(0);
    }
    wal_ahead_free(ahead);
}

static void report(struct invocation *invocation, const char *file, enum wal_get_outcome outcome)
{
    bool is_written = outcome != WAL_GET_NOT_THERE;

    if (!is_written)
        invocation->exit_status = STATUS_NOT_THERE;
    if (output_is_json(invocation)) {
        json_t *data SCOPED(scoped_json) =
            json_pack("{s:b, s:b}", "found", is_written, "prefetched", outcome == WAL_GET_WAS_AHEAD);
        output_json(data);
    }
    /* Recovery asks for files that are not there as part of its normal work: no line in PostgreSQL's log for each. */
    output_detail(invocation,
                  outcome == WAL_GET_WAS_AHEAD ? "%s is written, it was fetched ahead"
                  : is_written                 ? "%s is written"
                                               : "%s is not held",
                  file);
}

bool command_wal_get(struct invocation *invocation, struct error *err)
{
    struct late_source late SCOPED(scoped_late_source) = {.invocation = invocation};

    late.connector = (struct connector){.open = open_late, .context = &late};
    char *source SCOPED(scoped_free) = describe_source(invocation);
    struct request request SCOPED(request_done) = {0};
    struct wal_ahead *ahead = NULL;
    enum wal_get_outcome outcome;
    struct wal_get get = {.server = invocation_argument(invocation, 0),
                          .file = invocation_argument(invocation, 1),
                          .path = invocation_argument(invocation, 2),
                          .source = source,
                          .is_temporary_ours = &is_temporary_ours,
                          .connector = &late.connector};

    snprintf(temporary_path, sizeof temporary_path, "%s.tmp", get.path);
    catch_signals();
    if (!invocation_request(invocation, &request, err))
        return false;
    get.system_id = request_text(&request, OPTION_ID_system_id);
    get.is_to_target = request_has(&request, OPTION_ID_to_target);
    if (!wal_get_run(&get, &outcome, &ahead, err))
        return false;
    report(invocation, get.file, outcome);
    if (ahead != NULL)
        leave_behind(invocation, ahead);
    return true;
}
