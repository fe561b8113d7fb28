#include "pgcoffer/tls/tunnel.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/tls/diagnosis.h"
#include "pgcoffer/tls/files.h"
#include "tls/probe_internal.h"

#define FLOW_SIZE 131072 /* several TLS records */
/* A gateway whose machine has gone answers nothing: so long until the kernel ends the connection. */
#define IDLE_SECONDS            30
#define INTERVAL_SECONDS        10
#define MOST_UNANSWERED         3
#define UNANSWERED_MILLISECONDS (1000u * (IDLE_SECONDS + INTERVAL_SECONDS * MOST_UNANSWERED))

/* Bytes on their way. */
struct flow {
    char bytes[FLOW_SIZE];
    size_t start, end;
    bool is_over; /* its source has ended */
};

struct tunnel {
    int local;
    void (*opened)(void *context);
    void *context;
    struct tls_talk *talk;
    struct flow out, in;
    short tls_events; /* what OpenSSL waits for */
    bool is_opened, has_heard, is_broken;
};

static bool is_empty(const struct flow *flow)
{
    return flow->start == flow->end;
}

/* ---- the four ends; each is true when something moved ---- */

/* After a step of OpenSSL that gave nothing: the events it waits for, or false when there will be none. */
static bool note_wish(struct tunnel *tunnel, int result)
{
    int wish = SSL_get_error(tunnel->talk->ssl, result);

    if (wish == SSL_ERROR_WANT_READ)
        tunnel->tls_events |= POLLIN;
    else if (wish == SSL_ERROR_WANT_WRITE)
        tunnel->tls_events |= POLLOUT;
    else
        return false;
    return true;
}

static bool read_from_gateway(struct tunnel *tunnel)
{
    struct flow *in = &tunnel->in;
    bool has_moved = false;

    if (is_empty(in))
        in->start = in->end = 0;
    while (!in->is_over && in->end < sizeof in->bytes) {
        ERR_clear_error();
        int got = SSL_read(tunnel->talk->ssl, in->bytes + in->end, (int)(sizeof in->bytes - in->end));
        if (got > 0) {
            in->end += (size_t)got;
            tunnel->has_heard = true;
            has_moved = true;
            continue;
        }
        if (note_wish(tunnel, got))
            break;
        in->is_over = true;
        if (!tunnel->has_heard)
            tls_talk_describe_failure(tunnel->talk);
        return true;
    }
    return has_moved;
}

static bool write_to_gateway(struct tunnel *tunnel)
{
    struct flow *out = &tunnel->out;

    if (tunnel->in.is_over)
        out->start = out->end; /* nobody takes it any more */
    if (is_empty(out))
        return false;
    ERR_clear_error();
    int put = SSL_write(tunnel->talk->ssl, out->bytes + out->start, (int)(out->end - out->start));
    if (put > 0)
        out->start += (size_t)put;
    else if (!note_wish(tunnel, put))
        tunnel->is_broken = true;
    return put > 0;
}

static bool read_from_local(struct tunnel *tunnel)
{
    struct flow *out = &tunnel->out;

    if (out->is_over || !is_empty(out) || tunnel->in.is_over)
        return false;
    ssize_t got = recv(tunnel->local, out->bytes, sizeof out->bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    out->start = 0;
    out->end = got > 0 ? (size_t)got : 0;
    out->is_over = got <= 0;
    if (out->is_over)
        SSL_shutdown(tunnel->talk->ssl); /* our half only: an answer may still come */
    return true;
}

static bool write_to_local(struct tunnel *tunnel)
{
    struct flow *in = &tunnel->in;

    if (is_empty(in))
        return false;
    ssize_t put = send(tunnel->local, in->bytes + in->start, in->end - in->start, MSG_NOSIGNAL);
    if (put > 0)
        in->start += (size_t)put;
    else if (put < 0 && errno != EAGAIN && errno != EINTR)
        tunnel->is_broken = true;
    return put > 0;
}

/* ---- both ways ---- */

static void await(struct tunnel *tunnel)
{
    bool may_read = !tunnel->out.is_over && is_empty(&tunnel->out) && !tunnel->in.is_over;
    struct pollfd waits[2] = {
        {.fd = tunnel->local},
        /* A connection of which nothing is wished is not asked: its end would wake us again and
         * again. */
        {.fd = tunnel->tls_events == 0 ? -1 : tunnel->talk->channel->fd, .events = tunnel->tls_events}};

    waits[0].events = (short)((may_read ? POLLIN : 0) | (is_empty(&tunnel->in) ? 0 : POLLOUT));
    if (poll(waits, 2, -1) < 0 && errno != EINTR)
        tunnel->is_broken = true;
    /* Both halves are closed there: nobody is left to read an answer. */
    if ((waits[0].revents & (POLLHUP | POLLERR)) != 0)
        tunnel->is_broken = true;
}

static void notice_the_dead(struct tls_talk *talk)
{
    static const int on = 1, idle = IDLE_SECONDS, interval = INTERVAL_SECONDS, most = MOST_UNANSWERED;
    static const unsigned unanswered = UNANSWERED_MILLISECONDS;
    int fd = talk->channel->fd;

    /* Where the kernel does not know one of them, the connection is as good as any. */
    (void)!setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)!setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)!setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)!setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &most, sizeof most);
    (void)!setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered, sizeof unanswered);
    (void)!setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Several records with one call of the kernel; a record would take two, one for its length. */
static void read_ahead(SSL *ssl)
{
    SSL_set_default_read_buffer_len(ssl, FLOW_SIZE);
    SSL_set_read_ahead(ssl, 1);
    (void)!SSL_free_buffers(ssl); /* one that holds something already stays as it is */
}

static void carry(void *context, struct tls_talk *talk)
{
    struct tunnel *tunnel = context;

    tunnel->talk = talk;
    talk->channel->is_unbounded = true;
    notice_the_dead(talk);
    read_ahead(talk->ssl);
    tunnel->is_opened = true;
    tunnel->opened(tunnel->context);
    while (!tunnel->is_broken && !(tunnel->in.is_over && is_empty(&tunnel->in))) {
        tunnel->tls_events = 0;
        bool has_moved = read_from_gateway(tunnel);
        has_moved = write_to_local(tunnel) || has_moved;
        has_moved = read_from_local(tunnel) || has_moved;
        has_moved = write_to_gateway(tunnel) || has_moved;
        if (!has_moved && !tunnel->is_broken)
            await(tunnel);
    }
    talk->has_heard = tunnel->has_heard;
}

/* ---- what became of it ---- */

static bool fail(const struct server_config *gateway, const struct tls_probe *probe, struct error *err)
{
    bool is_network = probe->outcome == TLS_PROBE_UNREACHABLE || probe->is_cut;
    struct finding finding;

    if (tls_explain(gateway, probe, "", &finding))
        finding_to_plain_error(&finding, is_network ? ERROR_DAEMON : ERROR_TLS, err);
    else
        error_set(err, ERROR_DAEMON, "the connection ended");
    return error_wrap(err, "could not connect to the gateway at %s port %ld", gateway->settings.host,
                      gateway->settings.port);
}

bool tls_tunnel_run(const struct server_config *gateway, int local, void (*opened)(void *context), void *context,
                    struct error *err)
{
    static struct tunnel tunnel; /* large, and one a process */
    struct tls_probe_request request = {.server = gateway,
                                        .deadline =
                                            clock_monotonic() + (int64_t)gateway->settings.connect_timeout * 1000000,
                                        .converse = carry,
                                        .context = &tunnel};
    struct tls_probe probe;

    if (!config_check_client(gateway, err)) /* without a CA nothing would be verified */
        return false;
    tunnel = (struct tunnel){.local = local, .opened = opened, .context = context};
    if (!tls_files_check_settled(gateway, err))
        return error_wrap(err, "could not connect to the gateway at %s port %ld", gateway->settings.host,
                          gateway->settings.port);
    if (fcntl(local, F_SETFL, fcntl(local, F_GETFL) | O_NONBLOCK) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a socket ready");
    tls_probe_run(&request, &probe);
    /* Whoever ends orderly without a word has not refused us: the reader of `local` sees the end. */
    bool is_refused = tunnel.is_opened ? !tunnel.has_heard && probe.alert >= 0 : true;
    bool is_carried = !is_refused || fail(gateway, &probe, err);
    tls_probe_done(&probe);
    return is_carried;
}
