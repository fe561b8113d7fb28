#include <string.h>

#include "cli/complete_internal.h"
#include "pgcoffer/base/text.h"

/* As if that command had been typed, with the options by which the daemon is found. NULL: there is no answer. */
static json_t *ask(const struct typed *typed, enum command_id command, const char *server, json_t **ret_items)
{
    struct invocation invocation = typed->asking;
    struct conversation conversation SCOPED(conversation_done) = {0};
    json_t *result = NULL;
    struct error ignored;

    invocation.command = command;
    invocation.arguments = &server;
    invocation.argument_count = server != NULL ? 1 : 0;
    if (!client_ask(&invocation, &conversation, &result, &ignored))
        return NULL;
    if (command == COMMAND_ID_list)
        *ret_items = json_incref(conversation.items);
    else
        client_gather_lists(&invocation, conversation.items, result);
    return result;
}

static bool is_direct(const struct typed *typed)
{
    return typed->is_given[OPTION_ID_direct];
}

/* ---- servers ---- */

static void offer_names(const struct typed *typed, const json_t *names)
{
    const json_t *name;
    size_t i;

    json_array_foreach(names, i, name)
    {
        if (json_is_string(name))
            complete_offer(typed, json_string_value(name), NULL);
    }
}

/* Not `status`, which waits for a survey of what is stored and may start one. */
void complete_servers(const struct typed *typed)
{
    json_t *items SCOPED(scoped_json) = NULL;
    json_t *answer SCOPED(scoped_json) = ask(typed, is_direct(typed) ? COMMAND_ID_list : COMMAND_ID_ping, NULL, &items);
    const json_t *row;
    size_t i;

    if (is_direct(typed))
        offer_names(typed, json_object_get(answer, "servers"));
    json_array_foreach(json_object_get(answer, "rights"), i, row)
    {
        const char *name = json_text_or_null(row, "server"), *right = json_text_or_null(row, "right");
        if (name != NULL)
            complete_offer(typed, name, right);
    }
}

/* ---- backups ---- */

static void offer_backup(const struct typed *typed, const json_t *backup)
{
    const char *id = json_text_or_null(backup, "id"), *label = json_text_or_null(backup, "label");
    const char *state = json_text_or(backup, "state", "");
    int64_t size = json_number_or(backup, "size_bytes", -1);
    char bytes[TEXT_BYTES_SIZE] = "", about[256];

    if (id == NULL)
        return;
    if (size >= 0)
        text_format_bytes((uint64_t)size, bytes);
    snprintf(about, sizeof about, "%s%s%s%s%.128s", state, size >= 0 ? ", " : "", bytes,
             text_is_empty(label) ? "" : ", ", label != NULL ? label : "");
    complete_offer(typed, id, about);
    if (!text_is_empty(label))
        complete_offer(typed, label, id);
}

void complete_backups(const struct typed *typed, const char *server)
{
    json_t *items SCOPED(scoped_json) = NULL;
    json_t *answer SCOPED(scoped_json) = ask(typed, COMMAND_ID_list, server, &items);
    const json_t *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        offer_backup(typed, item);
    }
    if (answer == NULL || json_array_size(items) == 0)
        return;
    complete_offer(typed, "latest", "the newest complete backup");
    complete_offer(typed, "oldest", "the oldest complete backup");
}

/* ---- jobs ---- */

void complete_jobs(const struct typed *typed)
{
    json_t *items SCOPED(scoped_json) = NULL;
    json_t *answer SCOPED(scoped_json) = ask(typed, COMMAND_ID_jobs, NULL, &items);
    const json_t *job;
    size_t i;

    json_array_foreach(json_object_get(answer, "jobs"), i, job)
    {
        const char *id = json_text_or_null(job, "job"), *command = json_text_or(job, "command", "");
        const char *server = json_text_or_null(job, "server"), *state = json_text_or_null(job, "state");
        char about[256];
        if (id == NULL || state == NULL || (typed->command == COMMAND_ID_cancel && strcmp(state, "running") != 0))
            continue;
        snprintf(about, sizeof about, "%s%s%s: %s", command, server != NULL ? " of " : "", server != NULL ? server : "",
                 state);
        complete_offer(typed, id, about);
    }
}

/* ---- targets ---- */

/* Of the servers of a status that names one. */
static const json_t *windows_of(const json_t *status)
{
    const json_t *row = json_array_get(json_object_get(status, "servers"), 0);

    return json_object_get(json_object_get(json_object_get(row, "survey"), "restorable"), "windows");
}

void complete_times(const struct typed *typed, const char *server)
{
    json_t *items SCOPED(scoped_json) = NULL;
    json_t *status SCOPED(scoped_json) = ask(typed, COMMAND_ID_status, server, &items);
    const json_t *window;
    size_t i;

    json_array_foreach(windows_of(status), i, window)
    {
        const char *from = json_text_or_null(window, "from"), *until = json_text_or_null(window, "until");
        if (from != NULL)
            complete_offer(typed, from, "from here on every moment");
        if (until != NULL)
            complete_offer(typed, until, "up to here every moment");
    }
}

void complete_timelines(const struct typed *typed, const char *server)
{
    json_t *items SCOPED(scoped_json) = NULL;
    json_t *status SCOPED(scoped_json) = ask(typed, COMMAND_ID_status, server, &items);
    int64_t last = 0;
    const json_t *window;
    size_t i;

    json_array_foreach(windows_of(status), i, window)
    {
        int64_t timeline = json_number_or(window, "timeline", 0);
        char word[24];
        if (timeline <= 0 || timeline == last)
            continue;
        snprintf(word, sizeof word, "%lld", (long long)timeline);
        complete_offer(typed, word, "timeline with restorable moments");
        last = timeline;
    }
}
