#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/un.h>

#include "jobs/gateway/gateway_internal.h"
#include "jobs/gateway/pump_internal.h"
#include "jobs/tls_port/context_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define LINGER_SECONDS 2
#define DISCARD_SIZE   16384

enum want { WANT_NETWORK_READ = 1, WANT_NETWORK_WRITE = 2, WANT_LOCAL_READ = 4, WANT_LOCAL_WRITE = 8 };

/* ---- what is waited for ---- */

static void await(struct connection *connection, unsigned wants)
{
    struct event *const events[] = {connection->network_read, connection->network_write, connection->local_read,
                                    connection->local_write};

    for (unsigned i = 0; i < sizeof events / sizeof *events; i++) {
        unsigned want = 1u << i;
        if (events[i] == NULL || ((connection->wants ^ wants) & want) == 0)
            continue;
        if ((wants & want) != 0)
            event_add(events[i], NULL);
        else
            event_del(events[i]);
    }
    connection->wants = wants;
}

static void set_deadline(struct connection *connection, int seconds)
{
    const struct timeval delay = {.tv_sec = seconds};

    evtimer_add(connection->deadline, &delay);
}

static struct event *watch(struct connection *connection, int fd, short what, event_callback_fn function)
{
    struct event *event =
        event_new(connection->gateway->port.events, fd, (short)(what | EV_PERSIST), function, connection);

    if (event == NULL)
        abort();
    return event;
}

/* ---- the end ---- */

static void release(struct event **event)
{
    if (*event != NULL)
        event_free(TAKE(*event));
}

static void on_gone(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    connection_free(context);
}

static void leave_counts(struct connection *connection)
{
    struct gateway *gateway = connection->gateway;

    if (connection->state == CONNECTION_PUMPS)
        gateway->connection_count--;
    else
        gateway->handshake_count--;
    if (connection->state == CONNECTION_SHAKES_HANDS)
        port_count_handshake(&gateway->port, false);
}

void connection_drop(struct connection *connection, const char *reason)
{
    if (connection->state == CONNECTION_GONE)
        return;
    if (reason != NULL)
        port_log_refusal(&connection->gateway->port, connection->address, reason);
    leave_counts(connection);
    bool was_verified = connection->state == CONNECTION_PUMPS;
    connection->state = CONNECTION_GONE;
    await(connection, 0);
    release(&connection->network_read);
    release(&connection->network_write);
    release(&connection->local_read);
    release(&connection->local_write);
    close(connection->network);
    if (connection->local >= 0)
        close(connection->local);
    connection->network = connection->local = -1;
    evtimer_del(connection->deadline);
    event_base_once(connection->gateway->port.events, -1, EV_TIMEOUT, on_gone, connection, &(struct timeval){0});
    if (was_verified)
        port_tell_changed(&connection->gateway->port);
}

void connection_verify_again(struct connection *connection)
{
    char reason[IDENTITY_TEXT_SIZE + 256];
    const char *fault;

    if (port_context_trusts(connection->gateway->port.tls, connection->tls, &fault))
        return;
    snprintf(reason, sizeof reason, "dropped: the certificate of %s is not let in any more: %s", connection->identity,
             fault);
    connection_drop(connection, reason);
}

/* A socket closed with unread bytes is reset, and the peer might never see our last words. */
static void linger(struct connection *connection)
{
    leave_counts(connection);
    if (connection->state == CONNECTION_PUMPS)
        port_tell_changed(&connection->gateway->port);
    connection->gateway->handshake_count++;
    connection->state = CONNECTION_LINGERS;
    if (connection->local >= 0) {
        await(connection, 0);
        release(&connection->local_read);
        release(&connection->local_write);
        close(connection->local);
        connection->local = -1;
    }
    shutdown(connection->network, SHUT_WR);
    await(connection, WANT_NETWORK_READ);
    set_deadline(connection, LINGER_SECONDS);
}

static void discard(struct connection *connection)
{
    static char bytes[DISCARD_SIZE];
    ssize_t size = recv(connection->network, bytes, sizeof bytes, MSG_DONTWAIT);

    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
        connection_drop(connection, NULL);
}

/* ---- bytes both ways ---- */

static unsigned wants_of(const struct pump *pump)
{
    return (pump->wants_network_read ? (unsigned)WANT_NETWORK_READ : 0) |
           (pump->wants_network_write ? (unsigned)WANT_NETWORK_WRITE : 0) |
           (pump->wants_local_read ? (unsigned)WANT_LOCAL_READ : 0) |
           (pump->wants_local_write ? (unsigned)WANT_LOCAL_WRITE : 0);
}

static void go_on(struct connection *connection)
{
    struct pump *pump = connection->pump;
    bool was_speaking = !pump->in.is_source_over;
    enum pump_state state = pump_turn(pump);

    if (was_speaking && pump->in.is_source_over)
        set_deadline(connection, connection->gateway->limits->parting_seconds);
    if (pump->moves != connection->moves) {
        connection->moves = pump->moves;
        connection->moved_at = clock_monotonic();
    }
    switch (state) {
    case PUMP_WAITS:
        await(connection, wants_of(pump));
        return;
    case PUMP_RUNS:
        await(connection, wants_of(pump));
        event_active(connection->network_read, EV_READ, 0);
        return;
    case PUMP_OVER:
        linger(connection);
        return;
    case PUMP_BROKEN:
        log_debug("%s from %s went away", connection->identity, connection->address);
        connection_drop(connection, NULL);
        return;
    }
}

static void on_local(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    go_on(context);
}

static bool connect_to_daemon(struct connection *connection)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "%s", connection->gateway->socket_path);
    int fd SCOPED(scoped_close) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return false;
    connection->local = file_take_descriptor(&fd);
    connection->local_read = watch(connection, connection->local, EV_READ, on_local);
    connection->local_write = watch(connection, connection->local, EV_WRITE, on_local);
    return true;
}

static void put_line(struct pump_way *way, const json_t *message)
{
    char *line SCOPED(scoped_free) = json_to_line(message);
    size_t size = strlen(line);

    line[size] = '\n';
    if (size + 1 > sizeof way->bytes)
        abort(); /* our own words, all of them bounded */
    memcpy(way->bytes, line, size + 1);
    way->end = size + 1;
}

/* A word in the language of the protocol for somebody who may speak it; then it is over. */
static void refuse(struct connection *connection, const struct error *failure)
{
    json_t *message SCOPED(scoped_json) = control_error_to_json(failure);
    struct pump *pump = connection->pump;

    put_line(&pump->out, message);
    pump->out.is_source_over = true;
    pump->in.is_source_over = pump->in.is_over = true;
    port_log_refusal(&connection->gateway->port, connection->address, failure->message);
}

/* ---- who it is ---- */

static size_t count(const struct gateway *gateway, const struct connection *like, bool is_by_identity)
{
    size_t found = 0;

    for (const struct connection *at = gateway->first; at != NULL; at = at->next)
        if (at->state == CONNECTION_PUMPS && at != like &&
            (is_by_identity ? strcmp(at->identity, like->identity) == 0 : strcmp(at->place, like->place) == 0))
            found++;
    return found;
}

static bool has_room(const struct connection *connection, struct error *err)
{
    const struct gateway *gateway = connection->gateway;
    const struct gateway_limits *limits = gateway->limits;

    if (gateway->connection_count > limits->connections)
        error_set(err, ERROR_BUSY, "the gateway has %zu connections already", limits->connections);
    else if (count(gateway, connection, false) >= limits->connections_of_address)
        error_set(err, ERROR_BUSY, "the gateway has %zu connections of %s already", limits->connections_of_address,
                  connection->place);
    else if (count(gateway, connection, true) >= limits->connections_of_identity)
        error_set(err, ERROR_BUSY, "the gateway has %zu connections of %s already", limits->connections_of_identity,
                  connection->identity);
    else
        return true;
    return error_hint(err, "Close some, or try again in a moment.");
}

static void begin_pump(struct connection *connection, const struct identity *identity)
{
    struct gateway *gateway = connection->gateway;
    struct error failure;

    gateway->handshake_count--;
    gateway->connection_count++;
    port_count_handshake(&gateway->port, true);
    connection->state = CONNECTION_PUMPS;
    connection->pump = memory_new(sizeof *connection->pump);
    connection->pump->tls = connection->tls;
    connection->pump->local = -1;
    connection->moved_at = clock_monotonic();
    set_deadline(connection, gateway->limits->stall_seconds);
    if (!has_room(connection, &failure)) {
        refuse(connection, &failure);
    } else if (!connect_to_daemon(connection)) {
        error_set_kind_errno(&failure, ERROR_DAEMON, "the gateway could not reach the daemon");
        refuse(connection, &failure);
    } else {
        json_t *line SCOPED(scoped_json) = identity_to_json(identity, connection->address);
        put_line(&connection->pump->in, line);
        connection->pump->local = connection->local;
        log_debug("%s connected from %s with %s", connection->identity, connection->address,
                  SSL_get_version(connection->tls));
    }
    port_tell_changed(&gateway->port);
    go_on(connection);
}

static void shake_hands(struct connection *connection)
{
    struct identity identity;

    ERR_clear_error();
    int result = SSL_accept(connection->tls);
    if (result == 1) {
        X509 *certificate = SSL_get0_peer_certificate(connection->tls);
        if (certificate == NULL || SSL_get_verify_result(connection->tls) != X509_V_OK) {
            connection_drop(connection, "no verified certificate");
            return;
        }
        identity_of_certificate(certificate, &identity);
        identity_format(&identity, connection->identity);
        if (SSL_get_SSL_CTX(connection->tls) !=
            connection->gateway->port.tls) /* the files have changed since it came */
            connection_verify_again(connection);
        if (connection->state == CONNECTION_SHAKES_HANDS)
            begin_pump(connection, &identity);
        return;
    }
    switch (SSL_get_error(connection->tls, result)) {
    case SSL_ERROR_WANT_READ:
        await(connection, WANT_NETWORK_READ);
        return;
    case SSL_ERROR_WANT_WRITE:
        await(connection, WANT_NETWORK_WRITE);
        return;
    default:
        port_log_handshake(&connection->gateway->port, connection->address, connection->verify_fault);
        linger(connection); /* the alert is on its way */
    }
}

static void on_network(evutil_socket_t fd, short what, void *context)
{
    struct connection *connection = context;

    (void)fd;
    (void)what;
    switch (connection->state) {
    case CONNECTION_SHAKES_HANDS:
        shake_hands(connection);
        return;
    case CONNECTION_PUMPS:
        go_on(connection);
        return;
    case CONNECTION_LINGERS:
        discard(connection);
        return;
    case CONNECTION_GONE:
        return;
    }
}

static void watch_pump(struct connection *connection)
{
    const struct gateway_limits *limits = connection->gateway->limits;
    char reason[sizeof connection->identity + 128];
    int seconds;

    const char *fault = connection_reason_to_drop(
        connection, (int)((clock_monotonic() - connection->moved_at) / INT64_C(1000000)), &seconds);
    if (fault == NULL) {
        set_deadline(connection, connection->pump->in.is_source_over ? limits->parting_seconds : limits->stall_seconds);
        return;
    }
    snprintf(reason, sizeof reason, "dropped: %s %s for %d s", connection->identity, fault, seconds);
    connection_drop(connection, reason);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
    struct connection *connection = context;
    const struct gateway_limits *limits = connection->gateway->limits;
    char reason[128];

    (void)fd;
    (void)what;
    if (connection->state == CONNECTION_LINGERS) {
        connection_drop(connection, NULL);
        return;
    }
    if (connection->state == CONNECTION_SHAKES_HANDS) {
        snprintf(reason, sizeof reason, "no connection: the handshake was not done within %d s",
                 limits->handshake_seconds);
        connection_drop(connection, reason);
        return;
    }
    watch_pump(connection);
}

/* ---- the beginning ---- */

/* One that vanished without a word is found out, also while nothing is sent. */
struct connection *connection_new(struct gateway *gateway, int network, const struct sockaddr_storage *address)
{
    struct connection *connection = memory_new(sizeof *connection);

    *connection = (struct connection){.gateway = gateway, .network = network, .local = -1};
    port_describe_address(address, connection->address, connection->place);
    port_keep_alive(network);
    connection->tls = port_handshake_new(gateway->port.tls, network, connection->verify_fault);
    connection->network_read = watch(connection, network, EV_READ, on_network);
    connection->network_write = watch(connection, network, EV_WRITE, on_network);
    connection->deadline = evtimer_new(gateway->port.events, on_deadline, connection);
    if (connection->deadline == NULL)
        abort();
    set_deadline(connection, gateway->limits->handshake_seconds);
    connection->next = gateway->first;
    gateway->first = connection;
    gateway->handshake_count++;
    await(connection, WANT_NETWORK_READ);
    return connection;
}

void connection_free(struct connection *connection)
{
    struct gateway *gateway = connection->gateway;
    struct connection **at = &gateway->first;

    while (*at != connection)
        at = &(*at)->next;
    *at = connection->next;
    SSL_free(connection->tls);
    event_free(connection->deadline);
    free(connection->pump);
    free(connection);
    if (gateway->port.is_ending && gateway->first == NULL)
        event_base_loopbreak(gateway->port.events);
}
