#include "jobs/gateway/gateway_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "jobs/gateway/context_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define BACKLOG               128
#define ACCEPTED_AT_ONCE      16
#define RETRY_SECONDS         1 /* after the process ran out of descriptors */
#define DAY_SECONDS           86400
#define REFUSALS_MICROSECONDS INT64_C(10000000)
#define REFUSALS_LOGGED       20

/* A restore has one connection a job and one more, replay another: 16 jobs and what others of that machine do. */
const struct gateway_limits gateway_usual_limits = {
    .handshakes = 128,
    .handshakes_of_address = 32,
    .connections = 120, /* a little less than the supervisor takes of a gateway */
    .connections_of_address = 64,
    .connections_of_identity = 40,
    .handshake_seconds = 10,
    .idle_seconds = 4000, /* a session itself ends after an hour without a request */
    .stall_seconds = 120,
    .parting_seconds = 10,
};

/* ---- who comes ---- */

static bool is_unfinished(const struct connection *connection)
{
    return connection->state == CONNECTION_SHAKES_HANDS || connection->state == CONNECTION_LINGERS;
}

static size_t count_unfinished(const struct gateway *gateway, const char *place)
{
    size_t count = 0;

    for (const struct connection *at = gateway->first; at != NULL; at = at->next)
        if (is_unfinished(at) && strcmp(at->place, place) == 0)
            count++;
    return count;
}

static const char *most_crowded_place(const struct gateway *gateway)
{
    const char *place = "";
    size_t most = 0;

    for (const struct connection *at = gateway->first; at != NULL; at = at->next) {
        size_t found = is_unfinished(at) ? count_unfinished(gateway, at->place) : 0;
        if (found > 0 && found >= most) { /* newest first: of many with as many, who has waited longest */
            most = found;
            place = at->place;
        }
    }
    return place;
}

/* Who waits silently for long gives way to who comes: a crowd of half-open connections cannot close the door, as one
 * that means it is through the handshake long before its turn. */
static void displace_oldest(struct gateway *gateway, const char *place)
{
    struct connection *oldest = NULL;

    for (struct connection *at = gateway->first; at != NULL; at = at->next) /* newest first */
        if (is_unfinished(at) && strcmp(at->place, place) == 0)
            oldest = at;
    if (oldest != NULL)
        connection_drop(oldest, oldest->state == CONNECTION_LINGERS
                                    ? NULL
                                    : "no connection: too many handshakes at once, the oldest is given up");
}

static void take_connection(struct gateway *gateway, int fd, const struct sockaddr_storage *address)
{
    char text[GATEWAY_ADDRESS_SIZE], place[GATEWAY_ADDRESS_SIZE];

    gateway_describe_address(address, text, place);
    if (count_unfinished(gateway, place) >= gateway->limits->handshakes_of_address)
        displace_oldest(gateway, place);
    else if (gateway->handshake_count >= gateway->limits->handshakes)
        displace_oldest(gateway, most_crowded_place(gateway));
    connection_new(gateway, fd, address);
}

static void watch_sockets(struct gateway *gateway, bool is_on)
{
    for (size_t i = 0; i < gateway->socket_count; i++) {
        if (is_on)
            event_add(gateway->ready[i], NULL);
        else if (gateway->ready[i] != NULL)
            event_del(gateway->ready[i]);
    }
}

static void on_ready(evutil_socket_t fd, short what, void *context)
{
    const struct timeval delay = {.tv_sec = RETRY_SECONDS};
    struct gateway *gateway = context;

    (void)what;
    for (int i = 0; i < ACCEPTED_AT_ONCE; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        int accepted = accept4(fd, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted >= 0) {
            take_connection(gateway, accepted, &address);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            log_warning("could not accept a connection: %s", strerror(errno));
            watch_sockets(gateway, false);
            evtimer_add(gateway->retry, &delay);
        }
        return;
    }
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    watch_sockets(context, true);
}

static bool listen_now(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->socket_count; i++) {
        if (listen(gateway->sockets[i], BACKLOG) < 0) {
            log_warning("could not listen: %s", strerror(errno));
            return false;
        }
        gateway->ready[i] = event_new(gateway->events, gateway->sockets[i], EV_READ | EV_PERSIST, on_ready, gateway);
        if (gateway->ready[i] == NULL)
            abort();
    }
    watch_sockets(gateway, true);
    return true;
}

void gateway_log_refusal(struct gateway *gateway, const char *address, const char *reason)
{
    int64_t now = clock_monotonic();

    if (gateway->refusals_since == 0 || now - gateway->refusals_since >= REFUSALS_MICROSECONDS) {
        if (gateway->refusals_silent > 0)
            log_warning("%u more were not let in, or dropped", gateway->refusals_silent);
        gateway->refusals_since = now;
        gateway->refusals_logged = gateway->refusals_silent = 0;
    }
    if (gateway->refusals_logged >= REFUSALS_LOGGED) {
        gateway->refusals_silent++;
        return;
    }
    gateway->refusals_logged++;
    log_warning("%s: %s", address, reason);
}

/* ---- its files ---- */

static void set_error(json_t **place, const json_t *error)
{
    json_decref(*place);
    *place = error == NULL || json_is_null(error) ? NULL : json_deep_copy(error);
    if (*place != NULL)
        json_object_del(*place, "event");
}

static void keep_old(struct gateway *gateway, const json_t *message)
{
    struct error failure;

    control_error_from_json(message, &failure);
    if (gateway->tls != NULL)
        error_wrap(&failure, "the gateway's new files cannot be used, the old ones stay");
    else
        error_wrap(&failure, "the gateway does not listen");
    log_failure(LOG_LEVEL_WARNING, &failure);
    json_t *fault SCOPED(scoped_json) = control_error_to_json(&failure);
    set_error(&gateway->fault, fault);
}

/* What is told of a certificate that works, once a day. */
static void warn_of_end(struct gateway *gateway)
{
    struct error warning;

    gateway->certificate.days_left = certificate_days_left(gateway->certificate.not_after);
    if (gateway->tls == NULL || gateway->certificate.days_left >= gateway->warn_days)
        return;
    if (gateway->certificate.days_left < 0)
        error_set(&warning, ERROR_TLS, "the gateway's certificate (subject \"%s\") expired on %s",
                  gateway->certificate.subject, gateway->certificate.not_after_text);
    else
        error_set(&warning, ERROR_TLS, "the gateway's certificate (subject \"%s\") ends on %s, in %ld days",
                  gateway->certificate.subject, gateway->certificate.not_after_text, gateway->certificate.days_left);
    error_hint(&warning, "Renew it; no restart is needed.");
    log_failure(LOG_LEVEL_WARNING, &warning);
    json_t *message SCOPED(scoped_json) = control_error_to_json(&warning);
    set_error(&gateway->warning, message);
}

void gateway_warn_unconfined(struct gateway *gateway)
{
    struct error warning;

    error_set(
        &warning, ERROR_FAILED,
        "this kernel has neither Landlock nor seccomp: whoever breaks into the gateway's process has the files of "
        "the daemon's user");
    error_hint(&warning, "Use a kernel with one of the two, or restrict the port to the database hosts (firewall).");
    log_failure(LOG_LEVEL_WARNING, &warning);
    json_t *message SCOPED(scoped_json) = control_error_to_json(&warning);
    set_error(&gateway->unconfined, message);
}

static void on_day(evutil_socket_t fd, short what, void *context)
{
    struct gateway *gateway = context;

    (void)fd;
    (void)what;
    warn_of_end(gateway);
    if (gateway->changed != NULL)
        gateway->changed(gateway);
}

static void use_files(struct gateway *gateway, SSL_CTX *context, const json_t *warning)
{
    struct error words;

    SSL_CTX_free(gateway->tls);
    gateway->tls = context;
    set_error(&gateway->fault, NULL);
    set_error(&gateway->warning, warning);
    if (gateway->warning != NULL) {
        control_error_from_json(gateway->warning, &words);
        log_failure(LOG_LEVEL_WARNING, &words);
    }
    warn_of_end(gateway);
    for (struct connection *at = gateway->first; at != NULL; at = at->next) /* what is dropped is freed later */
        if (at->state == CONNECTION_PUMPS)
            connection_verify_again(at);
    log_info("serves certificate \"%s\", valid until %s", gateway->certificate.subject,
             gateway->certificate.not_after_text);
    if (!gateway->is_listening && !gateway->is_ending)
        gateway->is_listening = listen_now(gateway);
}

void gateway_take_files(struct gateway *gateway, const json_t *message)
{
    const struct gateway_files files = {
        .certificate = json_text_or_null(message, "certificate"),
        .key = json_text_or_null(message, "key"),
        .authorities = json_text_or_null(message, "authorities"),
        .revocations = json_text_or_null(message, "revocations"),
    };
    struct certificate_text certificate;
    struct error failure;
    SSL_CTX *context;

    if (files.certificate == NULL || files.key == NULL || files.authorities == NULL) {
        keep_old(gateway, message);
    } else if (gateway_context_new(&files, gateway->least_version, &context, &certificate, &failure)) {
        gateway->certificate = certificate;
        use_files(gateway, context, json_object_get(message, "warning"));
    } else {
        json_t *fault SCOPED(scoped_json) = control_error_to_json(&failure);
        keep_old(gateway, fault);
    }
    if (gateway->changed != NULL)
        gateway->changed(gateway);
}

/* ---- life ---- */

json_t *gateway_report(const struct gateway *gateway)
{
    const json_t *warning = gateway->fault != NULL     ? gateway->fault
                            : gateway->warning != NULL ? gateway->warning
                                                       : gateway->unconfined;
    json_t *certificate = json_null();

    if (gateway->tls != NULL)
        certificate = json_pack("{s:s, s:s, s:s}", "subject", gateway->certificate.subject, "not_after",
                                gateway->certificate.not_after_text, "fingerprint", gateway->certificate.fingerprint);
    return json_pack("{s:s, s:I, s:o, s:O?, s:O?}", "state", gateway->is_listening ? "listening" : "waiting",
                     "connections", (json_int_t)gateway->connection_count, "certificate", certificate, "error",
                     gateway->is_listening ? NULL : gateway->fault, "warning", gateway->is_listening ? warning : NULL);
}

void gateway_begin(struct gateway *gateway, struct event_base *events, const struct gateway_limits *limits)
{
    const struct timeval day = {.tv_sec = DAY_SECONDS};

    gateway->events = events;
    gateway->limits = limits;
    gateway->retry = evtimer_new(events, on_retry, gateway);
    gateway->day = event_new(events, -1, EV_PERSIST, on_day, gateway);
    if (gateway->retry == NULL || gateway->day == NULL || event_add(gateway->day, &day) < 0)
        abort();
}

static void close_sockets(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->socket_count; i++) {
        if (gateway->ready[i] != NULL)
            event_free(TAKE(gateway->ready[i]));
        close(gateway->sockets[i]);
    }
    gateway->socket_count = 0;
}

void gateway_end_softly(struct gateway *gateway)
{
    struct connection *next;

    gateway->is_ending = true;
    evtimer_del(gateway->retry);
    close_sockets(gateway);
    for (struct connection *at = gateway->first; at != NULL; at = next) {
        next = at->next;
        if (at->state != CONNECTION_PUMPS)
            connection_drop(at, NULL);
    }
    if (gateway->first == NULL)
        event_base_loopbreak(gateway->events);
}

void gateway_end(struct gateway *gateway)
{
    close_sockets(gateway);
    gateway->changed = NULL;
    for (struct connection *at = gateway->first; at != NULL; at = at->next)
        connection_drop(at, NULL);
    while (gateway->first != NULL)
        connection_free(gateway->first);
    event_free(gateway->retry);
    event_free(gateway->day);
    SSL_CTX_free(gateway->tls);
    json_decref(gateway->fault);
    json_decref(gateway->warning);
    json_decref(gateway->unconfined);
}
