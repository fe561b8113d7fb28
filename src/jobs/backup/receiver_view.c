#include "jobs/backup/receiver_view_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/clock.h"

#define MICROSECONDS_A_MILLISECOND 1000
/* Longer than the receiver waits between two tries: the fault shown may be one that was just mended. */
#define ANOTHER_TRY INT64_C(6000000)
/* An alarm about lost WAL is over as soon as the receiver goes on behind it. */
#define ALARM_LASTS INT64_C(1000000)

void receiver_view_begin(struct receiver_view *view, const struct worker_context *worker)
{
    *view = (struct receiver_view){.worker = worker};
}

static bool fail_cancelled(struct error *err)
{
    error_set(err, ERROR_FAILED, "the backup was cancelled");
    err->errnum = ECANCELED;
    return false;
}

static void take_text(const json_t *data, const char *key, char *ret_text, size_t size)
{
    const char *text = json_text_or(data, key, "");

    snprintf(ret_text, size, "%s", text);
}

void receiver_view_take(struct receiver_view *view, const json_t *message)
{
    const char *event = json_text_or_null(message, "event");
    const json_t *data = json_object_get(message, "data");
    struct error ignored;

    if (event == NULL || strcmp(event, "wal") != 0 || !json_is_object(data))
        return;
    view->is_known = true;
    take_text(data, "state", view->state, sizeof view->state);
    take_text(data, "system_id", view->system, sizeof view->system);
    int64_t timeline = json_number_or(data, "timeline", 0);
    view->timeline = (struct timeline){timeline > 0 && timeline <= UINT32_MAX ? (uint32_t)timeline : 0};
    const char *flushed = json_text_or_null(data, "flushed");
    if (flushed == NULL || !wal_position_parse(flushed, &view->flushed, &ignored))
        view->flushed = (struct wal_position){0};
    const json_t *failure = json_object_get(data, "error");
    view->has_error = json_is_object(failure);
    if (view->has_error)
        control_error_from_json(failure, &view->error);
}

static bool receive_one(struct receiver_view *view, struct error *err)
{
    json_t *message SCOPED(scoped_json) = NULL;

    if (!control_receive(view->worker->channel, &message, err))
        return false;
    if (message == NULL)
        return fail_cancelled(err);
    receiver_view_take(view, message);
    return true;
}

/* *ret_is_ready: a message can be received. */
static bool poll_channel(const struct receiver_view *view, int milliseconds, bool *ret_is_ready, struct error *err)
{
    struct pollfd descriptors[] = {
        {.fd = control_stream_descriptor(view->worker->channel), .events = POLLIN},
        {.fd = view->worker->interrupt_fd, .events = POLLIN},
    };
    bool has_input = control_stream_has_input(view->worker->channel);

    int count = poll(descriptors, 2, has_input ? 0 : milliseconds);
    if (count < 0 && errno != EINTR)
        return error_set_kind_errno(err, ERROR_FAILED, "could not wait for the supervisor");
    if (count > 0 && descriptors[1].revents != 0)
        return fail_cancelled(err);
    *ret_is_ready = has_input || (count > 0 && descriptors[0].revents != 0);
    return true;
}

bool receiver_view_drain(struct receiver_view *view, struct error *err)
{
    for (;;) {
        bool is_ready = false;
        if (!poll_channel(view, 0, &is_ready, err))
            return false;
        if (!is_ready)
            return true;
        if (!receive_one(view, err))
            return false;
    }
}

bool receiver_view_wait(struct receiver_view *view, int64_t deadline, bool *ret_is_late, struct error *err)
{
    *ret_is_late = false;
    for (;;) {
        int milliseconds = -1;
        bool is_ready = false;
        if (deadline != 0) {
            int64_t left = deadline - clock_monotonic();
            *ret_is_late = left <= 0;
            if (*ret_is_late)
                return true;
            milliseconds = (int)(left / MICROSECONDS_A_MILLISECOND) + 1;
        }
        if (!poll_channel(view, milliseconds, &is_ready, err))
            return false;
        if (is_ready)
            return receive_one(view, err) && receiver_view_drain(view, err);
    }
}

int64_t receiver_view_patience(const struct receiver_view *view, int64_t most)
{
    int64_t patience = most;

    if (view->is_known && strcmp(view->state, "stopped") == 0)
        patience = 0;
    else if (view->is_known && strcmp(view->state, "alarm") == 0)
        patience = ALARM_LASTS;
    else if (view->is_known && strcmp(view->state, "waiting") == 0 && view->has_error &&
             (view->error.kind == ERROR_TLS || view->error.kind == ERROR_CONFIG || view->error.kind == ERROR_SERVER ||
              view->error.kind == ERROR_STORAGE))
        patience = ANOTHER_TRY;
    return patience < most ? patience : most;
}

bool receiver_view_is_streaming(const struct receiver_view *view, const struct system_id *system)
{
    return view->is_known && strcmp(view->state, "streaming") == 0 && strcmp(view->system, system->text) == 0;
}
