#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "jobs/serve/session_internal.h"
#include "pgcoffer/base/log.h"

/* A session changes nothing on the disk and its locks go with it: it can end anywhere, also in a send that waits. */
static void leave(int signal_number)
{
    (void)signal_number;
    _exit(EXIT_SUCCESS);
}

static void end_at_once_when_told(void)
{
    struct sigaction action = {.sa_handler = leave};
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigprocmask(SIG_UNBLOCK, &signals, NULL);
}

static enum right right_from_word(const char *word)
{
    for (int right = RIGHT_ANYBODY; word != NULL && right <= RIGHT_ADMIN; right++)
        if (strcmp(word, right_word((enum right)right)) == 0)
            return (enum right)right;
    return RIGHT_ANYBODY;
}

static bool serve(struct job *job, struct control_stream *client, struct error *err)
{
    const struct worker_context *worker = job->worker;
    const json_t *servers = json_object_get(worker->start, "servers");
    struct session session SCOPED(session_done);

    session_begin(&session, client, job->config, &job->repo, right_from_word(json_text_or_null(worker->start, "right")),
                  servers);
    return session_run(&session, worker->request.command != COMMAND_COUNT ? &worker->request : NULL, err);
}

int job_serve_main(struct job *job)
{
    struct control_stream *client SCOPED(scoped_control_stream) =
        control_stream_new(job->worker->client, CONTROL_LINE_SIZE);
    struct error failure;

    job->worker->client = -1; /* the stream owns it */
    end_at_once_when_told();
    if (serve(job, client, &failure))
        return EXIT_SUCCESS;
    /* Clients come and go; only what is wrong here is worth a line. */
    if (failure.kind == ERROR_DAEMON) {
        log_debug("session ended: %s", failure.message);
        return EXIT_SUCCESS;
    }
    log_failure(LOG_LEVEL_WARNING, &failure);
    return error_exit_status(&failure);
}
