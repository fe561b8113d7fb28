#include "cli/reporting_internal.h"

#include <poll.h>
#include <string.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/text.h"

#define SECOND              INT64_C(1000000)
#define RETRY_MICROSECONDS  (30 * SECOND)
#define ANSWER_MILLISECONDS 2000

void reporting_begin(struct reporting *reporting, const struct invocation *invocation, struct session_source *source)
{
    bool is_direct = invocation_has(invocation, OPTION_ID_direct);

    *reporting = (struct reporting){.invocation = invocation, .source = is_direct ? NULL : source};
}

static void hang_up(struct reporting *reporting)
{
    control_stream_free(reporting->stream);
    reporting->stream = NULL;
    reporting->tried_at = clock_monotonic();
}

/* ---- what the daemon says ---- */

static void take_word(struct reporting *reporting, const json_t *message, const char *event)
{
    const char *job = json_text_or_null(message, "job");
    const char *by = json_text_or_null(message, "by");

    if (strcmp(event, "job") == 0 && job != NULL) {
        snprintf(reporting->job, sizeof reporting->job, "%s", job);
        text_make_printable(reporting->job);
        output_detail(reporting->invocation, "it is job %s", reporting->job);
    } else if (strcmp(event, "cancel") == 0) {
        snprintf(reporting->cancelled_by, sizeof reporting->cancelled_by, "%s", text_is_empty(by) ? "the daemon" : by);
        text_make_printable(reporting->cancelled_by);
    }
}

/* The next word. False when there is none to come: then the connection is closed. */
static bool hear(struct reporting *reporting, bool *ret_is_result)
{
    json_t *message SCOPED(scoped_json) = NULL;
    struct error failure;
    const char *event = NULL;

    if (control_receive(reporting->stream, &message, &failure) && message != NULL)
        event = json_text_or_null(message, "event");
    *ret_is_result = event != NULL && strcmp(event, "result") == 0;
    if (event != NULL && strcmp(event, "error") != 0) {
        take_word(reporting, message, event);
        return true;
    }
    if (event != NULL) {
        control_error_from_json(message, &failure);
        /* Before the job has a number: one that does not know the request, or does not allow it. */
        reporting->is_refused = failure.kind == ERROR_USAGE || failure.kind == ERROR_DENIED;
        output_detail(reporting->invocation, "the daemon does not show it: %s", failure.message);
    }
    hang_up(reporting);
    return false;
}

static bool has_word(const struct reporting *reporting)
{
    struct pollfd polled = {.fd = control_stream_descriptor(reporting->stream), .events = POLLIN};

    return control_stream_has_input(reporting->stream) || poll(&polled, 1, 0) > 0;
}

static void hear_what_came(struct reporting *reporting)
{
    bool is_result;

    while (reporting->stream != NULL && has_word(reporting))
        if (!hear(reporting, &is_result))
            return;
}

/* ---- what it is told ---- */

static bool ask(struct reporting *reporting, struct error *err)
{
    struct request request SCOPED(request_done) = {.command = COMMAND_ID_report, .options = json_object()};

    snprintf(request.server, sizeof request.server, "%s", invocation_argument(reporting->invocation, 0));
    json_object_set_new(request.options, "command", json_string(commands[reporting->invocation->command].words));
    json_t *message SCOPED(scoped_json) = request_to_json(&request);
    return session_source_open(reporting->source, &reporting->stream, err) &&
           control_send(reporting->stream, message, err);
}

/* Of the first one only, so that also what is over in a moment is a job; one that comes later is heard later. */
static void await_answer(const struct reporting *reporting)
{
    struct pollfd polled = {.fd = control_stream_descriptor(reporting->stream), .events = POLLIN};

    (void)poll(&polled, 1, ANSWER_MILLISECONDS);
}

static void connect_when_due(struct reporting *reporting)
{
    bool is_first = reporting->tried_at == 0;
    bool is_due = is_first || clock_monotonic() - reporting->tried_at >= RETRY_MICROSECONDS;
    struct error failure;

    if (reporting->stream != NULL || reporting->is_refused || !is_due)
        return;
    reporting->tried_at = clock_monotonic();
    if (!ask(reporting, &failure)) {
        if (reporting->stream != NULL)
            hang_up(reporting);
        return;
    }
    control_stream_set_timeout(reporting->stream, ANSWER_MILLISECONDS);
    if (is_first)
        await_answer(reporting);
}

static void send_message(struct reporting *reporting, const json_t *message)
{
    struct error failure;

    if (!control_send(reporting->stream, message, &failure))
        hang_up(reporting);
}

/* A daemon that does not read is not waited for: the next one tells what this one would have. */
static void send_last(struct reporting *reporting)
{
    struct pollfd polled = {.fd = control_stream_descriptor(reporting->stream), .events = POLLOUT};

    if (poll(&polled, 1, 0) <= 0)
        return;
    json_t *message SCOPED(scoped_json) = progress_to_json(&reporting->last);
    reporting->is_unsent = false;
    send_message(reporting, message);
}

void reporting_show(struct reporting *reporting, const struct progress *progress)
{
    if (reporting->source == NULL || strcmp(progress->phase, "plan") == 0)
        return;
    reporting->last = *progress;
    reporting->is_unsent = true;
    connect_when_due(reporting);
    hear_what_came(reporting);
    if (reporting->stream != NULL)
        send_last(reporting);
}

static json_t *result_message(const struct reporting *reporting, const json_t *result)
{
    const char *backup = json_text_or_null(result, "backup");

    return json_pack("{s:s, s:{s:s, s:I, s:f}}", "event", "result", "data", "backup", backup != NULL ? backup : "",
                     "size_bytes", (json_int_t)json_number_or(result, "bytes", 0), "seconds",
                     reporting->last.elapsed_seconds);
}

void reporting_end(struct reporting *reporting, bool is_good, const json_t *result, const struct error *failure)
{
    bool is_result = false;

    if (reporting->stream != NULL)
        hear_what_came(reporting);
    if (reporting->stream != NULL && reporting->is_unsent)
        send_last(reporting);
    if (reporting->stream != NULL) {
        json_t *message SCOPED(scoped_json) =
            is_good ? result_message(reporting, result) : control_error_to_json(failure);
        send_message(reporting, message);
    }
    /* Heard, it is in `jobs` before this command ends. */
    while (reporting->stream != NULL && !is_result && hear(reporting, &is_result))
        continue;
    control_stream_free(TAKE(reporting->stream));
}
