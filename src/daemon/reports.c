#include "daemon/reports_internal.h"

#include <string.h>

#include "daemon/job_log_internal.h"
#include "daemon/jobs_internal.h"
#include "daemon/rights_internal.h"
#include "pgcoffer/base/text.h"

#define CANCEL_SECONDS 10
#define NAME_SIZE      256

/* ---- what is taken of what comes ---- */

static void take_progress(struct supervisor *supervisor, struct job_entry *entry, const json_t *message)
{
    struct progress progress;

    if (!progress_from_json(message, &progress))
        return;
    progress_tame(&progress);
    json_t *tamed SCOPED(scoped_json) = progress_to_json(&progress);
    jobs_take_event(supervisor, entry, tamed);
}

static json_t *result_of(const struct job_entry *entry, const json_t *message)
{
    const json_t *data = json_object_get(message, "data");
    const char *backup = json_text_or_null(data, "backup");
    int64_t bytes = json_number_or(data, "size_bytes", 0);
    double seconds = json_number_value(json_object_get(data, "seconds"));
    char name[NAME_SIZE];

    snprintf(name, sizeof name, "%s", backup != NULL ? backup : "");
    text_make_printable(name);
    return json_pack("{s:s, s:{s:s, s:s, s:o, s:I, s:f}}", "event", "result", "data", "command",
                     job_entry_command(entry), "server", entry->server, "backup", control_text(name), "size_bytes",
                     (json_int_t)(bytes > 0 ? bytes : 0), "seconds", seconds > 0 && seconds < 1e9 ? seconds : 0.0);
}

static json_t *error_of(const json_t *message)
{
    struct error failure;

    control_error_from_json(message, &failure);
    text_make_printable(failure.message);
    text_make_printable(failure.detail);
    text_make_printable(failure.hint);
    text_make_printable(failure.check);
    return control_error_to_json(&failure);
}

static void take_last_word(struct client *client, struct job_entry *entry, json_t *last_word_stolen)
{
    char id[JOB_ID_SIZE];
    char state[16];

    entry->last_word = last_word_stolen;
    jobs_end(client_supervisor(client), entry, NULL);
    snprintf(id, sizeof id, "%s", entry->id);
    snprintf(state, sizeof state, "%s", job_state_word(entry->state));
    client_send_result(client, json_pack("{s:s, s:s}", "job", id, "state", state));
    client_finish(client);
}

bool reports_take(struct client *client, const json_t *message, struct error *err)
{
    struct supervisor *supervisor = client_supervisor(client);
    struct job_entry *entry = job_table_reported_by(&supervisor->jobs, client);
    const char *event = json_text_or_null(message, "event");

    if (entry == NULL || event == NULL)
        return error_set(err, ERROR_USAGE, "that is not an event of a job");
    if (strcmp(event, "progress") == 0)
        take_progress(supervisor, entry, message);
    else if (strcmp(event, "result") == 0)
        take_last_word(client, entry, result_of(entry, message));
    else if (strcmp(event, "error") == 0)
        take_last_word(client, entry, error_of(message));
    else
        return error_set(err, ERROR_USAGE, "a job that is reported has the events progress, result and error only");
    return true;
}

/* ---- its beginning ---- */

static bool find_command(const struct request *request, enum command_id *ret_command, struct error *err)
{
    static const enum command_id reported[] = {COMMAND_ID_restore, COMMAND_ID_drill, COMMAND_ID_export};
    const char *word = request_wire_text(request, "command");

    for (size_t i = 0; i < sizeof reported / sizeof reported[0]; i++)
        if (strcmp(commands[reported[i]].words, word) == 0) {
            *ret_command = reported[i];
            return true;
        }
    return error_set(err, ERROR_USAGE, "what can be reported is restore, drill and export");
}

bool reports_start(struct client *client, const struct request *request, struct error *err)
{
    struct supervisor *supervisor = client_supervisor(client);
    enum command_id command = COMMAND_COUNT;
    struct job_entry *entry;

    if (!find_command(request, &command, err) ||
        !job_table_add_reported(&supervisor->jobs, command, request->server, client_caller(client)->text, &entry, err))
        return false;
    entry->reporter = client;
    job_log_start(entry);
    json_t *event SCOPED(scoped_json) = json_pack("{s:s, s:s, s:s, s:s}", "event", "job", "job", entry->id, "command",
                                                  job_entry_command(entry), "server", entry->server);
    client_take_reports(client); /* first: one that does not read its answers is dropped by the next line */
    client_send(client, event);
    return true;
}

/* ---- its end ---- */

void reports_client_gone(struct supervisor *supervisor, struct client *client)
{
    struct job_entry *entry = job_table_reported_by(&supervisor->jobs, client);
    struct error failure;

    if (entry == NULL)
        return;
    error_set(&failure, ERROR_FAILED, "the program that ran the %s went away without telling how it ended",
              job_entry_command(entry));
    error_hint(&failure, "Look at the terminal or the log of %s.", entry->caller);
    jobs_end(supervisor, entry, &failure);
}

void reports_cancel(struct job_entry *entry)
{
    json_t *event SCOPED(scoped_json) =
        json_pack("{s:s, s:o}", "event", "cancel", "by", control_text(entry->cancelled_by));

    client_send(entry->reporter, event);
    if (entry->reporter != NULL) /* it may have been dropped, which ends the job */
        client_end_within(entry->reporter, CANCEL_SECONDS);
}

/* Of each that is reported: the client hears why it is listened to no more. */
static void end_reported(struct supervisor *supervisor, struct job_entry *entry, const struct error *failure)
{
    struct client *client = entry->reporter;

    jobs_end(supervisor, entry, failure);
    client_send_error(client, failure);
    client_finish(client);
}

typedef bool reason_function(const struct supervisor *supervisor, const struct job_entry *entry, struct error *err);

static bool is_forbidden(const struct supervisor *supervisor, const struct job_entry *entry, struct error *err)
{
    const struct caller *caller = client_caller(entry->reporter);

    if (rights_over_name(caller, supervisor->config, supervisor->own_uid, entry->server) >=
        commands[entry->command].right)
        return false;
    (void)rights_deny(caller, supervisor->config, entry->command, entry->server, err);
    return true;
}

static bool is_shut_down(const struct supervisor *supervisor, const struct job_entry *entry, struct error *err)
{
    (void)supervisor;
    error_set(err, ERROR_DAEMON, "the daemon was shut down while job %s was running", entry->id);
    return true;
}

/* Anew after each: who followed it goes on with other requests, and one of them may end another. */
static void end_all(struct supervisor *supervisor, reason_function *reason)
{
    struct job_entry *entry = supervisor->jobs.running;
    struct error failure;

    while (entry != NULL) {
        bool ends = entry->reporter != NULL && reason(supervisor, entry, &failure);
        if (ends)
            end_reported(supervisor, entry, &failure);
        entry = ends ? supervisor->jobs.running : entry->next;
    }
}

void reports_end_forbidden(struct supervisor *supervisor)
{
    end_all(supervisor, is_forbidden);
}

void reports_stop(struct supervisor *supervisor)
{
    end_all(supervisor, is_shut_down);
}
