#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/control/stream.h"

json_t *control_text(const char *text)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(text);

    text_make_valid(copy);
    return json_string(copy);
}

bool control_send_result(struct control_stream *stream, json_t *data_stolen, struct error *err)
{
    json_t *message SCOPED(scoped_json) = json_pack("{s:s, s:o}", "event", "result", "data", data_stolen);

    return control_send(stream, message, err);
}

bool control_send_item(struct control_stream *stream, json_t *data_stolen, struct error *err)
{
    json_t *message SCOPED(scoped_json) = json_pack("{s:s, s:o}", "event", "item", "data", data_stolen);

    return control_send(stream, message, err);
}

bool control_send_error(struct control_stream *stream, const struct error *failure, struct error *err)
{
    json_t *message SCOPED(scoped_json) = control_error_to_json(failure);

    return control_send(stream, message, err);
}

bool control_part_with_error(struct control_stream *stream, const struct error *failure, int milliseconds,
                             struct error *err)
{
    struct pollfd wait = {.fd = control_stream_descriptor(stream), .events = POLLIN};
    int64_t until = clock_monotonic() + INT64_C(1000) * milliseconds;
    char unread[4096];

    if (!control_send_error(stream, failure, err))
        return false;
    shutdown(wait.fd, SHUT_WR);
    for (int64_t left; (left = (until - clock_monotonic()) / 1000) > 0;) {
        if (poll(&wait, 1, (int)left) <= 0)
            continue;
        ssize_t got = recv(wait.fd, unread, sizeof unread, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            break;
    }
    return true;
}

json_t *control_error_to_json(const struct error *failure)
{
    json_t *message = json_pack("{s:s}", "event", "error");
    json_t *words SCOPED(scoped_json) = control_failure_to_json(failure);

    json_object_update(message, words);
    return message;
}

json_t *control_failure_to_json(const struct error *failure)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "kind", error_kind_word(failure->kind), "message",
                     control_text(failure->message), "detail", control_text(failure->detail), "hint",
                     control_text(failure->hint), "check", control_text(failure->check));
}

bool control_error_from_json(const json_t *message, struct error *err)
{
    const char *kind = json_text_or_null(message, "kind");
    const char *text = json_text_or_null(message, "message");
    const char *detail = json_text_or_null(message, "detail");
    const char *hint = json_text_or_null(message, "hint");
    const char *check = json_text_or_null(message, "check");
    enum error_kind known = kind != NULL ? error_kind_from_word(kind) : ERROR_FAILED;

    error_set(err, known != ERROR_NONE ? known : ERROR_FAILED, "%s", text != NULL ? text : "failed without a message");
    if (detail != NULL)
        error_detail(err, "%s", detail);
    if (hint != NULL)
        error_hint(err, "%s", hint);
    if (check != NULL)
        error_check(err, check);
    return false;
}

static json_t *take_data(const json_t *message)
{
    json_t *data = json_object_get(message, "data");

    return data != NULL ? json_incref(data) : json_object();
}

json_t *control_await_result(struct control_stream *stream,
                             bool (*event)(void *context, const json_t *message, struct error *err), void *context,
                             struct error *err)
{
    for (;;) {
        json_t *message SCOPED(scoped_json) = NULL;
        if (!control_receive(stream, &message, err))
            return NULL;
        if (message == NULL) {
            error_set(err, ERROR_DAEMON, "the connection was closed before the answer came");
            error_hint(err, "The daemon's log says why.");
            return NULL;
        }
        const char *name = json_text_or_null(message, "event");
        if (name == NULL) {
            error_set(err, ERROR_DAEMON, "the peer sent an answer without \"event\"");
            return NULL;
        }
        if (strcmp(name, "result") == 0)
            return take_data(message);
        if (strcmp(name, "error") == 0) {
            control_error_from_json(message, err);
            return NULL;
        }
        if (event != NULL && !event(context, message, err))
            return NULL;
        if (event == NULL && strcmp(name, "bytes") == 0) {
            error_set(err, ERROR_DAEMON, "the peer sent bytes nobody asked for");
            return NULL;
        }
    }
}
