#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/jobs/restore.h"

#define STATUS_NOT_THERE 1

static char temporary_path[PATH_MAX];

/*
 * PostgreSQL takes the exit status of a process killed by SIGTERM for its own shutdown, and the other signals' for
 * what they are; all that is to be said here is that the file did not come.
 */
static void give_up(int signal_number)
{
    (void)signal_number;
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

bool command_wal_get(struct invocation *invocation, struct error *err)
{
    struct session_source *source SCOPED(scoped_session_source) = NULL;
    const char *server = invocation_argument(invocation, 0);
    const char *file = invocation_argument(invocation, 1);
    const char *path = invocation_argument(invocation, 2);
    struct request request SCOPED(request_done) = {0};
    enum wal_get_outcome outcome;

    snprintf(temporary_path, sizeof temporary_path, "%s.tmp", path);
    catch_signals();
    if (!invocation_request(invocation, &request, err) || !session_source_new(invocation, false, &source, err))
        return false;
    struct connector connector = session_source_connector(source);
    if (!wal_get_run(server, file, path, request_text(&request, OPTION_ID_system_id), &connector, &outcome, err))
        return false;
    bool is_written = outcome == WAL_GET_WRITTEN;
    if (!is_written)
        invocation->exit_status = STATUS_NOT_THERE;
    if (output_is_json(invocation)) {
        json_t *data SCOPED(scoped_json) = json_pack("{s:b}", "found", is_written);
        output_json(data);
    }
    /* Recovery asks for files that are not there as part of its normal work: no line in PostgreSQL's log for each. */
    output_detail(invocation, is_written ? "%s is written" : "%s is not held", file);
    return true;
}
