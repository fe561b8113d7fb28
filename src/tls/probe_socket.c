#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/text.h"
#include "tls/probe_internal.h"

bool probe_socket_wait(int fd, short events, int64_t deadline)
{
    for (;;) {
        struct pollfd watched = {.fd = fd, .events = events};
        int64_t left = deadline - clock_monotonic();
        int count = poll(&watched, 1, left <= 0 ? 0 : (int)(left / 1000 + 1));
        if (count > 0)
            return true;
        if ((count < 0 && errno != EINTR) || clock_monotonic() >= deadline)
            return false;
    }
}

static int connect_address(const struct addrinfo *address, int64_t deadline)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol);
    int failure = 0;
    socklen_t size = sizeof failure;

    if (fd < 0)
        return -1;
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
        return fd;
    if (errno != EINPROGRESS)
        failure = errno;
    else if (!probe_socket_wait(fd, POLLOUT, deadline))
        failure = ETIMEDOUT;
    else
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    if (failure == 0)
        return fd;
    close(fd);
    errno = failure;
    return -1;
}

bool probe_socket_open(const struct server_config *server, int64_t deadline, int *ret_fd, char *ret_words, size_t size)
{
    const struct settings *settings = &server->settings;
    bool has_address = !text_is_empty(settings->hostaddr);
    struct addrinfo wish = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    char port[8];
    int fd = -1;

    wish.ai_flags = has_address ? AI_NUMERICHOST : 0;
    snprintf(port, sizeof port, "%ld", settings->port);
    int failure = getaddrinfo(has_address ? settings->hostaddr : settings->host, port, &wish, &addresses);
    if (failure != 0) {
        snprintf(ret_words, size, "%s", gai_strerror(failure));
        return false;
    }
    for (struct addrinfo *address = addresses; fd < 0 && address != NULL; address = address->ai_next)
        fd = connect_address(address, deadline);
    if (fd < 0)
        snprintf(ret_words, size, "%s", strerror(errno));
    freeaddrinfo(addresses);
    *ret_fd = fd;
    return fd >= 0;
}

int probe_socket_ask_for_tls(int fd, int64_t deadline, char *ret_words, size_t size)
{
    static const unsigned char ssl_request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
    unsigned char answer = 0;
    ssize_t got = -1;

    /* Eight bytes always fit into a fresh socket's buffer. */
    if (send(fd, ssl_request, sizeof ssl_request, MSG_NOSIGNAL) == (ssize_t)sizeof ssl_request) {
        errno = ETIMEDOUT;
        if (probe_socket_wait(fd, POLLIN, deadline))
            got = recv(fd, &answer, 1, 0);
    }
    if (got == 1)
        return answer;
    snprintf(ret_words, size, "%s", got == 0 ? "the connection was closed without an answer" : strerror(errno));
    return -1;
}
