#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log_internal.h"
#include "pgcoffer/base/memory.h"

/* poll(2) promises room for so much, in a pipe and in a socket: a write(2) of it does not wait. */
#define PIECE_SIZE PIPE_BUF

/* Of a line that was taken in part: it goes before the next one. */
static struct {
    char *bytes; /* malloc'd; NULL: none */
    size_t size;
} rest;

static bool is_ready(int patience_milliseconds)
{
    struct pollfd reader = {.fd = STDERR_FILENO, .events = POLLOUT};
    int ready;

    do
        ready = poll(&reader, 1, patience_milliseconds);
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        errno = EAGAIN;
    return ready > 0;
}

/* The number of bytes that were taken, with errno when they are not all. */
static size_t write_pieces(const char *bytes, size_t size, int patience_milliseconds)
{
    size_t done = 0;

    while (done < size && is_ready(patience_milliseconds)) {
        ssize_t now = write(STDERR_FILENO, bytes + done, size - done < PIECE_SIZE ? size - done : PIECE_SIZE);
        if (now < 0 && errno == EINTR)
            continue;
        if (now <= 0)
            break;
        done += (size_t)now;
    }
    return done;
}

static bool write_rest(int patience_milliseconds)
{
    if (rest.bytes == NULL)
        return true;
    size_t done = write_pieces(rest.bytes, rest.size, patience_milliseconds);
    rest.size -= done;
    memmove(rest.bytes, rest.bytes + done, rest.size);
    if (rest.size > 0)
        return false;
    free(rest.bytes);
    rest.bytes = NULL;
    return true;
}

bool log_stderr_write(const char *line, size_t size, int patience_milliseconds)
{
    if (!write_rest(patience_milliseconds))
        return false;
    size_t done = write_pieces(line, size, patience_milliseconds);
    if (done == 0 || done == size)
        return done == size;
    rest.size = size - done;
    rest.bytes = memory_new(rest.size);
    memcpy(rest.bytes, line + done, rest.size);
    return true;
}

bool log_stderr_send(const char *line, size_t size, int patience_milliseconds)
{
    if (send(STDERR_FILENO, line, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return true;
    return errno == EAGAIN && is_ready(patience_milliseconds) &&
           send(STDERR_FILENO, line, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}
