#include "daemon/jobs_internal.h"

#include <string.h>

#include "daemon/job_log_internal.h"
#include "daemon/listener_internal.h"
#include "daemon/receivers_internal.h"
#include "daemon/reports_internal.h"
#include "daemon/start_line_internal.h"
#include "daemon/surveys_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define CANCEL_SECONDS 10

static const struct {
    enum command_id command;
    enum role_id role;
} job_roles[] = {
    {COMMAND_ID_backup, ROLE_backup},  {COMMAND_ID_verify, ROLE_verify},  {COMMAND_ID_delete, ROLE_delete},
    {COMMAND_ID_pin, ROLE_note},       {COMMAND_ID_unpin, ROLE_note},     {COMMAND_ID_annotate, ROLE_note},
    {COMMAND_ID_expire, ROLE_expire},  {COMMAND_ID_slot_show, ROLE_slot}, {COMMAND_ID_slot_create, ROLE_slot},
    {COMMAND_ID_slot_drop, ROLE_slot},
};

static enum role_id role_of(enum command_id command)
{
    size_t i = 0;

    while (job_roles[i].command != command)
        i++;
    return job_roles[i].role;
}

/* A running job and the supervisor it belongs to: what the child's handlers get. */
struct job_run {
    struct supervisor *supervisor;
    struct job_entry *entry;
};

/* ---- the worker's events ---- */

/* The channel has a higher ceiling than a client's connection. */
static bool fits_a_line(const json_t *message)
{
    return json_dumpb(message, NULL, 0, JSON_COMPACT) < CONTROL_LINE_SIZE;
}

static void take_last_word(struct job_run *run, const json_t *message)
{
    struct job_entry *entry = run->entry;

    if (entry->last_word != NULL)
        return;
    if (fits_a_line(message)) {
        entry->last_word = json_incref((json_t *)message);
    } else {
        struct error failure;
        error_set(&failure, ERROR_FAILED, "the answer of job %s is too long for a line of %d bytes", entry->id,
                  CONTROL_LINE_SIZE);
        entry->last_word = control_error_to_json(&failure);
    }
    child_expect_end(entry->child);
}

void jobs_take_event(struct supervisor *supervisor, struct job_entry *entry, const json_t *message)
{
    if (strcmp(json_text_or_null(message, "event"), "progress") == 0) {
        json_decref(entry->progress);
        entry->progress = json_incref((json_t *)message);
    }
    entry->has_reported = true;
    listener_tell_followers(supervisor->listener, entry, message);
}

static void on_line(void *owner, const json_t *message)
{
    struct job_run *run = owner;
    struct job_entry *entry = run->entry;
    const char *event = json_text_or_null(message, "event");

    if (strcmp(event, "result") == 0 || strcmp(event, "error") == 0) {
        take_last_word(run, message);
        return;
    }
    if ((strcmp(event, "progress") != 0 && strcmp(event, "log") != 0 && strcmp(event, "item") != 0) ||
        !fits_a_line(message))
        return; /* not for clients */
    bool is_first = !entry->has_reported;
    jobs_take_event(run->supervisor, entry, message);
    if (is_first && entry->is_resume)
        listener_retry_deferred(run->supervisor->listener, entry->server); /* it will take a while: BUSY */
}

static bool is_error(const json_t *last_word)
{
    return strcmp(json_text_or_null(last_word, "event"), "error") == 0;
}

static void explain_end(const struct job_run *run, const struct child_end *end, struct error *failure)
{
    const struct job_entry *entry = run->entry;

    error_set(failure, ERROR_FAILED, "worker %s", end->reason);
    if (run->supervisor->is_stopping) {
        error_set(failure, ERROR_DAEMON, "the daemon was shut down while job %s was running", entry->id);
        error_hint(failure, "Start the daemon, then give the command again.");
    } else if (entry->command == COMMAND_ID_backup) {
        error_hint(failure, "A backup that is not complete never counts; what is left of it is removed or completed "
                            "by the daemon. Start the backup again.");
    }
}

/* Before anybody hears of the end, so that `status` shows what came of it. */
static void tell_receiver(struct supervisor *supervisor, const struct job_entry *entry)
{
    bool is_done = entry->state == JOB_DONE;

    if (supervisor->is_stopping || entry->is_reported)
        return;
    if (entry->command == COMMAND_ID_slot_drop)
        receivers_end_hold(supervisor, entry->server, is_done ? entry->caller : NULL);
    else if (entry->command == COMMAND_ID_slot_create && is_done)
        receivers_resume(supervisor, entry->server);
    else if (entry->command == COMMAND_ID_verify)
        receivers_tell_verified(supervisor, entry->server);
    if (roles[role_of(entry->command)].may_write_repository && !job_log_is_idle_resume(entry))
        surveys_want(supervisor, entry->server);
}

static void end_entry(struct supervisor *supervisor, struct job_entry *entry, const struct error *failure)
{
    job_table_end(&supervisor->jobs, entry, failure);
    receivers_count_run(supervisor, entry);
    job_log_end(entry);
    tell_receiver(supervisor, entry);
}

void jobs_end(struct supervisor *supervisor, struct job_entry *entry, const struct error *failure)
{
    end_entry(supervisor, entry, failure);
    listener_end_followers(supervisor->listener, entry);
}

static void on_ended(void *owner, const struct child_end *end)
{
    struct job_run *run = owner;
    struct supervisor *supervisor = run->supervisor;
    struct job_entry *entry = run->entry;
    struct error failure;
    bool has_leftovers = entry->command == COMMAND_ID_backup && !entry->is_resume && entry->last_word == NULL;

    explain_end(run, end, &failure);
    free(run);
    if (supervisor->is_stopping && entry->last_word != NULL && is_error(entry->last_word)) {
        json_decref(entry->last_word); /* "interrupted", and by whom is better known here */
        entry->last_word = NULL;
    }
    end_entry(supervisor, entry, &failure);
    if (has_leftovers && !supervisor->is_stopping)
        jobs_start_resume(supervisor, entry->server);
    listener_end_followers(supervisor->listener, entry);
    if (entry->is_resume)
        listener_retry_deferred(supervisor->listener, entry->server);
}

/* A worker that was busy elsewhere has read what it was told: now it gets the latest. */
static void on_drained(void *owner)
{
    struct job_run *run = owner;
    struct job_entry *entry = run->entry;

    if (!entry->is_wal_pending)
        return;
    entry->is_wal_pending = false;
    json_t *event SCOPED(scoped_json) = receivers_wal_event(run->supervisor, entry->server);
    if (event != NULL)
        child_send(entry->child, event);
}

void jobs_tell_backup(struct supervisor *supervisor, const char *server, const json_t *event)
{
    struct job_entry *entry = job_table_backup_of(&supervisor->jobs, server);

    if (entry == NULL || entry->child == NULL)
        return;
    if (child_has_unsent(entry->child))
        entry->is_wal_pending = true;
    else
        child_send(entry->child, event);
}

/* ---- start and end ---- */

static bool start_child(struct supervisor *supervisor, struct job_entry *entry, const struct request *request,
                        enum right right, struct error *err)
{
    static const struct child_handlers handlers = {.line = on_line, .ended = on_ended, .drained = on_drained};
    struct job_run *run = memory_new(sizeof *run);

    *run = (struct job_run){.supervisor = supervisor, .entry = entry};
    json_t *line SCOPED(scoped_json) =
        start_line_to_json(&(struct start_line){.config = supervisor->config,
                                                .is_wanted = entry->server[0] != '\0' ? start_line_wants_one : NULL,
                                                .context = entry->server,
                                                .server = entry->server,
                                                .request = request,
                                                .right = right_word(right),
                                                .job = entry->id,
                                                .caller = entry->caller,
                                                .is_resume = entry->is_resume});
    if (!child_start(&supervisor->children, role_of(entry->command), -1, line, &handlers, run, &entry->child, err)) {
        free(run);
        return false;
    }
    if (entry->command == COMMAND_ID_backup) {
        json_t *event SCOPED(scoped_json) = receivers_wal_event(supervisor, entry->server);
        if (event != NULL)
            child_send(entry->child, event);
    }
    return true;
}

/* Backups, and what changes the slot that keeps their WAL, exclude each other. */
static bool demand_no_other(const struct supervisor *supervisor, const struct request *request, struct error *err)
{
    const struct job_table *table = &supervisor->jobs;
    bool is_backup = request->command == COMMAND_ID_backup;
    bool is_drop = request->command == COMMAND_ID_slot_drop;

    if ((is_backup || is_drop) && !job_table_demand_no_backup(table, request->server, err))
        return false;
    if ((is_backup || is_drop || request->command == COMMAND_ID_slot_create) &&
        !job_table_demand_no_slot_change(table, request->server, err))
        return false;
    return !is_backup || receivers_demand_not_stopped(supervisor, request->server, err);
}

/* The receiver streams with the slot. A server without one is told so by the worker, and its receiver left alone. */
static bool waits_for_receiver(struct supervisor *supervisor, const struct request *request)
{
    const struct server_config *server;
    struct error ignored;

    return request->command == COMMAND_ID_slot_drop &&
           config_find_server(supervisor->config, request->server, &server, &ignored) &&
           !text_is_empty(server->settings.wal_slot) && !receivers_hold(supervisor, request->server);
}

bool jobs_start(struct supervisor *supervisor, const struct request *request, enum right right, const char *caller,
                struct job_entry **ret_entry, struct error *err)
{
    struct job_entry *entry;

    if (!demand_no_other(supervisor, request, err) ||
        !job_table_add(&supervisor->jobs, request->command, false, request->server, caller, &entry, err))
        return false;
    if (!waits_for_receiver(supervisor, request) && !start_child(supervisor, entry, request, right, err)) {
        job_table_remove(&supervisor->jobs, entry);
        if (request->command == COMMAND_ID_slot_drop)
            receivers_end_hold(supervisor, request->server, NULL);
        return false;
    }
    job_log_start(entry);
    *ret_entry = entry;
    return true;
}

void jobs_start_resume(struct supervisor *supervisor, const char *server)
{
    struct request request = {.command = COMMAND_ID_backup};
    struct job_entry *entry;
    struct error err;

    if (job_table_backup_of(&supervisor->jobs, server) != NULL)
        return;
    snprintf(request.server, sizeof request.server, "%s", server);
    if (!job_table_add(&supervisor->jobs, request.command, true, server, "the daemon", &entry, &err))
        return;
    if (!start_child(supervisor, entry, &request, RIGHT_ADMIN, &err)) {
        error_wrap(&err, "could not look for leftovers of \"%s\"", server);
        log_failure(LOG_LEVEL_ERROR, &err);
        job_table_remove(&supervisor->jobs, entry);
    }
}

void jobs_begin_drop(struct supervisor *supervisor, const char *server)
{
    struct job_entry *entry = job_table_slot_change_of(&supervisor->jobs, server);
    struct request request = {.command = COMMAND_ID_slot_drop};
    struct error failure;

    if (entry == NULL || entry->child != NULL)
        return;
    snprintf(request.server, sizeof request.server, "%s", server);
    if (supervisor->is_stopping) {
        error_set(&failure, ERROR_DAEMON, "the daemon was shut down while job %s was running", entry->id);
        error_hint(&failure, "Start the daemon, then give the command again.");
    } else if (entry->cancelled_by[0] == '\0' &&
               start_child(supervisor, entry, &request, commands[request.command].right, &failure)) {
        return;
    }
    jobs_end(supervisor, entry, &failure);
}

void jobs_cancel(struct job_entry *entry, const char *caller)
{
    if (entry->cancelled_by[0] == '\0') {
        job_log_cancel(entry, caller);
        snprintf(entry->cancelled_by, sizeof entry->cancelled_by, "%s", caller);
        if (entry->reporter != NULL)
            reports_cancel(entry);
    }
    if (entry->child != NULL)
        child_stop(entry->child, CANCEL_SECONDS);
}
