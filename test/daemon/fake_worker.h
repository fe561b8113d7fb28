#ifndef PGCOFFER_TEST_DAEMON_FAKE_WORKER_H
#define PGCOFFER_TEST_DAEMON_FAKE_WORKER_H

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/worker/worker.h"

/*
 * The test program as its own workers: a receiver that streams from nowhere, and backups that behave as their label
 * says.
 */
static inline void fake_send(struct worker_context *context, json_t *message_stolen)
{
    struct error err;

    if (!control_send(context->channel, message_stolen, &err))
        _exit(1);
    json_decref(message_stolen);
}

static inline void fake_wait(struct worker_context *context)
{
    struct pollfd interrupt = {.fd = context->interrupt_fd, .events = POLLIN};

    while (poll(&interrupt, 1, -1) < 0)
        continue;
}

static inline void fake_wait_whatever_comes(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (;;)
        pause();
}

/* A file of that name in the repository, by which the workers tell each other what happened. */
static inline const char *fake_place(struct worker_context *context, const char *name)
{
    static char path[512];
    const char *base = strstr(json_text_or_null(context->start, "config"), "base_dir = \"");

    if (base == NULL)
        _exit(1);
    base += strlen("base_dir = \"");
    snprintf(path, sizeof path, "%.*s/%s", (int)strcspn(base, "\""), base, name);
    return path;
}

static inline bool fake_is_there(struct worker_context *context, const char *name)
{
    return access(fake_place(context, name), F_OK) == 0;
}

/* False: it is to end. */
static inline bool fake_pause(struct worker_context *context, int milliseconds)
{
    struct pollfd interrupt = {.fd = context->interrupt_fd, .events = POLLIN};

    return poll(&interrupt, 1, milliseconds) == 0;
}

/*
 * The newest backup is "old", or "new" when one was taken; it hangs, fails, is of another cluster, or takes its time
 * (FAKE_SURVEY_MILLISECONDS) while a file "hangs", "fails", "other" or "slow" is there.
 */
#define FAKE_SURVEY_MILLISECONDS 300
static inline void fake_survey(struct worker_context *context)
{
    const char *server = json_string_value(json_array_get(json_object_get(context->start, "servers"), 0));
    FILE *begun = fopen(fake_place(context, "begun"), "ae");
    struct error failure, ignored;

    fputc('.', begun);
    fclose(begun);
    if (fake_is_there(context, "hangs"))
        fake_wait(context);
    if (fake_is_there(context, "slow"))
        (void)fake_pause(context, FAKE_SURVEY_MILLISECONDS);
    if (fake_is_there(context, "fails")) {
        error_set(&failure, ERROR_STORAGE, "the disk is gone");
        (void)!control_send_error(context->channel, &failure, &ignored);
        return;
    }
    json_t *data = json_pack("{s:s, s:s, s:s, s:i}", "server", server, "at", "2026-11-22T01:30:00Z", "system_id",
                             fake_is_there(context, "other") ? "74" : "73", "pid", (int)getpid());
    json_object_set_new(data, "last_backup", json_pack("{s:s}", "id", fake_is_there(context, "taken") ? "new" : "old"));
    json_object_set_new(data, "room", json_pack("{s:s, s:i, s:i}", "disk", "/srv", "free", 1000, "daily_bytes", 30));
    json_object_set_new(data, "restorable",
                        json_pack("{s:[{s:s, s:s, s:i, s:b}]}", "windows", "from", "2026-11-22T01:00:00Z", "until",
                                  "2026-11-22T01:30:00Z", "timeline", 1, "open", 1));
    fake_send(context, json_pack("{s:s, s:o}", "event", "survey", "data", data));
    fake_send(context, json_pack("{s:s, s:{}}", "event", "result", "data"));
}

/* The gaps change all the time while a file "flaps" is there at its start. */
static inline void fake_receive(struct worker_context *context)
{
    bool flaps = fake_is_there(context, "flaps");

    for (int gaps = 0; gaps == 0 || (flaps && fake_pause(context, 5)); gaps++)
        fake_send(context,
                  json_pack("{s:s, s:{s:s, s:i, s:s, s:s, s:{s:i}, s:{s:i, s:s}}}", "event", "receiver", "data",
                            "state", "streaming", "pid", (int)getpid(), "flushed", "0/3000000", "system_id", "73",
                            "gaps", "count", gaps, "complete", "timeline", 1, "at", "2026-11-22T02:00:00Z"));
    fake_wait(context);
}

static inline void fake_send_progress(struct worker_context *context)
{
    const struct progress progress = {.phase = "copy", .done_bytes = 7};

    fake_send(context, progress_to_json(&progress));
}

static inline void fake_flood(struct worker_context *context)
{
    static char text[30000];

    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 500; i++)
        fake_send(context, json_pack("{s:s, s:{s:s}}", "event", "item", "data", "t", text));
}

/* The result shows the first thing the supervisor told: where the receiver is. */
static inline void fake_finish_backup(struct worker_context *context)
{
    struct error err;
    json_t *told;

    if (!control_receive(context->channel, &told, &err) || told == NULL)
        _exit(1);
    fake_send(context, json_pack("{s:s, s:{s:s, s:o}}", "event", "result", "data", "id", "new", "told", told));
    fclose(fopen(fake_place(context, "taken"), "we"));
}

static inline void fake_backup(struct worker_context *context)
{
    const char *label = request_text(&context->request, OPTION_ID_label);

    if (json_is_set(context->start, "resume")) {
        fake_send(context, json_pack("{s:s, s:{s:i, s:[]}}", "event", "result", "data", "swept", 0, "resumed"));
        return;
    }
    fake_send_progress(context);
    if (strcmp(label, "quick") == 0)
        fake_finish_backup(context);
    else if (strcmp(label, "killed") == 0)
        raise(SIGKILL);
    else if (strcmp(label, "garbage") == 0 && write(WORKER_CHANNEL_DESCRIPTOR, "what?\n", 6) == 6)
        fake_wait_whatever_comes();
    else if (strcmp(label, "stubborn") == 0)
        fake_wait_whatever_comes();
    else if (strcmp(label, "flood") == 0)
        fake_flood(context);
    else
        fake_wait(context);
}

/* A drop fails where the slot is called "kept"; one called "slow" waits. */
static inline void fake_slot(struct worker_context *context)
{
    const char *config = json_text_or_null(context->start, "config");
    bool is_drop = context->request.command == COMMAND_ID_slot_drop;
    struct error failure, ignored;

    if (is_drop && strstr(config, "kept") != NULL) {
        error_set(&failure, ERROR_BUSY, "replication slot is active for PID 7");
        (void)!control_send_error(context->channel, &failure, &ignored);
        return;
    }
    if (is_drop && strstr(config, "slow") != NULL)
        fake_wait(context);
    fake_send(context, json_pack("{s:s, s:{s:b}}", "event", "result", "data", "dropped", (int)is_drop));
}

static inline void fake_serve(struct worker_context *context)
{
    struct control_stream *client SCOPED(scoped_control_stream) =
        control_stream_new(context->client, CONTROL_LINE_SIZE);
    struct error err;

    context->client = -1;
    if (!control_send_result(client,
                             json_pack("{s:s, s:O}", "right", json_text_or_null(context->start, "right"), "servers",
                                       json_object_get(context->start, "servers")),
                             &err))
        _exit(1);
}

/* A check tells its server and its pid; asked for "hba" it then waits, asked for "chain" it dies, else it ends well. */
static inline void fake_check(struct worker_context *context)
{
    const char *only = request_text(&context->request, OPTION_ID_only);

    fake_send(context, json_pack("{s:s, s:{s:s, s:i, s:s}}", "event", "item", "data", "server", context->request.server,
                                 "pid", (int)getpid(), "right", json_text_or_null(context->start, "right")));
    if (only != NULL && strcmp(only, "hba") == 0)
        fake_wait(context);
    if (only != NULL && strcmp(only, "chain") == 0)
        raise(SIGKILL);
    fake_send(context, json_pack("{s:s, s:{s:O}}", "event", "result", "data", "servers",
                                 json_object_get(context->start, "servers")));
}

static inline int fake_worker(const char *name)
{
    struct worker_context context;
    struct error err;
    enum role_id role;

    if (!role_find(name, &role) || !worker_begin(role, &context, &err))
        return 1;
    if (role == ROLE_receive)
        fake_receive(&context);
    else if (role == ROLE_backup)
        fake_backup(&context);
    else if (role == ROLE_slot)
        fake_slot(&context);
    else if (role == ROLE_check)
        fake_check(&context);
    else if (role == ROLE_survey)
        fake_survey(&context);
    else if (role == ROLE_serve)
        fake_serve(&context);
    worker_end(&context);
    return 0;
}

#endif
