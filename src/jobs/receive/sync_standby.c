#include "jobs/receive/sync_standby_internal.h"

#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define NAMES_SIZE ((size_t)16 * 1024)

/* ---- the question ---- */

static void forget_answer(struct sync_answer *answer)
{
    free(answer->names);
    *answer = (struct sync_answer){0};
}

/* A list that fills the buffer was cut off. */
static bool read_names(struct pg_connection *connection, char **ret_names, struct error *err)
{
    char *names SCOPED(scoped_free) = memory_new(NAMES_SIZE);

    if (!pg_show(connection, "synchronous_standby_names", names, NAMES_SIZE, err))
        return false;
    if (strlen(names) == NAMES_SIZE - 1)
        return error_set(err, ERROR_SERVER, "synchronous_standby_names is too long");
    *ret_names = memory_copy_text(names);
    return true;
}

static bool ask(struct pg_connection *connection, const char *application_name, struct sync_answer *ret_answer,
                struct error *err)
{
    struct sync_answer answer = {.is_known = true};

    if (!read_names(connection, &answer.names, err))
        return false;
    if (!sync_names_match(answer.names, application_name, &answer.match, err) ||
        !pg_show(connection, "synchronous_commit", answer.commit, sizeof answer.commit, err)) {
        free(answer.names);
        return false;
    }
    *ret_answer = answer;
    return true;
}

/* ---- the answer ---- */

static void log_change(const struct receive_sync *sync, const struct sync_answer *former)
{
    enum sync_state state = sync_match_state(&sync->answer.match);

    if (former->is_known ? sync_match_state(&former->match) != state : state != SYNC_STATE_ASYNC)
        log_info("as a standby of the server: %s, by synchronous_standby_names = '%s'", sync_state_word(state),
                 sync->answer.names);
}

static void warn(struct receive_sync *sync)
{
    const struct error *former = sync->report->warnings[RECEIVE_WARNING_SYNC];
    struct error fault;

    if (!receive_sync_find_fault(&sync->server->settings, &sync->answer, &fault)) {
        receive_report_warning(sync->report, RECEIVE_WARNING_SYNC, NULL);
        return;
    }
    if (former == NULL || strcmp(former->message, fault.message) != 0)
        log_failure(LOG_LEVEL_WARNING, &fault);
    receive_report_warning(sync->report, RECEIVE_WARNING_SYNC, &fault);
}

/* Takes what `answer` owns. */
static void take_answer(struct receive_sync *sync, struct sync_answer *answer)
{
    struct sync_answer former = sync->answer;

    sync->answer = *answer;
    *answer = (struct sync_answer){0};
    if (sync->answer.is_known)
        log_change(sync, &former);
    warn(sync);
    receive_report_sync(sync->report,
                        sync->answer.is_known ? sync_match_state(&sync->answer.match) : SYNC_STATE_UNKNOWN,
                        sync->answer.names);
    forget_answer(&former);
}

static void note_asked(struct receive_sync *sync)
{
    sync->asked_at_position = sync->report->received;
    sync->ask_at = clock_monotonic() + SYNC_ASKED_AGAIN_AFTER;
}

void receive_sync_ask(struct receive_sync *sync, struct pg_connection *connection)
{
    struct sync_answer answer = {0};
    struct error err;

    if (!ask(connection, sync->server->settings.application_name, &answer, &err))
        log_debug("%s", err.message);
    note_asked(sync);
    take_answer(sync, &answer);
}

/* ---- asked again ---- */

static bool run_task(void *shared, void *worker, void *context, struct error *err)
{
    struct sync_task *task = context;
    struct pg_connection *connection SCOPED(scoped_pg_connection) = NULL;

    (void)shared;
    (void)worker;
    return pg_connect(task->server, "pgcoffer status", task->interrupt_fd, &connection, err) &&
           ask(connection, task->server->settings.application_name, &task->answer, err);
}

static const struct pool_ops thread_ops = {.work = run_task};

static void submit(struct receive_sync *sync)
{
    struct error err;

    note_asked(sync);
    sync->task = (struct sync_task){.server = sync->server, .interrupt_fd = sync->interrupt_fd};
    if (pool_new(&thread_ops, NULL, 1, 1, &sync->thread, &err))
        pool_submit(sync->thread, &sync->task);
    else
        log_failure(LOG_LEVEL_WARNING, &err);
}

/*
 * One that could not be asked keeps its former answer: the stream's end tells more than we could. What a host answered
 * that was left meanwhile says nothing about the one in use, which was asked when the stream began.
 */
static void take_result(struct receive_sync *sync)
{
    struct error err;
    void *done = NULL;

    if (!pool_try_take(sync->thread, &done, &err))
        log_debug("%s", err.message);
    else if (done == NULL)
        return;
    else if (sync->task.server == sync->server)
        take_answer(sync, &sync->task.answer);
    forget_answer(&sync->task.answer);
    pool_free(TAKE(sync->thread), NULL);
}

int64_t receive_sync_due(const struct receive_sync *sync)
{
    bool is_due = sync->report != NULL && sync->thread == NULL && sync->report->state == RECEIVE_STREAMING &&
                  sync->report->received.value != sync->asked_at_position.value;

    return is_due ? sync->ask_at : INT64_MAX;
}

void receive_sync_turn(struct receive_sync *sync)
{
    if (sync->thread != NULL)
        take_result(sync);
    else if (clock_monotonic() >= receive_sync_due(sync))
        submit(sync);
}

int receive_sync_descriptor(const struct receive_sync *sync)
{
    return sync->thread != NULL ? pool_event_descriptor(sync->thread) : -1;
}

void receive_sync_look_now(struct receive_sync *sync)
{
    sync->ask_at = 0;
    sync->asked_at_position = (struct wal_position){0};
}

/* ---- the whole life ---- */

void receive_sync_begin(struct receive_sync *sync, const struct server_config *server, struct receive_report *report,
                        int interrupt_fd)
{
    *sync = (struct receive_sync){.server = server, .report = report, .interrupt_fd = interrupt_fd};
    receive_report_sync(report, SYNC_STATE_UNKNOWN, NULL);
}

void receive_sync_end(struct receive_sync *sync)
{
    pool_free(TAKE(sync->thread), NULL);
    forget_answer(&sync->task.answer);
    forget_answer(&sync->answer);
}
