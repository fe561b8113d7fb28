#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* ---- the request ---- */

static bool set_place(char *place, size_t size, const char *argument, struct error *err)
{
    json_t *text SCOPED(scoped_json) = json_string(argument);

    if (text == NULL)
        return error_set(err, ERROR_USAGE, "an argument is not UTF-8");
    if (strlen(argument) >= size)
        return error_set(err, ERROR_USAGE, "\"%.40s...\" has more than %zu bytes", argument, size - 1);
    memcpy(place, argument, strlen(argument) + 1);
    return true;
}

static bool set_places(const struct invocation *invocation, struct request *request, struct error *err)
{
    const char *arguments = commands[invocation->command].arguments;
    const char *first = invocation_argument(invocation, 0);
    const char *second = invocation_argument(invocation, 1);

    if (strcmp(arguments, "JOB") == 0)
        return set_place(request->job, sizeof request->job, first, err);
    if (strstr(arguments, "SERVER") != NULL && !set_place(request->server, sizeof request->server, first, err))
        return false;
    return strstr(arguments, "BACKUP") == NULL || set_place(request->backup, sizeof request->backup, second, err);
}

/* What may be given several times is a list on the wire. */
static bool set_options(const struct invocation *invocation, struct request *request, struct error *err)
{
    for (size_t i = 0; i < invocation->occurrence_count; i++) {
        const struct occurrence *occurrence = &invocation->occurrences[i];
        const struct option_row *row = &option_rows[occurrence->option];
        if (row->where != OPTION_WIRE)
            continue;
        json_t *value = occurrence->text != NULL ? json_string(occurrence->text) : json_true();
        if (value == NULL)
            return error_set(err, ERROR_USAGE, "the value of --%s is not UTF-8", row->name);
        const char *before = json_text_or_null(request->options, row->name);
        if (row->is_repeatable && before != NULL) {
            char *list SCOPED(scoped_free) = memory_text("%s,%s", before, occurrence->text);
            json_decref(value);
            value = json_string(list);
        }
        json_object_set_new(request->options, row->name, value);
    }
    return true;
}

/* KEY=VALUE from the third argument on, as one JSON object in a text. */
static bool set_pairs(const struct invocation *invocation, struct request *request, struct error *err)
{
    json_t *pairs SCOPED(scoped_json) = json_object();

    if (strstr(commands[invocation->command].arguments, "KEY=VALUE") == NULL)
        return true;
    for (int i = 2; i < invocation->argument_count; i++) {
        const char *argument = invocation_argument(invocation, i);
        const char *equals = strchr(argument, '=');
        if (equals == NULL) {
            error_set(err, ERROR_USAGE, "\"%.64s\" is not KEY=VALUE", argument);
            return error_hint(err, "KEY= removes what is noted by that key.");
        }
        char *key SCOPED(scoped_free) = memory_text("%.*s", (int)(equals - argument), argument);
        if (json_object_get(pairs, key) != NULL)
            return error_set(err, ERROR_USAGE, "the key \"%.64s\" is given twice", key);
        if (json_object_set_new(pairs, key, json_string(equals + 1)) < 0)
            return error_set(err, ERROR_USAGE, "an annotation is not UTF-8");
    }
    char *line SCOPED(scoped_free) = json_to_line(pairs);
    json_object_set_new(request->options, "annotations", json_string(line));
    return true;
}

bool invocation_request(const struct invocation *invocation, struct request *ret_request, struct error *err)
{
    *ret_request = (struct request){.command = invocation->command, .options = json_object()};
    if (set_places(invocation, ret_request, err) && set_options(invocation, ret_request, err) &&
        set_pairs(invocation, ret_request, err))
        return true;
    request_done(ret_request);
    return false;
}

/* ---- the answers ---- */

void conversation_done(struct conversation *conversation)
{
    json_decref(conversation->items);
    conversation->items = NULL;
}

static void take_item(struct conversation *conversation, const json_t *data)
{
    if (conversation->item != NULL) {
        conversation->item(conversation->context, data);
        return;
    }
    if (conversation->items == NULL)
        conversation->items = json_array();
    json_array_append(conversation->items, (json_t *)data);
}

static void take_log(const struct conversation *conversation, const json_t *message)
{
    const char *text = json_text_or_null(message, "message");

    if (text == NULL)
        return;
    if (json_text_is(message, "level", "warning"))
        output_warning(conversation->invocation, "%s", text);
    else
        output_detail(conversation->invocation, "%s", text);
}

static void take_job(struct conversation *conversation, const json_t *message)
{
    const char *job = json_text_or_null(message, "job");

    if (job != NULL)
        snprintf(conversation->job, sizeof conversation->job, "%s", job);
    text_make_printable(conversation->job);
    output_detail(conversation->invocation, "it is job %s", conversation->job);
}

enum answer { ANSWER_GO_ON, ANSWER_RESULT, ANSWER_FAILED };

static enum answer take_answer(struct conversation *conversation, struct progress_bar *bar, const json_t *message,
                               json_t **ret_result, struct error *err)
{
    const char *event = json_text_or_null(message, "event");
    struct progress progress;

    if (event != NULL && conversation->prints_each_event)
        output_json(message);
    if (event != NULL && strcmp(event, "progress") == 0) {
        if (progress_from_json(message, &progress))
            progress_bar_show(bar, &progress);
        return ANSWER_GO_ON;
    }
    progress_bar_clear(bar);
    if (event == NULL) {
        error_set(err, ERROR_DAEMON, "the daemon sent an answer without \"event\"");
        return ANSWER_FAILED;
    }
    if (strcmp(event, "error") == 0) {
        conversation->error_is_printed = conversation->prints_each_event;
        control_error_from_json(message, err);
        return ANSWER_FAILED;
    }
    if (strcmp(event, "result") == 0) {
        json_t *data = json_object_get(message, "data");
        *ret_result = data != NULL ? json_incref(data) : json_object();
        return ANSWER_RESULT;
    }
    if (strcmp(event, "item") == 0)
        take_item(conversation, json_object_get(message, "data"));
    else if (strcmp(event, "log") == 0)
        take_log(conversation, message);
    else if (strcmp(event, "job") == 0)
        take_job(conversation, message);
    return ANSWER_GO_ON;
}

static bool fail_interrupted(const struct conversation *conversation, struct error *err)
{
    if (!conversation->is_job || conversation->job[0] == '\0')
        return error_set(err, ERROR_FAILED, "interrupted");
    error_set(err, ERROR_FAILED, "waiting was interrupted; job %s goes on", conversation->job);
    return error_hint(err, "See it to its end with `pgcoffer follow %s`, or end it with `pgcoffer cancel %s`.",
                      conversation->job, conversation->job);
}

/* False when Ctrl-C or SIGTERM came first. */
static bool wait_for_input(const struct control_stream *stream, int signals, const struct conversation *conversation,
                           struct error *err)
{
    struct pollfd polled[2] = {{.fd = control_stream_descriptor(stream), .events = POLLIN},
                               {.fd = signals, .events = POLLIN}};

    if (control_stream_has_input(stream))
        return true;
    while (poll(polled, 2, -1) < 0)
        continue; /* EINTR: a terminal's size has changed, or it was stopped */
    if (polled[1].revents == 0)
        return true;
    /* Taken, so that it is not delivered once more when the mask is put back. */
    struct signalfd_siginfo taken;
    (void)!read(signals, &taken, sizeof taken);
    return fail_interrupted(conversation, err);
}

static bool await_answers(struct conversation *conversation, struct control_stream *stream, int signals,
                          struct progress_bar *bar, json_t **ret_result, struct error *err)
{
    for (;;) {
        json_t *message SCOPED(scoped_json) = NULL;
        if (!wait_for_input(stream, signals, conversation, err) || !control_receive(stream, &message, err))
            return false;
        if (message == NULL) {
            error_set(err, ERROR_DAEMON, "the daemon closed the connection before the answer came");
            return error_hint(err, "Its log says why: journalctl -u pgcofferd.");
        }
        switch (take_answer(conversation, bar, message, ret_result, err)) {
        case ANSWER_GO_ON:
            break;
        case ANSWER_RESULT:
            return true;
        case ANSWER_FAILED:
            return false;
        }
        if (conversation->ends_at_job && conversation->job[0] != '\0')
            return true;
    }
}

/* Ctrl-C is a question to be answered in words, so it comes through a descriptor. */
static int catch_signals(sigset_t *ret_before)
{
    sigset_t caught;

    sigemptyset(&caught);
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGTERM);
    sigprocmask(SIG_BLOCK, &caught, ret_before);
    return signalfd(-1, &caught, SFD_CLOEXEC);
}

bool conversation_run(struct conversation *conversation, struct control_stream *stream, const struct request *request,
                      json_t **ret_result, struct error *err)
{
    json_t *message SCOPED(scoped_json) = request_to_json(request);
    struct progress_bar bar = progress_bar_new(conversation->invocation);
    sigset_t before;
    int signals SCOPED(scoped_close) = catch_signals(&before);

    *ret_result = NULL;
    bool is_answered =
        control_send(stream, message, err) && await_answers(conversation, stream, signals, &bar, ret_result, err);
    progress_bar_clear(&bar);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return is_answered;
}

bool client_ask(const struct invocation *invocation, struct conversation *conversation, json_t **ret_result,
                struct error *err)
{
    struct session_source *source SCOPED(scoped_session_source) = NULL;
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;
    struct request request SCOPED(request_done) = {0};

    conversation->invocation = invocation;
    return invocation_request(invocation, &request, err) && session_source_new(invocation, false, &source, err) &&
           session_source_open(source, &stream, err) &&
           conversation_run(conversation, stream, &request, ret_result, err);
}

void client_gather_lists(const struct invocation *invocation, const json_t *items, json_t *result)
{
    static const char *const lists[][2] = {{"server", "servers"}, {"job", "jobs"}};
    const json_t *item;
    size_t i;

    (void)invocation;
    json_array_foreach(items, i, item)
    {
        for (size_t j = 0; j < sizeof lists / sizeof lists[0]; j++) {
            json_t *element = json_object_get(item, lists[j][0]);
            if (json_is_object(element))
                json_array_append(json_object_get(result, lists[j][1]), element);
        }
    }
}

void client_print(const struct invocation *invocation, const json_t *result, print_function *print)
{
    if (output_is_json(invocation))
        output_json(result);
    else
        print(invocation, result);
}

bool client_answer(const struct invocation *invocation, gather_function *gather, print_function *print,
                   struct error *err)
{
    struct conversation conversation SCOPED(conversation_done) = {.is_job =
                                                                      commands[invocation->command].how == COMMAND_JOB};
    json_t *result SCOPED(scoped_json) = NULL;

    if (!client_ask(invocation, &conversation, &result, err))
        return false;
    if (gather != NULL)
        gather(invocation, conversation.items, result);
    client_print(invocation, result, print);
    return true;
}
