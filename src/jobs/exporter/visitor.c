#include "jobs/exporter/server_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define LINGER_SECONDS 2

/* ---- what is waited for ---- */

static void await(struct visitor *visitor, short what)
{
    if ((what & EV_READ) != 0)
        event_add(visitor->read, NULL);
    else
        event_del(visitor->read);
    if ((what & EV_WRITE) != 0)
        event_add(visitor->write, NULL);
    else
        event_del(visitor->write);
}

static void set_deadline(struct visitor *visitor, int seconds)
{
    const struct timeval delay = {.tv_sec = seconds};

    evtimer_add(visitor->deadline, &delay);
}

/* ---- the end ---- */

static void on_gone(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    visitor_free(context);
}

void visitor_drop(struct visitor *visitor, const char *reason)
{
    struct exporter *exporter = visitor->exporter;

    if (visitor->state == VISITOR_GONE)
        return;
    if (reason != NULL)
        port_log_refusal(&exporter->port, visitor->address, reason);
    if (visitor->state == VISITOR_SHAKES_HANDS)
        port_count_handshake(&exporter->port, false);
    if (visitor->state == VISITOR_SHAKES_HANDS || visitor->state == VISITOR_REFUSED)
        exporter->handshake_count--;
    else
        exporter->visitor_count--;
    visitor->state = VISITOR_GONE;
    await(visitor, 0);
    evtimer_del(visitor->deadline);
    close(visitor->fd);
    answer_release(TAKE(visitor->body));
    event_base_once(exporter->port.events, -1, EV_TIMEOUT, on_gone, visitor, &(struct timeval){0});
    port_tell_changed(&exporter->port);
}

/* A socket closed with unread bytes is reset, and the client might never see our last words. */
static void linger(struct visitor *visitor)
{
    bool is_in = visitor->state != VISITOR_SHAKES_HANDS;

    if (is_in && visitor->tls != NULL) {
        ERR_clear_error();
        (void)!SSL_shutdown(visitor->tls);
    }
    visitor->state = is_in ? VISITOR_LINGERS : VISITOR_REFUSED;
    shutdown(visitor->fd, SHUT_WR);
    await(visitor, EV_READ);
    set_deadline(visitor, LINGER_SECONDS);
}

static void discard(struct visitor *visitor)
{
    ssize_t size = recv(visitor->fd, visitor->input, sizeof visitor->input, MSG_DONTWAIT);

    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
        visitor_drop(visitor, NULL);
}

/* ---- bytes ---- */

/* False: later, or the visitor is gone. */
static bool is_done(struct visitor *visitor, int result)
{
    if (result > 0)
        return true;
    switch (SSL_get_error(visitor->tls, result)) {
    case SSL_ERROR_WANT_READ:
        await(visitor, EV_READ);
        return false;
    case SSL_ERROR_WANT_WRITE:
        await(visitor, EV_WRITE);
        return false;
    default:
        visitor_drop(visitor, NULL);
        return false;
    }
}

/* Bytes read; 0: none now, or the visitor is gone. */
static size_t receive(struct visitor *visitor, char *bytes, size_t size)
{
    if (visitor->tls != NULL) {
        ERR_clear_error();
        int result = SSL_read(visitor->tls, bytes, (int)size);
        return is_done(visitor, result) ? (size_t)result : 0;
    }
    ssize_t result = recv(visitor->fd, bytes, size, 0);
    if (result > 0)
        return (size_t)result;
    if (result < 0 && (errno == EAGAIN || errno == EINTR))
        await(visitor, EV_READ);
    else
        visitor_drop(visitor, NULL);
    return 0;
}

static size_t transmit(struct visitor *visitor, const char *bytes, size_t size)
{
    if (visitor->tls != NULL) {
        ERR_clear_error();
        int result = SSL_write(visitor->tls, bytes, size > INT_MAX ? INT_MAX : (int)size);
        return is_done(visitor, result) ? (size_t)result : 0;
    }
    ssize_t result = send(visitor->fd, bytes, size, MSG_NOSIGNAL);
    if (result > 0)
        return (size_t)result;
    if (result < 0 && (errno == EAGAIN || errno == EINTR))
        await(visitor, EV_WRITE);
    else
        visitor_drop(visitor, NULL);
    return 0;
}

/* ---- a request, and its answer ---- */

static void read_request(struct visitor *visitor);

static void next_request(struct visitor *visitor)
{
    answer_release(TAKE(visitor->body));
    if (!visitor->request.keeps_alive || visitor->exporter->port.is_ending) {
        linger(visitor);
        return;
    }
    visitor->state = visitor->input_size > 0 ? VISITOR_ASKS : VISITOR_IDLE;
    set_deadline(visitor, visitor->state == VISITOR_ASKS ? visitor->exporter->limits->request_seconds
                                                         : visitor->exporter->limits->idle_seconds);
    await(visitor, 0);
    /* Not from here: whoever sends many requests at once lets others have their turn between two answers. */
    event_active(visitor->read, EV_READ, 0);
}

static void send_answer(struct visitor *visitor)
{
    size_t whole = visitor->head_size + (visitor->request.is_head ? 0 : visitor->body->bytes.used);

    while (visitor->sent < whole) {
        bool is_in_head = visitor->sent < visitor->head_size;
        const char *bytes = is_in_head
                                ? visitor->head + visitor->sent
                                : (const char *)visitor->body->bytes.bytes + (visitor->sent - visitor->head_size);
        size_t size = transmit(visitor, bytes, (is_in_head ? visitor->head_size : whole) - visitor->sent);
        if (size == 0)
            return;
        visitor->sent += size;
    }
    next_request(visitor);
}

void visitor_answer(struct visitor *visitor, struct answer_body *body)
{
    visitor->state = VISITOR_TAKES;
    visitor->body = body;
    visitor->body->references++;
    visitor->head_size =
        answer_head(body, visitor->request.keeps_alive && !visitor->exporter->port.is_ending, visitor->head);
    visitor->sent = 0;
    set_deadline(visitor, visitor->exporter->limits->answer_seconds);
    await(visitor, EV_WRITE);
}

static void answer_with(struct visitor *visitor, enum http_status status)
{
    struct answer_body *body = answer_refusal(status);

    visitor_answer(visitor, body);
    answer_release(body);
}

static void refuse(struct visitor *visitor, enum http_status status)
{
    visitor->request.keeps_alive = false;
    answer_with(visitor, status);
}

static void take_request(struct visitor *visitor)
{
    const struct exporter *exporter = visitor->exporter;
    const struct http_request *request = &visitor->request;

    if (!exporter_lets_in(exporter, visitor))
        return;
    if (!exporter->is_https && request->has_host && !http_host_is_loopback(request->host, exporter->host)) {
        refuse(visitor, HTTP_MISDIRECTED);
    } else if (answer_kind_of(request) == ANSWER_NONE) {
        answer_with(visitor, HTTP_NOT_FOUND);
    } else {
        visitor->state = VISITOR_WAITS;
        await(visitor, 0);
        evtimer_del(visitor->deadline);
        exporter_ask(visitor->exporter);
    }
}

static void read_request(struct visitor *visitor)
{
    for (;;) {
        size_t used;
        enum http_status status = visitor->input_size == 0
                                      ? HTTP_MORE
                                      : http_parse(visitor->input, visitor->input_size, &visitor->request, &used);
        if (status == HTTP_OK) {
            visitor->input_size -= used;
            memmove(visitor->input, visitor->input + used, visitor->input_size);
            take_request(visitor);
            return;
        }
        if (status != HTTP_MORE) {
            refuse(visitor, status);
            return;
        }
        size_t size =
            receive(visitor, visitor->input + visitor->input_size, sizeof visitor->input - visitor->input_size);
        if (size == 0)
            return;
        visitor->input_size += size;
        if (visitor->state == VISITOR_IDLE) {
            visitor->state = VISITOR_ASKS;
            set_deadline(visitor, visitor->exporter->limits->request_seconds);
        }
    }
}

/* ---- who it is ---- */

static void come_in(struct visitor *visitor)
{
    struct exporter *exporter = visitor->exporter;

    visitor->state = VISITOR_ASKS;
    exporter->visitor_count++;
    set_deadline(visitor, exporter->limits->request_seconds);
    exporter_make_room(exporter, visitor);
    port_tell_changed(&exporter->port);
}

static void shake_hands(struct visitor *visitor)
{
    struct exporter *exporter = visitor->exporter;

    ERR_clear_error();
    int result = SSL_accept(visitor->tls);
    int what = result == 1 ? SSL_ERROR_NONE : SSL_get_error(visitor->tls, result);
    if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE) {
        await(visitor, what == SSL_ERROR_WANT_READ ? EV_READ : EV_WRITE);
        return;
    }
    if (what != SSL_ERROR_NONE) {
        port_log_handshake(&exporter->port, visitor->address, visitor->verify_fault);
        port_count_handshake(&exporter->port, false);
        linger(visitor); /* the alert is on its way */
        return;
    }
    port_count_handshake(&exporter->port, true);
    exporter->handshake_count--;
    come_in(visitor);
    read_request(visitor);
}

static void on_ready(evutil_socket_t fd, short what, void *context)
{
    struct visitor *visitor = context;

    (void)fd;
    (void)what;
    switch (visitor->state) {
    case VISITOR_SHAKES_HANDS:
        shake_hands(visitor);
        return;
    case VISITOR_ASKS:
    case VISITOR_IDLE:
        read_request(visitor);
        return;
    case VISITOR_TAKES:
        send_answer(visitor);
        return;
    case VISITOR_REFUSED:
    case VISITOR_LINGERS:
        discard(visitor);
        return;
    case VISITOR_WAITS:
    case VISITOR_GONE:
        return;
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
    struct visitor *visitor = context;

    (void)fd;
    (void)what;
    switch (visitor->state) {
    case VISITOR_SHAKES_HANDS:
        visitor_drop(visitor, "no connection: the handshake was not done in time");
        return;
    case VISITOR_ASKS:
        /* A browser keeps a connection in store. */
        visitor_drop(visitor, visitor->input_size > 0 ? "dropped: its request did not come to an end in time" : NULL);
        return;
    case VISITOR_TAKES:
        visitor_drop(visitor, "dropped: it did not take its answer in time");
        return;
    case VISITOR_REFUSED:
    case VISITOR_IDLE:
    case VISITOR_LINGERS:
    case VISITOR_WAITS:
    case VISITOR_GONE:
        visitor_drop(visitor, NULL);
        return;
    }
}

/* ---- the beginning ---- */

struct visitor *visitor_new(struct exporter *exporter, int fd, const struct sockaddr_storage *address)
{
    struct visitor *visitor = memory_new(sizeof *visitor);
    struct event_base *events = exporter->port.events;
    char place[PORT_ADDRESS_SIZE];

    *visitor = (struct visitor){.exporter = exporter, .fd = fd};
    port_describe_address(address, visitor->address, place);
    port_keep_alive(fd);
    visitor->read = event_new(events, fd, EV_READ, on_ready, visitor);
    visitor->write = event_new(events, fd, EV_WRITE, on_ready, visitor);
    visitor->deadline = evtimer_new(events, on_deadline, visitor);
    if (visitor->read == NULL || visitor->write == NULL || visitor->deadline == NULL)
        abort();
    visitor->next = exporter->first;
    exporter->first = visitor;
    if (exporter->is_https) {
        visitor->tls = port_handshake_new(exporter->port.tls, fd, visitor->verify_fault);
        visitor->state = VISITOR_SHAKES_HANDS;
        exporter->handshake_count++;
        set_deadline(visitor, exporter->limits->handshake_seconds);
    } else {
        come_in(visitor);
    }
    await(visitor, EV_READ);
    return visitor;
}

void visitor_free(struct visitor *visitor)
{
    struct exporter *exporter = visitor->exporter;
    struct visitor **at = &exporter->first;

    while (*at != visitor)
        at = &(*at)->next;
    *at = visitor->next;
    SSL_free(visitor->tls);
    event_free(visitor->read);
    event_free(visitor->write);
    event_free(visitor->deadline);
    free(visitor);
    if (exporter->port.is_ending && exporter->first == NULL)
        event_base_loopbreak(exporter->port.events);
}
