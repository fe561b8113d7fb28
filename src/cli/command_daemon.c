#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_internal.h"
#include "cli/restorable_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/wal/position.h"

/* ping, status, reload, shutdown */

/* A daemon that does not end by itself in this time will not. */
#define SHUTDOWN_MILLISECONDS 60000

static void print_ping(const struct invocation *invocation, const json_t *result)
{
    output_line(invocation, "pgcofferd %s is there: pid %" PRId64 ", since %s", json_text_or(result, "version", "?"),
                json_number_or(result, "pid", 0), json_text_or(result, "started_at", "?"));
}

bool command_ping(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, print_ping, err);
}

/* ---- status ---- */

/* How many bytes of WAL the server has and we do not. */
static void set_lag(struct table *table, size_t column, const json_t *receiver)
{
    const char *theirs = json_text_or_null(receiver, "server_position");
    const char *ours = json_text_or_null(receiver, "flushed");
    struct wal_position end;
    struct wal_position flushed;
    struct error ignored;
    char text[TEXT_BYTES_SIZE] = "-";

    if (theirs != NULL && ours != NULL && wal_position_parse(theirs, &end, &ignored) &&
        wal_position_parse(ours, &flushed, &ignored))
        text_format_bytes(end.value > flushed.value ? end.value - flushed.value : 0, text);
    table_set(table, column, "%s", text);
}

/* Nothing is known of a server that was never reached. */
static void set_positions(struct table *table, const json_t *receiver)
{
    const json_t *known = json_number_or(receiver, "timeline", 0) > 0 ? receiver : NULL;

    table_set_text(table, 3, known, "timeline");
    table_set_text(table, 4, known, "flushed");
    set_lag(table, 5, known);
}

static void add_server(struct table *table, const json_t *server)
{
    const json_t *receiver = json_object_get(server, "receiver");
    const json_t *backup = json_object_get(server, "last_backup");
    const char *state = json_text_or_null(receiver, "state");

    table_add_row(table);
    table_set_text(table, 0, server, "server");
    table_set_text(table, 1, receiver, "state");
    table_set_text(table, 2, receiver, "since");
    set_positions(table, receiver);
    table_set_text(table, 6, receiver, "slot");
    table_set_text(table, 7, receiver, "tls_version");
    table_set(table, 8, "%s", json_text_or(backup, "id", "none"));
    if (state != NULL && (strcmp(state, "alarm") == 0 || strcmp(state, "stopped") == 0))
        table_mark_bad(table);
}

/* `key` is "error" or "warning" of the receiver. */
static void print_fault(const struct invocation *invocation, const json_t *server, const char *key)
{
    const json_t *fault = json_object_get(json_object_get(server, "receiver"), key);
    const char *name = json_text_or(server, "server", "?");
    const char *message = json_text_or_null(fault, "message");
    const char *detail = json_text_or_null(fault, "detail");
    const char *hint = json_text_or_null(fault, "hint");
    const char *check = json_text_or_null(fault, "check");

    if (message == NULL)
        return;
    output_line(invocation, "%s", "");
    output_line(invocation, "%s: %s%s", name, strcmp(key, "warning") == 0 ? "warning: " : "", message);
    if (!text_is_empty(detail))
        output_line(invocation, "  detail: %s", detail);
    if (!text_is_empty(hint))
        output_line(invocation, "  hint: %s", hint);
    if (!text_is_empty(check))
        output_line(invocation, "  check: %s", check);
}

/* "primary: 12 GB free on "/srv" (...), 256 MB of it kept for WAL; WAL takes 1.2 GB an hour: full at ..." */
static void print_room(const struct invocation *invocation, const json_t *server)
{
    const json_t *room = json_object_get(json_object_get(server, "receiver"), "room");
    const char *name = json_text_or(server, "server", "?");
    const char *disk = json_text_or(room, "disk", "?");
    const char *full_at = json_text_or_null(room, "full_at");
    int64_t hourly = json_number_or(room, "rate", 0);
    char free_text[TEXT_BYTES_SIZE], reserve[TEXT_BYTES_SIZE], rate[TEXT_BYTES_SIZE];

    if (!json_is_object(room))
        return;
    text_format_bytes((uint64_t)json_number_or(room, "free", 0), free_text);
    text_format_bytes((uint64_t)json_number_or(room, "reserve", 0), reserve);
    text_format_bytes((uint64_t)hourly, rate);
    char *forecast SCOPED(scoped_free) =
        hourly <= 0
            ? memory_text("too little WAL was seen for a forecast")
            : memory_text("WAL takes %s an hour: %s%.19s%s", rate, full_at != NULL ? "full at " : "room for years",
                          full_at != NULL ? full_at : "", full_at != NULL ? "Z" : "");
    output_line(invocation, "%s: %s free on %s, %s of it kept for WAL; %s", name, free_text, disk, reserve, forecast);
}

/* "primary: synchronous standby: quorum, by synchronous_standby_names = 'ANY 1 (a, pgcoffer)'" */
static void print_sync(const struct invocation *invocation, const json_t *server)
{
    const json_t *sync = json_object_get(json_object_get(server, "receiver"), "sync");
    const char *name = json_text_or(server, "server", "?");
    const char *state = json_text_or_null(sync, "state");
    const char *names = json_text_or_null(sync, "names");
    bool is_waited_for = state != NULL && names != NULL && strcmp(state, "async") != 0;

    if (is_waited_for || json_is_true(json_object_get(sync, "wanted")))
        output_line(invocation, "%s: synchronous standby: %s, by synchronous_standby_names = %s%s%s", name,
                    state != NULL ? state : "unknown", names != NULL ? "'" : "", names != NULL ? names : "(not known)",
                    names != NULL ? "'" : "");
}

/* "primary: warning: 2 gaps in the WAL, the newest from 0/3000000 to 0/5000000 on timeline 1 (removed by ...)" */
static void print_gaps(const struct invocation *invocation, const json_t *server)
{
    const json_t *gaps = json_object_get(json_object_get(server, "receiver"), "gaps");
    const json_t *newest = json_object_get(gaps, "newest");
    const char *name = json_text_or(server, "server", "?");
    const char *start = json_text_or(newest, "start", "?");
    const char *end = json_text_or_null(newest, "end");
    const char *what = json_text_or(newest, "what", "?");
    long long count = (long long)json_number_or(gaps, "count", 0);

    if (count == 0)
        return;
    output_line(invocation, "%s: warning: %lld gap%s in the WAL, the newest from %s %s%s on timeline %lld (%s)", name,
                count, count == 1 ? "" : "s", start, end != NULL ? "to " : "on,", end != NULL ? end : "",
                (long long)json_number_or(newest, "timeline", 0), what);
    output_line(invocation,
                "  hint: A backup from before it reaches no further; pgcoffer list %s and pgcoffer wal status %s tell.",
                name, name);
}

static char *NEVER_NULL place_of(const json_t *host)
{
    const char *name = json_text_or(host, "host", "?");
    const char *role = json_text_or_null(host, "role");
    char *printable SCOPED(scoped_free) = output_printable(name);

    return memory_text("%s port %" PRId64 "%s%s%s", printable, json_number_or(host, "port", 0),
                       role != NULL ? " (" : "", role != NULL ? role : "", role != NULL ? ")" : "");
}

/* "primary: from db2 port 5432 (primary); besides db1 port 5432 (standby)" */
static void print_hosts(const struct invocation *invocation, const json_t *server)
{
    const json_t *hosts = json_object_get(json_object_get(server, "receiver"), "hosts");
    const char *name = json_text_or(server, "server", "?");
    char *used SCOPED(scoped_free) = memory_copy_text("from no host yet");
    char *others SCOPED(scoped_free) = memory_copy_text("");
    const json_t *host;
    size_t i;

    json_array_foreach(hosts, i, host)
    {
        char *place SCOPED(scoped_free) = place_of(host);
        bool is_used = json_is_true(json_object_get(host, "in_use"));
        char *longer = is_used ? memory_text("from %s", place)
                               : memory_text("%s%s%s", others, others[0] != '\0' ? ", " : "", place);
        free(is_used ? used : others);
        *(is_used ? &used : &others) = longer;
    }
    if (!json_is_array(hosts))
        return;
    output_line(invocation, "%s: %s; besides %s", name, used, others);
    json_array_foreach(hosts, i, host)
    {
        const char *problem = json_text_or_null(host, "problem");
        if (problem != NULL)
            output_line(invocation, "  %s", problem);
    }
}

/* The gateway or the port of metrics, where there is one; what is wrong with it in the words of the fault. */
static void print_port(const struct invocation *invocation, const char *name, const json_t *port)
{
    static const char *const faults[] = {"error", "warning"};
    const char *state = json_text_or_null(port, "state");
    const char *host = json_text_or_null(port, "host");
    const char *end = json_text_or_null(json_object_get(port, "certificate"), "not_after");

    if (state == NULL)
        return;
    output_line(invocation, "%s: %s, %s port %" PRId64 ", connections: %" PRId64 "%s%s", name, state,
                text_is_empty(host) ? "localhost" : host, json_number_or(port, "port", 0),
                json_number_or(port, "connections", 0), end != NULL ? ", certificate until " : "",
                end != NULL ? end : "");
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const json_t *fault = json_object_get(port, faults[i]);
        const char *message = json_text_or_null(fault, "message");
        const char *hint = json_text_or_null(fault, "hint");
        if (message != NULL)
            output_line(invocation, "%s: %s: %s%s%s", name, faults[i], message,
                        text_is_empty(hint) ? "" : "\n  hint: ", text_is_empty(hint) ? "" : hint);
    }
}

static void print_status(const struct invocation *invocation, const json_t *status)
{
    static const char *const titles[] = {"SERVER",  "RECEIVER", "SINCE", ">TIMELINE",  "FLUSHED",
                                         ">BEHIND", "SLOT",     "TLS",   "LAST BACKUP"};
    const json_t *servers = json_object_get(status, "servers");
    const char *version = json_text_or(status, "version", "?");
    const char *base = json_text_or(status, "base_dir", "?");
    const json_t *server;
    size_t running = 0;
    const json_t *job;
    size_t i;

    json_array_foreach(json_object_get(status, "jobs"), i, job)
    {
        running += json_text_is(job, "state", "running");
    }
    output_line(invocation, "pgcofferd %s, pid %" PRId64 ", repository %s, running jobs: %zu", version,
                json_number_or(status, "pid", 0), base, running);
    print_port(invocation, "gateway", json_object_get(status, "gateway"));
    print_port(invocation, "metrics", json_object_get(status, "exporter"));
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 9);
    json_array_foreach(servers, i, server)
    {
        add_server(table, server);
    }
    table_print(table);
    json_array_foreach(servers, i, server)
    {
        print_hosts(invocation, server);
        print_sync(invocation, server);
    }
    json_array_foreach(servers, i, server)
    {
        print_room(invocation, server);
        stored_print(invocation, json_text_or_null(server, "server"), json_object_get(server, "survey"));
    }
    json_array_foreach(servers, i, server)
    {
        print_fault(invocation, server, "error");
        print_fault(invocation, server, "warning");
        print_gaps(invocation, server);
    }
}

bool command_status(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, client_gather_lists, print_status, err);
}

/* ---- reload, shutdown ---- */

static void print_reload(const struct invocation *invocation, const json_t *result)
{
    const char *restart = json_text_or_null(result, "restart_needed");
    size_t count = json_array_size(json_object_get(result, "servers"));

    output_line(invocation, "the configuration is read again: %zu server%s", count, count == 1 ? "" : "s");
    if (!text_is_empty(restart))
        output_warning(invocation, "these changes need a restart of the daemon: %s", restart);
}

bool command_reload(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, print_reload, err);
}

/* The connection ends with the daemon. */
static bool wait_for_end(struct control_stream *stream, struct error *err)
{
    control_stream_set_timeout(stream, SHUTDOWN_MILLISECONDS);
    for (;;) {
        json_t *message SCOPED(scoped_json) = NULL;
        if (!control_receive(stream, &message, err)) {
            if (err->errnum != ETIMEDOUT)
                return true; /* broken off: it has ended all the same */
            error_wrap(err, "the daemon has not ended after %d s", SHUTDOWN_MILLISECONDS / 1000);
            return error_hint(err, "See `systemctl status pgcofferd` or its log.");
        }
        if (message == NULL)
            return true;
    }
}

static void print_shutdown(const struct invocation *invocation, const json_t *result)
{
    (void)result;
    output_line(invocation, "the daemon has ended");
}

bool command_shutdown(struct invocation *invocation, struct error *err)
{
    struct session_source *source SCOPED(scoped_session_source) = NULL;
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;
    struct conversation conversation SCOPED(conversation_done) = {.invocation = invocation};
    struct request request SCOPED(request_done) = {0};
    json_t *result SCOPED(scoped_json) = NULL;

    if (!invocation_request(invocation, &request, err) || !session_source_new(invocation, false, &source, err) ||
        !session_source_open(source, &stream, err) ||
        !conversation_run(&conversation, stream, &request, &result, err) || !wait_for_end(stream, err))
        return false;
    client_print(invocation, result, print_shutdown);
    return true;
}
