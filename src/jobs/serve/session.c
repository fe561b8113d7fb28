#include "jobs/serve/session_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "jobs/serve/stock_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define IDLE_MILLISECONDS (60 * 60 * 1000)

void session_begin(struct session *session, struct control_stream *client, const struct config *config,
                   const struct repo *repo, enum right right, const json_t *servers)
{
    *session = (struct session){.client = client, .config = config, .repo = repo, .right = right, .servers = servers};
    control_stream_set_timeout(client, IDLE_MILLISECONDS);
}

void session_done(struct session *session)
{
    for (size_t i = 0; i < session->held_count; i++)
        held_free(session->held[i]);
    session->held_count = 0;
    remote_log_end(&session->log);
}

static session_answer *answer_of(enum command_id command)
{
    static session_answer *const answers[COMMAND_COUNT] = {
        [COMMAND_ID_list] = answer_list,         [COMMAND_ID_show] = answer_show,
        [COMMAND_ID_restore] = answer_restore,   [COMMAND_ID_wal_get] = answer_wal_get,
        [COMMAND_ID_wal_list] = answer_wal_list, [COMMAND_ID_wal_status] = answer_wal_status,
        [COMMAND_ID_read] = answer_read,         [COMMAND_ID_drill] = answer_restore,
        [COMMAND_ID_export] = answer_restore,
    };

    return answers[command];
}

static bool deny(const struct session *session, const struct request *request, struct error *err)
{
    const struct command *command = &commands[request->command];
    const char *server = request->server[0] != '\0' ? request->server : session->server;

    error_set(err, ERROR_DENIED, "\"%s\" needs the right of a %s over \"%s\"", command->words,
              right_word(command->right), server);
    switch (command->right) {
    case RIGHT_RESTORER:
        return error_hint(err, "Name the OS user or one of its groups (@name) in restorers of [%s].", server);
    case RIGHT_MONITOR:
        return error_hint(err, "Name the OS user or one of its groups (@name) in monitors or restorers of [%s].",
                          server);
    case RIGHT_ANYBODY:
    case RIGHT_ADMIN:
        break;
    }
    return error_hint(err, "Members of admin_group may do it.");
}

/* Below ADMIN the right was granted for one server: the one of the first request. */
static bool authorise(struct session *session, const struct request *request, struct error *err)
{
    if (session->right < commands[request->command].right)
        return deny(session, request, err);
    if (session->right >= RIGHT_ADMIN)
        return true;
    if (!session->is_bound) {
        session->is_bound = true;
        snprintf(session->server, sizeof session->server, "%s", request->server);
    }
    if (strcmp(session->server, request->server) == 0)
        return true;
    return error_set(err, ERROR_DENIED, "this session is bound to the server of its first request, \"%s\"",
                     session->server);
}

/* A server that has left the configuration can still be read by those who may do everything. */
static bool check_server(const struct session *session, const struct request *request, struct error *err)
{
    const struct server_config *server;
    struct stat status;

    if (request->server[0] == '\0' || config_find_server(session->config, request->server, &server, err))
        return true;
    if (session->right < RIGHT_ADMIN || !text_is_server_name(request->server))
        return false;
    char *folder SCOPED(scoped_free) = repo_server_path(session->repo, request->server, "");
    return lstat(folder, &status) == 0 && S_ISDIR(status.st_mode);
}

/* *ret_is_over: the connection is to be closed. False with *err: the connection failed. */
static bool answer(struct session *session, const struct request *request, bool *ret_is_over, struct error *err)
{
    session_answer *function = answer_of(request->command);
    uint64_t sent_before = control_stream_sent(session->client);
    struct error failure;

    *ret_is_over = false;
    if (function == NULL) {
        error_set(&failure, ERROR_USAGE, "\"%s\" is not answered in a session", commands[request->command].words);
    } else if (!authorise(session, request, &failure)) {
        *ret_is_over = true;
    } else if (check_server(session, request, &failure) && function(session, request, &failure)) {
        remote_log_request(&session->log, request, control_stream_sent(session->client) - sent_before, NULL);
        return true;
    }
    /* Also when the connection broke in the middle of the answer: then this fails too, and says why. */
    bool is_told = control_send_error(session->client, &failure, err);
    remote_log_request(&session->log, request, control_stream_sent(session->client) - sent_before, &failure);
    return is_told;
}

/* *ret_is_over: the client has hung up, or sent something that is no request. */
static bool answer_next(struct session *session, bool *ret_is_over, struct error *err)
{
    json_t *message SCOPED(scoped_json) = NULL;
    struct request request = {.command = COMMAND_COUNT};
    struct error failure;
    struct error ignored;

    *ret_is_over = true;
    if (!control_receive(session->client, &message, err)) {
        /* Half a line, a long line, garbage: say so, if anybody still listens, and close. */
        if (err->kind != ERROR_DAEMON || err->errnum == 0)
            (void)!control_send_error(session->client, err, &ignored);
        return false;
    }
    if (message == NULL)
        return true;
    if (!request_parse(message, &request, &failure))
        return control_send_error(session->client, &failure, err);
    bool ok = answer(session, &request, ret_is_over, err);
    request_done(&request);
    return ok;
}

bool session_run(struct session *session, const struct request *first, struct error *err)
{
    bool is_over = false;

    if (first != NULL && !answer(session, first, &is_over, err))
        return false;
    while (!is_over)
        if (!answer_next(session, &is_over, err))
            return false;
    return true;
}

bool serve_session(struct control_stream *client, const struct config *config, const struct repo *repo,
                   enum right right, const struct request *first, struct error *err)
{
    struct session session SCOPED(session_done);

    session_begin(&session, client, config, repo, right, NULL);
    return session_run(&session, first, err);
}

bool session_open_wal(const struct session *session, const char *server, const struct system_id *system,
                      struct wal_archive *ret_archive, struct error *err)
{
    struct catalogue catalogue SCOPED(scoped_catalogue) = {0};
    struct system_id current;

    if (system == NULL) {
        if (!catalogue_read(session->repo, server, &catalogue, err))
            return false;
        current = catalogue.current;
        system = &current;
    }
    return stock_open_wal(session->repo, server, system, ret_archive, err);
}
