#include <errno.h>
#include <netdb.h>
#include <poll.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/answer.h"
#include "tls/probe_internal.h"

/* Once an answer has begun, so long for the rest of its line. */
#define REST_MICROSECONDS INT64_C(500000)

bool tls_probe_resolve(const struct server_config *server, struct addrinfo **ret_addresses, char *ret_words,
                       size_t size)
{
    const struct settings *settings = &server->settings;
    bool has_address = !text_is_empty(settings->hostaddr);
    struct addrinfo wish = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];

    wish.ai_flags = has_address ? AI_NUMERICHOST : 0;
    snprintf(port, sizeof port, "%ld", settings->port);
    int failure = getaddrinfo(has_address ? settings->hostaddr : settings->host, port, &wish, ret_addresses);
    if (failure == 0)
        return true;
    *ret_addresses = NULL;
    snprintf(ret_words, size, "%s", failure == EAI_SYSTEM ? strerror(errno) : gai_strerror(failure));
    return false;
}

static int connect_address(const struct sockaddr *address, socklen_t address_size, int64_t deadline)
{
    struct probe_channel channel = {.deadline = deadline};
    int fd SCOPED(scoped_close) = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failure = 0;
    socklen_t size = sizeof failure;

    if (fd < 0)
        return -1;
    channel.fd = fd;
    if (connect(fd, address, address_size) == 0)
        return file_take_descriptor(&fd);
    if (errno != EINPROGRESS)
        return -1;
    if (!probe_channel_wait(&channel, POLLOUT, deadline))
        failure = ETIMEDOUT;
    else
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    if (failure == 0)
        return file_take_descriptor(&fd);
    errno = failure;
    return -1;
}

static int connect_any(const struct addrinfo *addresses, int64_t deadline)
{
    int count = 0, fd = -1;

    for (const struct addrinfo *address = addresses; address != NULL; address = address->ai_next)
        count++;
    /* An address that swallows everything must leave time for those behind it. */
    for (const struct addrinfo *address = addresses; fd < 0 && address != NULL; address = address->ai_next) {
        int64_t now = clock_monotonic();
        int64_t until = now < deadline ? now + (deadline - now) / count : deadline;
        count--;
        fd = connect_address(address->ai_addr, address->ai_addrlen, until);
    }
    return fd;
}

static void note_address(int fd, struct tls_probe *probe)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;

    if (getpeername(fd, (struct sockaddr *)&address, &size) != 0 ||
        getnameinfo((struct sockaddr *)&address, size, probe->address, sizeof probe->address, NULL, 0,
                    NI_NUMERICHOST) != 0)
        snprintf(probe->address, sizeof probe->address, "?");
}

bool probe_socket_open(const struct tls_probe_request *request, struct tls_probe *probe, int *ret_fd)
{
    struct addrinfo *addresses = NULL;

    probe->outcome = TLS_PROBE_UNREACHABLE;
    if (request->address != NULL)
        *ret_fd = connect_address(request->address, request->address_size, request->deadline);
    else if (tls_probe_resolve(request->server, &addresses, probe->words, sizeof probe->words))
        *ret_fd = connect_any(addresses, request->deadline);
    else {
        probe->is_unresolved = true;
        return false;
    }
    if (*ret_fd < 0)
        snprintf(probe->words, sizeof probe->words, "%s", strerror(errno));
    else
        note_address(*ret_fd, probe);
    if (addresses != NULL)
        freeaddrinfo(addresses);
    return *ret_fd >= 0;
}

/* A server that said yes waits for us now; what speaks on is something else: SSH begins with 'S' too. */
static bool is_talking_on(const struct probe_channel *channel)
{
    uint8_t next;

    return recv(channel->fd, &next, sizeof next, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Bytes until they decide. Behind a yes not one is taken: it would be TLS already. */
static enum tls_answer read_answer(struct probe_channel *channel, uint8_t *bytes, size_t *used, struct tls_probe *probe)
{
    int64_t until = channel->deadline;

    for (;;) {
        ssize_t got = probe_channel_receive(channel, bytes + *used, *used == 0 ? 1 : TLS_ANSWER_MOST - *used);
        if (got > 0 && *used == 0)
            until = clock_monotonic() + REST_MICROSECONDS;
        if (got > 0)
            *used += (size_t)got;
        else if (got < 0 && channel->failure == 0 && probe_channel_wait(channel, POLLIN, until))
            continue;
        bool is_end = got <= 0 || *used == TLS_ANSWER_MOST;
        enum tls_answer answer = tls_answer_read(bytes, *used, is_end, probe->words, sizeof probe->words);
        if (answer == TLS_ANSWER_YES && is_talking_on(channel))
            continue;
        if (answer != TLS_ANSWER_MORE || is_end)
            return answer;
    }
}

bool probe_socket_ask_for_tls(struct probe_channel *channel, struct tls_probe *probe)
{
    static const unsigned char ssl_request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
    uint8_t bytes[TLS_ANSWER_MOST];
    size_t used = 0;

    /* Eight bytes always fit into a fresh socket's buffer. */
    (void)!probe_channel_send(channel, ssl_request, sizeof ssl_request);
    enum tls_answer answer = read_answer(channel, bytes, &used, probe);
    probe->answer = used == 0 ? -1 : bytes[0];
    switch (answer) {
    case TLS_ANSWER_YES:
        return true;
    case TLS_ANSWER_NO:
        probe->outcome = TLS_PROBE_NO_TLS;
        return false;
    case TLS_ANSWER_ERROR:
    case TLS_ANSWER_FOREIGN:
        probe->outcome = TLS_PROBE_NOT_POSTGRES;
        return false;
    case TLS_ANSWER_MORE:
        break;
    }
    probe->outcome = TLS_PROBE_UNREACHABLE;
    if (!probe_channel_describe(channel, probe->words, sizeof probe->words))
        snprintf(probe->words, sizeof probe->words, "no answer came");
    return false;
}
