#include "daemon/requests_internal.h"

#include "daemon/answers_internal.h"
#include "daemon/errands_internal.h"
#include "daemon/jobs_internal.h"
#include "daemon/reports_internal.h"
#include "daemon/rights_internal.h"
#include "daemon/sessions_internal.h"
#include "pgcoffer/base/log.h"

typedef bool answer_function(struct client *client, const struct request *request, struct error *err);

/* Every AT_ONCE command has its function; the others need none. */
static answer_function *const answers[COMMAND_COUNT] = {
#define ANSWER_LOCAL(id)
#define ANSWER_JOB(id)
#define ANSWER_ERRAND(id)
#define ANSWER_SESSION(id)
#define ANSWER_WIRE(id)
#define ANSWER_AT_ONCE(id)                                           [COMMAND_ID_##id] = answer_##id,
#define COMMAND(id, words, least, most, how, right, arguments, help) ANSWER_##how(id)
#include "pgcoffer/control/commands.def"
#undef COMMAND
};

static bool start_job(struct client *client, const struct request *request, enum right right, struct error *err)
{
    struct supervisor *supervisor = client_supervisor(client);
    struct job_entry *running = NULL;
    struct job_entry *entry;

    /* Leftovers are looked through in a moment; only completing them takes a while, and then it is BUSY. */
    if (request->command == COMMAND_ID_backup || request->command == COMMAND_ID_slot_drop)
        running = job_table_backup_of(&supervisor->jobs, request->server);
    if (running != NULL && running->is_resume && !running->has_reported) {
        client_defer(client, request);
        return true;
    }
    if (!jobs_start(supervisor, request, right, client_caller(client)->text, &entry, err))
        return false;
    json_t *event SCOPED(scoped_json) = json_pack("{s:s, s:s, s:s, s:s}", "event", "job", "job", entry->id, "command",
                                                  job_entry_command(entry), "server", entry->server);
    client_send(client, event);
    client_wait_for_job(client, CLIENT_FOLLOWS, entry->id);
    return true;
}

static bool refuse_local(const struct request *request, struct error *err)
{
    return error_set(err, ERROR_USAGE, "\"%s\" is not a request: pgcoffer does it without the daemon",
                     commands[request->command].words);
}

static bool answer(struct client *client, const struct request *request, struct error *err)
{
    const struct supervisor *supervisor = client_supervisor(client);
    enum right right = RIGHT_ANYBODY;

    if (commands[request->command].right > RIGHT_ANYBODY &&
        !rights_demand(client_caller(client), supervisor->config, supervisor->own_uid, request, &right, err))
        return false;
    switch (commands[request->command].how) {
    case COMMAND_LOCAL:
        return refuse_local(request, err);
    case COMMAND_AT_ONCE:
        return answers[request->command](client, request, err);
    case COMMAND_JOB:
        return start_job(client, request, right, err);
    case COMMAND_ERRAND:
        return errands_start(client, request, right, err);
    case COMMAND_SESSION:
        return sessions_start(client, request, right, err);
    case COMMAND_WIRE:
        if (request->command == COMMAND_ID_report)
            return reports_start(client, request, err);
        return errands_know(request->command) ? errands_start(client, request, right, err)
                                              : sessions_start(client, request, right, err);
    }
    return false;
}

void requests_answer(struct client *client, const struct request *request)
{
    struct error failure;

    if (client_supervisor(client)->is_stopping) {
        error_set(&failure, ERROR_DAEMON, "the daemon is shutting down");
        client_send_error(client, &failure);
        client_finish(client);
        return;
    }
    if (answer(client, request, &failure))
        return;
    client_send_error(client, &failure);
    if (failure.kind == ERROR_DENIED && !client_caller(client)->is_remote) /* that is logged as every request */
        log_warning("denied: %s", failure.message);
    if (failure.kind == ERROR_DENIED || failure.kind == ERROR_USAGE)
        client_finish(client);
}
