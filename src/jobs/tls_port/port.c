#include "jobs/tls_port/port_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "jobs/tls_port/context_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define BACKLOG               128
#define ACCEPTED_AT_ONCE      16
#define RETRY_SECONDS         1 /* after the process ran out of descriptors, or could not listen */
#define DAY_SECONDS           86400
#define REFUSALS_MICROSECONDS INT64_C(10000000)
#define REFUSALS_LOGGED       20

void port_tell_changed(const struct port *port)
{
    if (port->changed != NULL)
        port->changed(port->changed_context);
}

/* ---- who comes ---- */

static void watch_sockets(struct port *port, bool is_on)
{
    for (size_t i = 0; i < port->socket_count; i++) {
        if (is_on)
            event_add(port->ready[i], NULL);
        else if (port->ready[i] != NULL)
            event_del(port->ready[i]);
    }
}

static void on_ready(evutil_socket_t fd, short what, void *context)
{
    const struct timeval delay = {.tv_sec = RETRY_SECONDS};
    struct port *port = context;

    (void)what;
    for (int i = 0; i < ACCEPTED_AT_ONCE; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        int accepted = accept4(fd, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted >= 0) {
            port->accepted(port->owner, accepted, &address);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            log_warning("could not accept a connection: %s", strerror(errno));
            watch_sockets(port, false);
            evtimer_add(port->retry, &delay);
        }
        return;
    }
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    struct port *port = context;

    (void)fd;
    (void)what;
    if (port->is_listening)
        watch_sockets(port, true);
    else
        port_listen(port);
}

void port_listen(struct port *port)
{
    const struct timeval delay = {.tv_sec = RETRY_SECONDS};

    if (port->is_listening || port->is_ending)
        return;
    for (size_t i = 0; i < port->socket_count; i++) {
        if (listen(port->sockets[i], BACKLOG) < 0) {
            /* Another program has bound it, too, and was the first to listen. */
            port_log_refusal(port, "could not listen", strerror(errno));
            evtimer_add(port->retry, &delay);
            return;
        }
        if (port->ready[i] == NULL)
            port->ready[i] = event_new(port->events, port->sockets[i], EV_READ | EV_PERSIST, on_ready, port);
        if (port->ready[i] == NULL)
            abort();
    }
    watch_sockets(port, true);
    port->is_listening = true;
    port_tell_changed(port);
}

void port_log_refusal(struct port *port, const char *address, const char *reason)
{
    int64_t now = clock_monotonic();

    if (port->refusals_since == 0 || now - port->refusals_since >= REFUSALS_MICROSECONDS) {
        if (port->refusals_silent > 0)
            log_warning("%u more were not let in, or dropped", port->refusals_silent);
        port->refusals_since = now;
        port->refusals_logged = port->refusals_silent = 0;
    }
    if (port->refusals_logged >= REFUSALS_LOGGED) {
        port->refusals_silent++;
        return;
    }
    port->refusals_logged++;
    log_warning("%s: %s", address, reason);
}

/* ---- its files ---- */

static void set_error(json_t **place, const json_t *error)
{
    json_decref(*place);
    *place = error == NULL || json_is_null(error) ? NULL : json_deep_copy(error);
}

static void warn(json_t **place, const struct error *warning)
{
    log_failure(LOG_LEVEL_WARNING, warning);
    json_decref(*place);
    *place = control_failure_to_json(warning);
}

static void keep_old(struct port *port, const json_t *message)
{
    struct error failure;

    control_error_from_json(message, &failure);
    if (port->tls != NULL)
        error_wrap(&failure, "%s's new files cannot be used, the old ones stay", port->words->owner);
    else
        error_wrap(&failure, "%s does not listen", port->words->owner);
    warn(&port->fault, &failure);
}

/* What is told of a certificate that works, once a day. */
static void warn_of_end(struct port *port)
{
    const struct certificate_text *certificate = &port->certificate;
    struct error warning;

    port->certificate.days_left = certificate_days_left(certificate->not_after);
    if (port->tls == NULL || certificate->days_left >= port->warn_days)
        return;
    if (certificate->days_left < 0)
        error_set(&warning, ERROR_TLS, "%s's certificate (subject \"%s\") expired on %s", port->words->owner,
                  certificate->subject, certificate->not_after_text);
    else
        error_set(&warning, ERROR_TLS, "%s's certificate (subject \"%s\") ends on %s, in %ld days", port->words->owner,
                  certificate->subject, certificate->not_after_text, certificate->days_left);
    error_hint(&warning, "Renew it; no restart is needed.");
    warn(&port->warning, &warning);
}

void port_warn_unconfined(struct port *port)
{
    struct error warning;

    error_set(&warning, ERROR_FAILED,
              "this kernel has neither Landlock nor seccomp: whoever breaks into %s's process has the files of the "
              "daemon's user",
              port->words->owner);
    error_hint(&warning, "Use a kernel with one of the two, or restrict the port to the hosts that need it "
                         "(firewall).");
    warn(&port->unconfined, &warning);
}

static void on_day(evutil_socket_t fd, short what, void *context)
{
    struct port *port = context;

    (void)fd;
    (void)what;
    warn_of_end(port);
    port_tell_changed(port);
}

static void use_files(struct port *port, SSL_CTX *context, const json_t *warning)
{
    struct error words;

    SSL_CTX_free(port->tls);
    port->tls = context;
    set_error(&port->fault, NULL);
    set_error(&port->warning, warning);
    if (port->warning != NULL) {
        control_error_from_json(port->warning, &words);
        log_failure(LOG_LEVEL_WARNING, &words);
    }
    warn_of_end(port);
    if (port->renewed != NULL)
        port->renewed(port->owner);
    log_info("serves certificate \"%s\", valid until %s", port->certificate.subject, port->certificate.not_after_text);
    port_listen(port);
}

void port_take_files(struct port *port, const json_t *message)
{
    const struct port_files files = {
        .certificate = json_text_or_null(message, "certificate"),
        .key = json_text_or_null(message, "key"),
        .authorities = json_text_or_null(message, "authorities"),
        .revocations = json_text_or_null(message, "revocations"),
    };
    struct certificate_text certificate;
    struct error failure;
    SSL_CTX *context;

    if (files.certificate == NULL || files.key == NULL || (port->demands_client && files.authorities == NULL)) {
        keep_old(port, message);
    } else if (port_context_new(&files, port->words, port->least_version, &context, &certificate, &failure)) {
        port->certificate = certificate;
        use_files(port, context, json_object_get(message, "warning"));
    } else {
        json_t *fault SCOPED(scoped_json) = control_error_to_json(&failure);
        keep_old(port, fault);
    }
    port_tell_changed(port);
}

/* ---- life ---- */

void port_count_handshake(struct port *port, bool is_good)
{
    if (is_good)
        port->handshakes_ok++;
    else
        port->handshakes_refused++;
    port_tell_changed(port);
}

json_t *port_report(const struct port *port, size_t connections)
{
    const json_t *warning = port->fault != NULL     ? port->fault
                            : port->warning != NULL ? port->warning
                                                    : port->unconfined;
    json_t *certificate = json_null();

    if (port->tls != NULL)
        certificate = json_pack("{s:s, s:s, s:s}", "subject", port->certificate.subject, "not_after",
                                port->certificate.not_after_text, "fingerprint", port->certificate.fingerprint);
    return json_pack("{s:s, s:I, s:o, s:O?, s:O?, s:{s:I, s:I}}", "state", port->is_listening ? "listening" : "waiting",
                     "connections", (json_int_t)connections, "certificate", certificate, "error",
                     port->is_listening ? NULL : port->fault, "warning", port->is_listening ? warning : NULL,
                     "handshakes", "ok", (json_int_t)port->handshakes_ok, "refused",
                     (json_int_t)port->handshakes_refused);
}

void port_begin(struct port *port, struct event_base *events)
{
    const struct timeval day = {.tv_sec = DAY_SECONDS};

    port->events = events;
    port->retry = evtimer_new(events, on_retry, port);
    port->day = event_new(events, -1, EV_PERSIST, on_day, port);
    if (port->retry == NULL || port->day == NULL || event_add(port->day, &day) < 0)
        abort();
}

void port_close(struct port *port)
{
    port->is_ending = true;
    evtimer_del(port->retry);
    for (size_t i = 0; i < port->socket_count; i++) {
        if (port->ready[i] != NULL)
            event_free(TAKE(port->ready[i]));
        close(port->sockets[i]);
    }
    port->socket_count = 0;
}

void port_end(struct port *port)
{
    port->changed = NULL;
    port_close(port);
    event_free(port->retry);
    event_free(port->day);
    SSL_CTX_free(port->tls);
    json_decref(port->fault);
    json_decref(port->warning);
    json_decref(port->unconfined);
}
