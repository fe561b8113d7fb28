#include "jobs/serve/session_internal.h"
#include "pgcoffer/base/log.h"

static bool serve(struct job *job, struct control_stream *client, struct error *err)
{
    const struct worker_context *worker = job->worker;
    const json_t *servers = json_object_get(worker->start, "servers");
    struct session session SCOPED(session_done);

    session_begin(&session, client, job->config, &job->repo, worker->right, servers);
    if (json_is_set(worker->start, "remote"))
        session.log.caller = json_text_or_null(worker->start, "caller");
    return session_run(&session, worker->request.command != COMMAND_COUNT ? &worker->request : NULL, err);
}

int job_serve_main(struct job *job)
{
    struct control_stream *client SCOPED(scoped_control_stream) =
        control_stream_new(job->worker->client, CONTROL_LINE_SIZE);
    struct error failure;

    job->worker->client = -1; /* the stream owns it */
    /* A session changes nothing on the disk and its locks go with it: it can end anywhere, also in a send that waits.
     */
    worker_end_at_once_when_told();
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
