#include "daemon/surveys_internal.h"

#include <string.h>

#include "daemon/answers_internal.h"
#include "daemon/listener_internal.h"
#include "daemon/receiver_internal.h"
#include "daemon/receivers_internal.h"
#include "daemon/start_line_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define FRESH_MICROSECONDS INT64_C(60000000)
#define MOST_SURVEY_SIZE   38912 /* it stands in lines that others read */
#define PAUSE_FACTOR       9     /* after one that took a second receivers' news wait for so many */

struct surveys {
    struct supervisor *supervisor;
    struct child *child; /* NULL: none runs */
    struct timestamp begun_at;
    int64_t begun;        /* monotonic */
    struct error failure; /* what it said last; kind and message */
    bool has_failure;
    struct event *patience; /* of those who wait for it */
    bool is_answering;      /* whoever asks now has waited */
    int64_t paused_until;   /* monotonic */
    struct event *pause;    /* while there is news */
};

static void on_ended(void *owner, const struct child_end *end);

/* ---- what is held ---- */

static json_t *last_window(json_t *data)
{
    const json_t *windows = json_object_get(json_object_get(data, "restorable"), "windows");

    return json_array_get(windows, json_array_size(windows) - 1);
}

/* Nothing vouched for the time behind the newest backup, and now the receiver has noted more. */
static bool may_reach_further(const struct receiver *receiver)
{
    const json_t *complete = json_object_get(receiver->report, "complete");

    return json_is_object(complete) && json_equal(complete, receiver->survey.complete) == 0 &&
           !json_is_set(last_window(receiver->survey.data), "open");
}

static bool is_pause_over(const struct surveys *surveys)
{
    return clock_monotonic() >= surveys->paused_until;
}

static bool is_stale(const struct surveys *surveys, const struct receiver *receiver)
{
    const struct survey *survey = &receiver->survey;

    return may_reach_further(receiver) || survey->is_wanted || survey->is_on_its_way || survey->tried_at == 0 ||
           (survey->has_news && is_pause_over(surveys)) || clock_monotonic() - survey->tried_at > FRESH_MICROSECONDS;
}

/* Whatever came of it. */
static void end_try(struct receiver *receiver, json_t *error_stolen)
{
    struct survey *survey = &receiver->survey;

    survey->is_on_its_way = false;
    survey->tried_at = clock_monotonic();
    json_decref(survey->complete);
    survey->complete = json_incref(json_object_get(receiver->report, "complete"));
    json_decref(survey->error);
    survey->error = error_stolen;
}

static void take_survey(struct supervisor *supervisor, json_t *data)
{
    const char *server = json_text_or_null(data, "server");
    struct receiver *receiver = server != NULL ? receiver_find(supervisor, server) : NULL;
    json_t *error = json_object_get(data, "error");

    if (receiver == NULL || json_dumpb(data, NULL, 0, JSON_COMPACT) > MOST_SURVEY_SIZE)
        return;
    struct survey *survey = &receiver->survey;
    end_try(receiver, json_incref(error));
    if (error != NULL)
        return;
    json_decref(survey->data);
    survey->data = json_incref(data);
    survey->is_outdated = survey->is_wanted || survey->has_news; /* since it began */
    receivers_update_status(supervisor);
}

static void on_line(void *owner, const json_t *message)
{
    struct surveys *surveys = owner;
    const char *event = json_text_or_null(message, "event");

    if (strcmp(event, "survey") == 0) {
        take_survey(surveys->supervisor, json_object_get(message, "data"));
    } else if (strcmp(event, "error") == 0) {
        control_error_from_json(message, &surveys->failure);
        surveys->has_failure = true;
        child_expect_end(surveys->child);
    } else if (strcmp(event, "result") == 0) {
        child_expect_end(surveys->child);
    }
}

/* Of those it was to look at, and has not. */
static void fail_rest(struct surveys *surveys, const struct error *failure)
{
    for (struct receiver *receiver = surveys->supervisor->receivers; receiver != NULL; receiver = receiver->next) {
        if (!receiver->survey.is_on_its_way)
            continue;
        end_try(receiver, control_failure_to_json(failure));
        log_warning("what is stored of \"%s\" cannot be told: %s", receiver->name, failure->message);
    }
}

/* ---- the worker ---- */

static bool is_chosen(const void *context, const struct server_config *server)
{
    const struct receiver *receiver = receiver_find(context, server->name);

    return receiver != NULL && receiver->survey.is_on_its_way;
}

static bool choose_wanted(struct surveys *surveys)
{
    bool has_one = false, is_over = is_pause_over(surveys);

    for (struct receiver *receiver = surveys->supervisor->receivers; receiver != NULL; receiver = receiver->next) {
        struct survey *survey = &receiver->survey;
        survey->is_on_its_way = !receiver->is_removed && (survey->is_wanted || (survey->has_news && is_over));
        survey->is_wanted = false;
        survey->has_news = survey->has_news && !survey->is_on_its_way;
        has_one = has_one || survey->is_on_its_way;
    }
    return has_one;
}

static bool has_news(const struct supervisor *supervisor)
{
    for (const struct receiver *receiver = supervisor->receivers; receiver != NULL; receiver = receiver->next)
        if (receiver->survey.has_news && !receiver->is_removed)
            return true;
    return false;
}

static void wait_for_pause(struct surveys *surveys)
{
    int64_t left = surveys->paused_until - clock_monotonic();

    if (left < 0)
        left = 0;
    const struct timeval delay = {.tv_sec = left / 1000000, .tv_usec = left % 1000000};
    evtimer_add(surveys->pause, &delay);
}

static void start(struct surveys *surveys)
{
    static const struct child_handlers handlers = {.line = on_line, .ended = on_ended};
    struct supervisor *supervisor = surveys->supervisor;
    struct error err;

    if (surveys->child != NULL || supervisor->is_stopping)
        return;
    if (!choose_wanted(surveys)) {
        if (has_news(supervisor))
            wait_for_pause(surveys);
        return;
    }
    surveys->has_failure = false;
    surveys->begun_at = clock_now();
    surveys->begun = clock_monotonic();
    json_t *line SCOPED(scoped_json) = start_line_to_json(
        &(struct start_line){.config = supervisor->config, .is_wanted = is_chosen, .context = supervisor});
    if (!child_start(&supervisor->children, ROLE_survey, -1, line, &handlers, surveys, &surveys->child, &err))
        fail_rest(surveys, &err);
}

/* Whoever has waited is answered with what there is. */
static void answer_waiting(struct surveys *surveys)
{
    evtimer_del(surveys->patience);
    surveys->is_answering = true;
    listener_retry_command(surveys->supervisor->listener, COMMAND_ID_status);
    surveys->is_answering = false;
}

static void on_ended(void *owner, const struct child_end *end)
{
    struct surveys *surveys = owner;
    struct error failure;

    surveys->child = NULL;
    surveys->paused_until = clock_monotonic() + PAUSE_FACTOR * (clock_monotonic() - surveys->begun);
    error_set(&failure, ERROR_FAILED, "the survey worker %s", end->reason);
    if (!surveys->supervisor->is_stopping)
        fail_rest(surveys, surveys->has_failure ? &surveys->failure : &failure);
    start(surveys);
    if (surveys->child == NULL)
        answer_waiting(surveys);
}

static void on_patience_over(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    answer_waiting(context);
}

static void on_pause_over(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    start(context);
}

/* ---- for others ---- */

static struct surveys *surveys_of(struct supervisor *supervisor)
{
    if (supervisor->surveys != NULL)
        return supervisor->surveys;
    struct surveys *surveys = memory_new(sizeof *surveys);
    surveys->supervisor = supervisor;
    surveys->patience = evtimer_new(supervisor->events, on_patience_over, surveys);
    surveys->pause = evtimer_new(supervisor->events, on_pause_over, surveys);
    if (surveys->patience == NULL || surveys->pause == NULL)
        abort();
    supervisor->surveys = surveys;
    return surveys;
}

void surveys_want(struct supervisor *supervisor, const char *server)
{
    if (supervisor->is_stopping)
        return;
    for (struct receiver *receiver = supervisor->receivers; receiver != NULL; receiver = receiver->next)
        if (server[0] == '\0' || strcmp(receiver->name, server) == 0)
            receiver->survey.is_wanted = receiver->survey.is_outdated = true;
    start(surveys_of(supervisor));
}

void surveys_want_old(struct supervisor *supervisor, int64_t seconds)
{
    struct surveys *surveys = surveys_of(supervisor);
    int64_t since = clock_monotonic() - seconds * INT64_C(1000000);

    for (struct receiver *receiver = supervisor->receivers; receiver != NULL; receiver = receiver->next)
        if (!receiver->is_removed && !receiver->survey.is_on_its_way &&
            (receiver->survey.tried_at < since || (may_reach_further(receiver) && is_pause_over(surveys))))
            receiver->survey.is_wanted = true;
    start(surveys);
}

void surveys_tell_news(struct receiver *receiver)
{
    if (receiver->supervisor->is_stopping)
        return;
    receiver->survey.has_news = receiver->survey.is_outdated = true;
    start(surveys_of(receiver->supervisor));
}

/* Of those that the client may see. */
static bool want_stale(struct client *client, const struct request *request)
{
    struct supervisor *supervisor = client_supervisor(client);
    bool has_one = false;

    for (struct receiver *receiver = supervisor->receivers; receiver != NULL; receiver = receiver->next) {
        if (receiver->is_removed || !answers_tell_of(client, request, receiver->name) ||
            !is_stale(supervisor->surveys, receiver))
            continue;
        receiver->survey.is_wanted = receiver->survey.is_wanted || !receiver->survey.is_on_its_way;
        has_one = true;
    }
    return has_one;
}

/* One that has been running for longer than anybody waits hangs, and is waited for no more. */
static bool hangs(const struct surveys *surveys)
{
    return clock_monotonic() - surveys->begun > INT64_C(1000000) * SURVEY_PATIENCE_SECONDS;
}

bool surveys_await(struct client *client, const struct request *request)
{
    const struct timeval patience = {.tv_sec = SURVEY_PATIENCE_SECONDS};
    struct surveys *surveys = surveys_of(client_supervisor(client));

    if (surveys->is_answering || !want_stale(client, request))
        return false;
    start(surveys);
    if (surveys->child == NULL || hangs(surveys))
        return false;
    if (!evtimer_pending(surveys->patience, NULL))
        evtimer_add(surveys->patience, &patience);
    client_defer(client, request);
    return true;
}

/* ---- told ---- */

static bool is_of_its_system(const struct receiver *receiver, const json_t *data)
{
    const char *system_id = json_text_or_null(data, "system_id");

    return system_id != NULL && strcmp(system_id, receiver->system_id) == 0;
}

/*
 * What has come in since: the last window ends where the receiver's note says. That is on the disk, where the plan of a
 * restore finds it, too.
 */
static void add_news(const struct receiver *receiver, json_t *data)
{
    json_t *window = last_window(data);
    const json_t *complete = json_object_get(receiver->report, "complete");
    struct timestamp noted, known;

    if (json_is_set(window, "open") && !receiver->survey.is_outdated && receiver->survey.error == NULL &&
        is_of_its_system(receiver, data) &&
        json_number_or(complete, "timeline", 0) == json_number_or(window, "timeline", 0) &&
        json_find_time(complete, "at", &noted) && json_find_time(window, "until", &known) &&
        noted.microseconds > known.microseconds)
        json_object_set(window, "until", json_object_get(complete, "at"));
}

/* All servers on a disk fill it. */
static int64_t daily_on_disk(const struct supervisor *supervisor, const char *disk)
{
    int64_t daily = 0;

    for (const struct receiver *receiver = supervisor->receivers; receiver != NULL; receiver = receiver->next) {
        const json_t *room = json_object_get(receiver->survey.data, "room");
        const char *its_disk = json_text_or_null(room, "disk");
        int64_t its_daily = json_number_or(room, "daily_bytes", 0);
        if (!receiver->is_removed && its_disk != NULL && disk != NULL && strcmp(its_disk, disk) == 0 && its_daily > 0 &&
            its_daily <= INT64_MAX - daily)
            daily += its_daily;
    }
    return daily;
}

static void add_days(const struct supervisor *supervisor, json_t *room)
{
    int64_t daily = daily_on_disk(supervisor, json_text_or_null(room, "disk"));
    int64_t free_bytes = json_number_or(room, "free", -1);

    if (json_is_object(room))
        json_object_set_new(room, "days_until_full",
                            daily > 0 && free_bytes >= 0 ? json_integer(free_bytes / daily) : json_null());
}

static json_t *part(json_t *data, const char *name)
{
    json_t *value = json_object_get(data, name);

    return value != NULL ? json_incref(value) : json_null();
}

static json_t *running_since(const struct supervisor *supervisor, const struct receiver *receiver)
{
    return receiver->survey.is_on_its_way ? json_time(supervisor->surveys->begun_at) : json_null();
}

json_t *surveys_to_json(const struct supervisor *supervisor, const struct receiver *receiver)
{
    const struct survey *survey = &receiver->survey;
    json_t *data SCOPED(scoped_json) = json_deep_copy(survey->data);

    add_news(receiver, data);
    add_days(supervisor, json_object_get(data, "room"));
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "at", part(data, "at"), "running_since",
                     running_since(supervisor, receiver), "error",
                     survey->error != NULL ? json_incref(survey->error) : json_null(), "restorable",
                     part(data, "restorable"), "backups", part(data, "backups"), "proofs", part(data, "proofs"), "room",
                     part(data, "room"));
}

const json_t *surveys_last_backup(const struct receiver *receiver)
{
    return json_object_get(receiver->survey.data, "last_backup");
}

void surveys_free(struct supervisor *supervisor)
{
    if (supervisor->surveys == NULL)
        return;
    event_free(supervisor->surveys->patience);
    event_free(supervisor->surveys->pause);
    free(supervisor->surveys);
    supervisor->surveys = NULL;
}
