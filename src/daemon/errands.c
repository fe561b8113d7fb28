#include "daemon/errands_internal.h"

#include <string.h>

#include "daemon/rights_internal.h"
#include "daemon/start_line_internal.h"
#include "daemon/surveys_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

/*
 * A check holds a walsender of its server for a moment, and many processes would be a burden here: two of a server are
 * enough for a monitoring system and an administrator at the same time. A note is written at once, and is not told a
 * second time: as many hosts may restore together.
 */
#define MOST_CHECKS      2
#define MOST_NOTES       8
#define MOST_OF_ALL      16 /* of one sort */
#define STOP_SECONDS     2
#define DESCRIPTION_SIZE (CALLER_TEXT_SIZE + 160)

static const struct {
    enum command_id command;
    enum role_id role;
    size_t most_of_server;
} errand_roles[] = {
    {COMMAND_ID_check, ROLE_check, MOST_CHECKS},
    {COMMAND_ID_drill_result, ROLE_note, MOST_NOTES},
    {COMMAND_ID_lease, ROLE_note, MOST_NOTES},
    {COMMAND_ID_release, ROLE_note, MOST_NOTES},
};

struct errand {
    struct supervisor *supervisor;
    struct client *client; /* NULL: it is gone */
    struct child *child;
    enum command_id command;
    char server[64]; /* "": all */
    char caller[CALLER_TEXT_SIZE];
    json_t *last_word; /* result or error event; NULL while there is none */
    struct errand *next;
};

bool errands_know(enum command_id command)
{
    for (size_t i = 0; i < sizeof errand_roles / sizeof errand_roles[0]; i++)
        if (errand_roles[i].command == command)
            return true;
    return false;
}

static size_t row_of(enum command_id command)
{
    size_t i = 0;

    while (errand_roles[i].command != command)
        i++;
    return i;
}

static enum role_id role_of(enum command_id command)
{
    return errand_roles[row_of(command)].role;
}

static void describe(const struct errand *errand, char ret_text[DESCRIPTION_SIZE])
{
    if (errand->server[0] != '\0')
        snprintf(ret_text, DESCRIPTION_SIZE, "%s of \"%s\" for %s", commands[errand->command].words, errand->server,
                 errand->caller);
    else
        snprintf(ret_text, DESCRIPTION_SIZE, "%s for %s", commands[errand->command].words, errand->caller);
}

/* ---- the worker's events ---- */

static void relay(struct errand *errand, const json_t *message)
{
    if (errand->client != NULL && json_dumpb(message, NULL, 0, JSON_COMPACT) < CONTROL_LINE_SIZE)
        client_send(errand->client, message); /* one that does not read is dropped, and errand->client NULL */
}

static void on_line(void *owner, const json_t *message)
{
    struct errand *errand = owner;
    const char *event = json_text_or_null(message, "event");

    if (strcmp(event, "result") == 0 || strcmp(event, "error") == 0) {
        if (errand->last_word == NULL)
            errand->last_word = json_incref((json_t *)message);
        child_expect_end(errand->child);
    } else if (strcmp(event, "item") == 0 || strcmp(event, "log") == 0) {
        relay(errand, message);
    }
}

static json_t *explain_end(const struct errand *errand, const struct child_end *end)
{
    struct error failure;

    if (errand->supervisor->is_stopping)
        error_set(&failure, ERROR_DAEMON, "the daemon is shutting down");
    else
        error_set(&failure, ERROR_FAILED, "worker %s", end->reason);
    return control_error_to_json(&failure);
}

static void unlink_errand(struct errand *errand)
{
    struct errand **at = &errand->supervisor->errands;

    while (*at != errand)
        at = &(*at)->next;
    *at = errand->next;
}

static void free_errand(struct errand *errand)
{
    json_decref(errand->last_word);
    free(errand);
}

static void on_ended(void *owner, const struct child_end *end)
{
    struct errand *errand = owner;
    struct client *client;
    char what[DESCRIPTION_SIZE];

    unlink_errand(errand);
    describe(errand, what);
    if (errand->last_word == NULL)
        errand->last_word = explain_end(errand, end);
    client = errand->client;
    if (client == NULL)
        log_debug("%s was ended: the client has gone", what);
    else
        log_debug("%s has ended", what);
    if (roles[role_of(errand->command)].may_write_repository)
        surveys_want(errand->supervisor, errand->server);
    relay(errand, errand->last_word);
    if (client != NULL)
        client_read_on(client);
    free_errand(errand);
}

/* ---- start and end ---- */

/* Those of the same sort. One of all servers counts for each; of all that the caller may see, none of the others. */
static bool is_in_the_way(const struct errand *errand, const struct visibility *visibility)
{
    const char *server = visibility->request->server;
    const struct server_config *its_server;
    struct error ignored;

    if (errand->server[0] == '\0' || strcmp(errand->server, server) == 0)
        return true;
    return server[0] == '\0' && config_find_server(visibility->config, errand->server, &its_server, &ignored) &&
           rights_are_visible(visibility, its_server);
}

static bool demand_room(const struct supervisor *supervisor, const struct visibility *visibility, struct error *err)
{
    const char *words = commands[visibility->request->command].words;
    size_t most_of_server = errand_roles[row_of(visibility->request->command)].most_of_server;
    size_t count = 0, of_server = 0;
    const struct errand *other = NULL;

    for (const struct errand *errand = supervisor->errands; errand != NULL; errand = errand->next) {
        if (errand->command != visibility->request->command)
            continue;
        count++;
        if (!is_in_the_way(errand, visibility))
            continue;
        of_server++;
        other = errand;
    }
    if (count < MOST_OF_ALL && of_server < most_of_server)
        return true;
    if (of_server >= most_of_server) {
        char what[DESCRIPTION_SIZE];
        describe(other, what);
        error_set(err, ERROR_BUSY, "%zu %ss are running already: %s", of_server, words, what);
    } else {
        error_set(err, ERROR_BUSY, "%zu %ss are running already", count, words);
    }
    return error_hint(err, "Try again in a moment.");
}

static bool start_child(struct errand *errand, const struct visibility *visibility, enum right right, struct error *err)
{
    static const struct child_handlers handlers = {.line = on_line, .ended = on_ended};
    const struct supervisor *supervisor = errand->supervisor;
    const struct request *request = visibility->request;
    enum right over_daemon = rights_over_daemon(visibility->caller, visibility->config, visibility->own_uid);

    json_t *line SCOPED(scoped_json) =
        start_line_to_json(&(struct start_line){.config = supervisor->config,
                                                .is_wanted = rights_are_visible,
                                                .context = visibility,
                                                .server = request->server,
                                                .request = request,
                                                .right = right_word(right),
                                                .right_over_daemon = right_word(over_daemon),
                                                .caller = errand->caller});
    return child_start(&errand->supervisor->children, role_of(request->command), -1, line, &handlers, errand,
                       &errand->child, err);
}

bool errands_start(struct client *client, const struct request *request, enum right right, struct error *err)
{
    struct supervisor *supervisor = client_supervisor(client);
    const struct visibility visibility = {supervisor->config, client_caller(client), supervisor->own_uid, request};
    char what[DESCRIPTION_SIZE];

    if (!demand_room(supervisor, &visibility, err))
        return false;
    struct errand *errand = memory_new(sizeof *errand);
    errand->supervisor = supervisor;
    errand->client = client;
    errand->command = request->command;
    snprintf(errand->server, sizeof errand->server, "%s", request->server);
    snprintf(errand->caller, sizeof errand->caller, "%s", client_caller(client)->text);
    if (!start_child(errand, &visibility, right, err)) {
        free_errand(errand);
        return false;
    }
    errand->next = supervisor->errands;
    supervisor->errands = errand;
    client_wait_for_errand(client);
    describe(errand, what);
    log_debug("%s started", what);
    return true;
}

void errands_client_gone(struct supervisor *supervisor, const struct client *client)
{
    for (struct errand *errand = supervisor->errands; errand != NULL; errand = errand->next) {
        if (errand->client != client)
            continue;
        errand->client = NULL;
        child_stop(errand->child, STOP_SECONDS);
    }
}

void errands_free(struct supervisor *supervisor)
{
    while (supervisor->errands != NULL) {
        struct errand *errand = supervisor->errands;
        supervisor->errands = errand->next;
        free_errand(errand);
    }
}
