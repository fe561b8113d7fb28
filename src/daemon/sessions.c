#include "daemon/sessions_internal.h"

#include "daemon/rights_internal.h"
#include "daemon/start_line_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define STOP_SECONDS 3

struct session {
    struct supervisor *supervisor;
    uid_t uid;
    bool is_remote;
    struct child *child;
    char caller[CALLER_TEXT_SIZE];
    struct session *next;
};

static void on_line(void *owner, const json_t *message)
{
    (void)owner;
    (void)message; /* a session speaks to its client */
}

static void on_ended(void *owner, const struct child_end *end)
{
    struct session *session = owner;
    struct session **at = &session->supervisor->sessions;

    if (end->is_signalled && !session->supervisor->is_stopping)
        log_warning("the session of %s %s", session->caller, end->reason);
    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    free(session);
}

static bool start_child(struct client *client, int fd, const struct request *request, enum right right,
                        struct session *session, struct error *err)
{
    static const struct child_handlers handlers = {.line = on_line, .ended = on_ended};
    struct supervisor *supervisor = client_supervisor(client);
    const struct visibility visibility = {supervisor->config, client_caller(client), supervisor->own_uid, request};

    json_t *line SCOPED(scoped_json) =
        start_line_to_json(&(struct start_line){.config = supervisor->config,
                                                .is_wanted = rights_are_visible,
                                                .context = &visibility,
                                                .server = request->server,
                                                .request = request,
                                                .right = right_word(right),
                                                .is_remote = visibility.caller->is_remote,
                                                .caller = session->caller});
    return child_start(&supervisor->children, ROLE_serve, fd, line, &handlers, session, &session->child, err);
}

bool sessions_start(struct client *client, const struct request *request, enum right right, struct error *err)
{
    struct supervisor *supervisor = client_supervisor(client);
    int fd = client_bare_descriptor(client);

    if (fd < 0) {
        error_set(err, ERROR_USAGE, "more came after the request before it was answered");
        return error_hint(err, "Wait for the answer before sending the next request.");
    }
    struct session *session = memory_new(sizeof *session);
    session->supervisor = supervisor;
    session->uid = client_uid(client);
    session->is_remote = client_caller(client)->is_remote;
    snprintf(session->caller, sizeof session->caller, "%s", client_caller(client)->text);
    if (!start_child(client, fd, request, right, session, err)) {
        free(session);
        return false;
    }
    session->next = supervisor->sessions;
    supervisor->sessions = session;
    client_hand_over(client);
    return true;
}

size_t sessions_count(const struct supervisor *supervisor, uid_t uid)
{
    size_t count = 0;

    for (const struct session *session = supervisor->sessions; session != NULL; session = session->next)
        if (session->uid == uid)
            count++;
    return count;
}

size_t sessions_count_all(const struct supervisor *supervisor)
{
    size_t count = 0;

    for (const struct session *session = supervisor->sessions; session != NULL; session = session->next)
        count++;
    return count;
}

void sessions_end_remote(struct supervisor *supervisor)
{
    for (struct session *session = supervisor->sessions; session != NULL; session = session->next)
        if (session->is_remote) {
            log_info("the session of %s ends: who may do what has changed", session->caller);
            child_stop(session->child, STOP_SECONDS);
        }
}
