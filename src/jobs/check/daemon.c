#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/check.h"
#include "pgcoffer/wal/position.h"

/*
 * 16 segments of the usual size. A receiver that keeps up is a few kB behind; this much means that the network or the
 * repository's disk is slower than the server writes, and it is what would be lost together with the server.
 */
#define LAG_TO_WARN_OF ((uint64_t)256 << 20)

/* Of the shortest text of a result. */
#define TEXT_SIZE 1024

struct daemon_walk {
    const struct check_daemon_view *view;
    const struct check_states *before;
    struct check_result results[CHECK_COUNT]; /* of this level only */
    const json_t *server;                     /* its row in the answer; NULL: the daemon does not know it */
};

/* A text of a result: seen, cause or fix. */
static void PRINTF_LIKE(2, 3) fill(char text[TEXT_SIZE], const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(text, TEXT_SIZE, format, args);
    va_end(args);
    text_make_printable(text);
}

/* Begins it anew. */
static struct check_result *begin(struct daemon_walk *walk, enum check_id id, enum check_state state)
{
    walk->results[id] = (struct check_result){.id = id, .state = state};
    return &walk->results[id];
}

static void skip_rest(struct daemon_walk *walk, enum check_id first, const char *reason)
{
    for (enum check_id id = first; id < CHECK_COUNT; id++)
        if (check_rows[id].level == CHECK_LEVEL_DAEMON && !walk->before->is_told[id])
            fill(begin(walk, id, CHECK_SKIP)->seen, "%s", reason);
}

static const json_t *find_server(const struct check_daemon_view *view)
{
    const json_t *server;
    size_t i;

    json_array_foreach(json_object_get(view->status, "servers"), i, server)
    {
        if (strcmp(json_text_or(server, "server", ""), view->server) == 0)
            return server;
    }
    return NULL;
}

/* ---- the daemon ---- */

static bool look_at_daemon(struct daemon_walk *walk)
{
    const struct check_daemon_view *view = walk->view;
    const enum check_id id = CHECK_ID_daemon_running;

    if (view->status != NULL) {
        fill(begin(walk, id, CHECK_PASS)->seen, "pgcofferd %s, pid %" PRId64 ", since %s, at %s",
             json_text_or(view->status, "version", "?"), json_number_or(view->status, "pid", 0),
             json_text_or(view->status, "started_at", "?"), view->socket_path);
        return true;
    }
    fill(begin(walk, id, CHECK_WARN)->seen, "%s", view->why);
    fill(walk->results[id].cause,
         "No daemon answers at \"%s\": nothing receives the WAL of \"%s\", and no backup can be taken.",
         view->socket_path, view->server);
    fill(walk->results[id].fix,
         "systemctl start pgcofferd (its log: journalctl -u pgcofferd); one with another socket is named by "
         "--socket PATH");
    return false;
}

static bool look_at_configuration(struct daemon_walk *walk)
{
    const enum check_id id = CHECK_ID_daemon_configuration;

    if (walk->server == NULL) {
        const char *file = json_text_or(walk->view->status, "config", "its configuration");
        fill(begin(walk, id, CHECK_FAIL)->seen, "the daemon has no [%s]; its configuration is %s", walk->view->server,
             file);
        fill(walk->results[id].cause,
             "The daemon does not know the server \"%s\": the section was written after it read its "
             "configuration, or stands in a file it does not read.",
             walk->view->server);
        fill(walk->results[id].fix,
             "pgcoffer reload, if [%s] stands in %s or in conf.d beside it; otherwise put it there first",
             walk->view->server, file);
        return false;
    }
    if (!walk->before->is_told[id])
        fill(begin(walk, id, CHECK_PASS)->seen, "the daemon has a section [%s]", walk->view->server);
    return true;
}

static void tell_wrong_file(const struct error *failure, struct check_result *result)
{
    result->state = CHECK_FAIL;
    fill(result->seen, "%s", failure->message);
    fill(result->cause,
         "The configuration file has an error since the daemon read it: the daemon goes on with what it read then, "
         "takes no reload, and would not start again. %s",
         failure->message);
    fill(result->fix, "%s Then: pgcoffer reload",
         failure->hint[0] != '\0' ? failure->hint : "Correct the line; \"pgcoffer config check\" reads it again.");
}

static void tell_difference(const struct config *running, const char *names, const char *restart,
                            struct check_result *result)
{
    bool has_both = names[0] != '\0' && restart[0] != '\0';

    result->state = CHECK_WARN;
    fill(result->seen, "changed in the file: %s%s%s", names, has_both ? ", " : "", restart);
    fill(result->cause, "The daemon works with older settings than those in %s, which is what was checked here.",
         running->path);
    fill(result->fix, "%s", restart[0] != '\0' ? "systemctl restart pgcofferd" : "pgcoffer reload");
}

void check_configuration(const struct config *running, const struct config *present, const struct error *failure,
                         const char *server, struct check_result *ret_result)
{
    struct check_result *result = ret_result;
    const struct server_config *old_server = NULL, *new_server = NULL;
    char names[CONFIG_TEXT_SIZE], restart[CONFIG_TEXT_SIZE];
    struct error ignored;

    *result = (struct check_result){.id = CHECK_ID_daemon_configuration, .state = CHECK_PASS};
    if (present == NULL) {
        tell_wrong_file(failure, result);
        return;
    }
    if (!config_find_server(present, server, &new_server, &ignored)) {
        result->state = CHECK_WARN;
        fill(result->seen, "%s has no [%s]", running->path, server);
        fill(result->cause,
             "The section [%s] was removed from the configuration file, but the daemon still works with it.", server);
        fill(result->fix, "pgcoffer reload, to give the server up; otherwise write [%s] again", server);
        return;
    }
    if (!config_find_server(running, server, &old_server, &ignored)) {
        result->state = CHECK_FAIL;
        fill(result->seen, "[%s] stands in %s, and the daemon does not know it", server, running->path);
        fill(result->cause, "The section [%s] is new: the daemon has not read the configuration file since.", server);
        fill(result->fix, "pgcoffer reload");
        return;
    }
    config_differences(&old_server->settings, &new_server->settings, names);
    config_restart_needed(running, present, restart);
    if (names[0] != '\0' || restart[0] != '\0')
        tell_difference(running, names, restart, result);
    else
        fill(result->seen, "[%s] is as in %s", server, running->path);
}

/* ---- the receiver ---- */

/* The failed check of the connection that this fault is a consequence of. */
static enum check_id find_reason(const struct daemon_walk *walk, enum check_id named)
{
    const struct check_states *before = walk->before;

    if (named != CHECK_ID_NOTHING && before->is_told[named] && before->state[named] == CHECK_FAIL)
        return named;
    for (enum check_id id = 0; id < CHECK_COUNT && check_rows[id].level <= CHECK_LEVEL_SHOW; id++)
        if (before->is_told[id] && before->state[id] == CHECK_FAIL && !check_rows[id].is_negative)
            return id;
    return CHECK_ID_NOTHING;
}

static void tell_fault(struct daemon_walk *walk, const char *state, const json_t *fault)
{
    const enum check_id id = CHECK_ID_receiver_streaming;
    const char *message = json_text_or(fault, "message", "it does not say why");
    const char *hint = json_text_or_null(fault, "hint");
    enum check_id named = CHECK_ID_NOTHING;

    if (!check_find(json_text_or(fault, "check", ""), &named))
        named = CHECK_ID_NOTHING;
    enum check_id reason = find_reason(walk, named);
    if (reason != CHECK_ID_NOTHING) {
        fill(begin(walk, id, CHECK_SKIP)->seen, "not looked at: %s failed (the receiver is in state %s)",
             check_rows[reason].name, state);
        return;
    }
    bool is_mended =
        named != CHECK_ID_NOTHING && walk->before->is_told[named] && walk->before->state[named] != CHECK_SKIP;
    fill(begin(walk, id, is_mended ? CHECK_WARN : CHECK_FAIL)->seen, "state %s; %s", state, message);
    if (is_mended) {
        fill(walk->results[id].cause, "The WAL receiver's last attempt failed (%s), and %s finds nothing wrong now.",
             message, check_rows[named].name);
        fill(walk->results[id].fix, "Wait: the receiver tries again by itself. pgcoffer status %s shows it.",
             walk->view->server);
        return;
    }
    fill(walk->results[id].cause, "The WAL receiver does not stream: %s", message);
    if (!text_is_empty(hint))
        fill(walk->results[id].fix, "%s", hint);
    else
        fill(walk->results[id].fix, "pgcoffer status %s, and journalctl -u pgcofferd", walk->view->server);
}

/* It streams, and yet something is to be done: renewed files that cannot be used, say. */
static void look_at_warning(struct daemon_walk *walk, const json_t *warning)
{
    const enum check_id id = CHECK_ID_receiver_streaming;
    const char *message = json_text_or(warning, "message", "it does not say what");
    enum check_id named = CHECK_ID_NOTHING;

    if (check_find(json_text_or(warning, "check", ""), &named) && walk->before->is_told[named] &&
        (walk->before->state[named] == CHECK_FAIL || walk->before->state[named] == CHECK_WARN))
        return; /* told there */
    walk->results[id].state = CHECK_WARN;
    fill(walk->results[id].cause, "The WAL receiver streams, but warns: %s", message);
    fill(walk->results[id].fix, "%s",
         json_text_or(warning, "hint", "See pgcoffer status and journalctl -u pgcofferd."));
}

static bool look_at_receiver(struct daemon_walk *walk)
{
    const enum check_id id = CHECK_ID_receiver_streaming;
    const json_t *receiver = json_object_get(walk->server, "receiver");
    const json_t *fault = json_object_get(receiver, "error");
    const char *state = json_text_or(receiver, "state", "unknown");
    const char *version = json_text_or(receiver, "tls_version", "");

    if (strcmp(state, "streaming") == 0 && version[0] != '\0') {
        fill(begin(walk, id, CHECK_PASS)->seen, "streaming since %s over %s, %s", json_text_or(receiver, "since", "?"),
             version, json_text_or(receiver, "tls_cipher", "?"));
        if (json_is_object(json_object_get(receiver, "warning")))
            look_at_warning(walk, json_object_get(receiver, "warning"));
        return true;
    }
    if (strcmp(state, "streaming") == 0) {
        enum check_id reason = find_reason(walk, CHECK_ID_protocol_mode);
        if (reason != CHECK_ID_NOTHING) {
            fill(begin(walk, id, CHECK_SKIP)->seen, "not looked at: %s failed (it streams without TLS)",
                 check_rows[reason].name);
            return true;
        }
        fill(begin(walk, id, CHECK_FAIL)->seen, "streaming since %s without TLS", json_text_or(receiver, "since", "?"));
        fill(walk->results[id].cause,
             "The WAL receiver streams in clear text: everything the database writes can be read on the "
             "way.");
        fill(walk->results[id].fix, "tls_mode = verify-full in section [%s], then pgcoffer reload", walk->view->server);
        return true;
    }
    bool has_begun = strcmp(state, "starting") == 0 || strcmp(state, "connecting") == 0;
    if (!json_is_object(fault) && has_begun && find_reason(walk, CHECK_ID_NOTHING) == CHECK_ID_NOTHING) {
        fill(begin(walk, id, CHECK_WARN)->seen, "state %s since %s", state, json_text_or(receiver, "since", "?"));
        fill(walk->results[id].cause, "The WAL receiver has only begun: it is not streaming yet.");
        fill(walk->results[id].fix, "Look again in a moment: pgcoffer status %s", walk->view->server);
        return false;
    }
    tell_fault(walk, state, fault);
    return false;
}

static void look_at_lag(struct daemon_walk *walk)
{
    const enum check_id id = CHECK_ID_receiver_lag;
    const json_t *receiver = json_object_get(walk->server, "receiver");
    struct wal_position theirs, ours;
    char text[TEXT_BYTES_SIZE], most[TEXT_BYTES_SIZE];
    struct error ignored;

    if (!wal_position_parse(json_text_or(receiver, "server_position", ""), &theirs, &ignored) ||
        !wal_position_parse(json_text_or(receiver, "flushed", ""), &ours, &ignored)) {
        fill(begin(walk, id, CHECK_SKIP)->seen, "the receiver has not told its position yet");
        return;
    }
    uint64_t lag = theirs.value > ours.value ? theirs.value - ours.value : 0;
    text_format_bytes(lag, text);
    text_format_bytes(LAG_TO_WARN_OF, most);
    fill(begin(walk, id, lag > LAG_TO_WARN_OF ? CHECK_WARN : CHECK_PASS)->seen,
         "%s behind, durable up to %s on timeline %" PRId64, text, json_text_or(receiver, "flushed", "?"),
         json_number_or(receiver, "timeline", 0));
    walk->results[id].measure =
        (struct check_measure){.unit = "bytes", .value = (int64_t)lag, .warn = LAG_TO_WARN_OF, .critical = -1};
    if (lag <= LAG_TO_WARN_OF)
        return;
    fill(walk->results[id].cause,
         "The WAL receiver is %s behind the server, more than %s: this much is lost if the server is "
         "lost now.",
         text, most);
    fill(walk->results[id].fix,
         "pgcoffer status %s shows whether it catches up; if not, the network or the disk of the repository "
         "is slower than the server writes",
         walk->view->server);
}

static void look(struct daemon_walk *walk)
{
    const struct check_daemon_view *view = walk->view;

    if (view->server[0] == '\0' || view->not_asked != NULL) {
        skip_rest(walk, 0,
                  view->not_asked != NULL ? view->not_asked
                                          : "no configuration was read: the daemon knows a server by its section");
        return;
    }
    skip_rest(walk, 0, "not looked at: the daemon does not answer");
    if (!look_at_daemon(walk))
        return;
    skip_rest(walk, CHECK_ID_daemon_configuration, "not looked at: daemon.configuration failed");
    walk->server = find_server(view);
    if (!look_at_configuration(walk))
        return;
    skip_rest(walk, CHECK_ID_receiver_lag, "not looked at: the WAL receiver does not stream");
    if (look_at_receiver(walk))
        look_at_lag(walk);
}

bool check_daemon(const struct check_daemon_view *view, const struct check_states *before,
                  const struct check_options *options, check_sink *sink, void *context, struct error *err)
{
    struct daemon_walk walk = {.view = view, .before = before};

    look(&walk);
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (check_rows[id].level == CHECK_LEVEL_DAEMON && options->is_wanted[id] && !before->is_told[id] &&
            !sink(context, &walk.results[id], err))
            return false;
    return true;
}
