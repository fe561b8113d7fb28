#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/control/progress_words.h"

/* Jobs and those who look after them: backup, verify, slot ..., jobs, follow, cancel. */

static void report_started(const struct invocation *invocation, const struct conversation *conversation)
{
    if (output_is_json(invocation)) {
        json_t *data SCOPED(scoped_json) = json_pack("{s:s}", "job", conversation->job);
        output_json(data);
    } else {
        printf("%s\n", conversation->job);
    }
}

static bool run_job(struct invocation *invocation, struct conversation *conversation, struct error *err)
{
    json_t *result SCOPED(scoped_json) = NULL;

    conversation->is_job = true;
    conversation->ends_at_job = invocation_has(invocation, OPTION_ID_no_wait);
    bool ok = client_ask(invocation, conversation, &result, err);
    if (ok && result == NULL)
        report_started(invocation, conversation);
    else if (ok)
        client_print(invocation, result, report_job_result);
    return ok;
}

bool command_backup(struct invocation *invocation, struct error *err)
{
    struct conversation conversation SCOPED(conversation_done) = {0};

    return run_job(invocation, &conversation, err);
}

bool command_slot_show(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, report_job_result, err);
}

bool command_slot_create(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, report_job_result, err);
}

bool command_slot_drop(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, report_job_result, err);
}

/* ---- verify ---- */

/* Problems are printed as they are found, and kept: with --json they stand beside the error. */
static void take_problem(void *context, const json_t *data)
{
    struct invocation *invocation = context;

    if (json_object_get(data, "rule") != NULL) {
        report_expire_item(invocation, data);
        return;
    }
    if (invocation->findings == NULL)
        invocation->findings = json_pack("{s:[]}", "problems");
    json_array_append(json_object_get(invocation->findings, "problems"), (json_t *)data);
    report_problem(invocation, data);
}

struct verify_child {
    pid_t pid;
    struct control_stream *events;
};

static bool take_verify(const struct config *config, struct control_stream *events, struct request *ret_request,
                        struct repo *ret_repo, struct error *err)
{
    json_t *message SCOPED(scoped_json) = NULL;

    return control_receive(events, &message, err) && request_parse(message, ret_request, err) &&
           repo_open(config->settings.base_dir, config->settings.repository_group, ret_repo, err);
}

/* The other end of the conversation, where otherwise the daemon is. Ends the process. */
static void run_verify(const struct config *config, int fd)
{
    struct control_stream *events = control_stream_new(fd, CONTROL_LINE_SIZE);
    struct request request;
    struct repo repo;
    struct error err;
    struct error ignored;

    bool is_right = take_verify(config, events, &request, &repo, &err);
    bool is_told = is_right ? verify_run(&request, config, &repo, events, -1, &err) /* tells its failures itself */
                            : control_send_error(events, &err, &ignored);
    control_stream_free(events);
    _exit(is_told ? 0 : 1);
}

static bool start_verify(const struct config *config, struct verify_child *ret_child, struct error *err)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a socket pair");
    fflush(NULL);
    ret_child->pid = fork();
    if (ret_child->pid == 0) {
        close(ends[0]);
        run_verify(config, ends[1]);
    }
    close(ends[1]);
    ret_child->events = control_stream_new(ends[0], CONTROL_LINE_SIZE);
    return ret_child->pid > 0 || error_set_kind_errno(err, ERROR_FAILED, "could not start a process");
}

static void end_verify(struct verify_child *child)
{
    control_stream_free(child->events);
    if (child->pid > 0)
        waitpid(child->pid, NULL, 0);
}

static bool verify_directly(struct invocation *invocation, struct conversation *conversation, struct error *err)
{
    struct config *config SCOPED(scoped_config) = NULL;
    struct request request SCOPED(request_done) = {0};
    struct verify_child child SCOPED(end_verify) = {0};
    json_t *result SCOPED(scoped_json) = NULL;

    conversation->invocation = invocation;
    if (invocation_has(invocation, OPTION_ID_no_wait))
        return error_set(err, ERROR_USAGE,
                         "--direct and --no-wait exclude each other: only the daemon's jobs go on alone");
    if (!session_source_config(invocation, &config, err) || !invocation_request(invocation, &request, err) ||
        !start_verify(config, &child, err) || !conversation_run(conversation, child.events, &request, &result, err))
        return false;
    client_print(invocation, result, report_job_result);
    return true;
}

bool command_verify(struct invocation *invocation, struct error *err)
{
    struct conversation conversation SCOPED(conversation_done) = {.item = take_problem, .context = invocation};

    return invocation_has(invocation, OPTION_ID_direct) ? verify_directly(invocation, &conversation, err)
                                                        : run_job(invocation, &conversation, err);
}

/* ---- jobs, follow, cancel ---- */

static void add_job(struct table *table, const json_t *job)
{
    const json_t *progress = json_object_get(job, "progress");
    const char *problem = json_text_or_null(json_object_get(job, "error"), "message");
    bool is_running = json_text_is(job, "state", "running");
    struct progress numbers = {.total_bytes = 0};
    bool has_total = progress_from_json(progress, &numbers) && numbers.total_bytes > 0;

    table_add_row(table);
    table_set_text(table, 0, job, "job");
    table_set_text(table, 1, job, "command");
    table_set_text(table, 2, job, "server");
    table_set_text(table, 3, job, "state");
    table_set_text(table, 4, job, "started_at");
    table_set_text(table, 5, job, "ended_at");
    table_set_text(table, 6, job, "caller");
    if (problem != NULL)
        table_set(table, 7, "%s", problem);
    else if (is_running && has_total)
        table_set(table, 7, "%s %u%%", numbers.phase, progress_percent(&numbers));
    else
        table_set_text(table, 7, is_running ? progress : NULL, "phase");
    if (json_text_is(job, "state", "failed"))
        table_mark_bad(table);
}

static void print_jobs(const struct invocation *invocation, const json_t *result)
{
    static const char *const titles[] = {"JOB", "COMMAND", "SERVER", "STATE", "STARTED", "ENDED", "CALLER", "NOW"};
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 8);
    const json_t *jobs = json_object_get(result, "jobs");
    const json_t *job;
    size_t i;

    json_array_foreach(jobs, i, job)
    {
        add_job(table, job);
    }
    if (json_array_size(jobs) == 0)
        output_line(invocation, "no jobs");
    table_print(table);
}

bool command_jobs(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, client_gather_lists, print_jobs, err);
}

bool command_follow(struct invocation *invocation, struct error *err)
{
    struct conversation conversation SCOPED(conversation_done) = {
        .is_job = true, .prints_each_event = output_is_json(invocation), .item = take_problem, .context = invocation};
    json_t *result SCOPED(scoped_json) = NULL;

    snprintf(conversation.job, sizeof conversation.job, "%s", invocation_argument(invocation, 0));
    text_make_printable(conversation.job);
    bool ok = client_ask(invocation, &conversation, &result, err);
    invocation->error_is_printed = conversation.error_is_printed;
    if (ok && !output_is_json(invocation))
        report_job_result(invocation, result);
    return ok;
}

static void print_cancelled(const struct invocation *invocation, const json_t *result)
{
    const char *job = json_text_or(result, "job", "?");
    const char *state = json_text_or_null(result, "state");

    if (state != NULL && strcmp(state, "cancelled") != 0)
        output_warning(invocation, "it was too late: job %s is %s", job, state);
    else
        output_line(invocation, "job %s is cancelled", job);
}

bool command_cancel(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, print_cancelled, err);
}
