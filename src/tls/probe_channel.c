#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/clock.h"
#include "tls/probe_internal.h"

/* The longest certificate chains and lists of CAs come to a tenth of it. */
#define MOST_RECEIVED ((size_t)1024 * 1024)

ssize_t probe_channel_receive(struct probe_channel *channel, void *ret_bytes, size_t size)
{
    ssize_t got = -1;

    if (!channel->is_unbounded && channel->received >= MOST_RECEIVED)
        errno = EFBIG;
    else if (!channel->is_unbounded && clock_monotonic() >= channel->deadline)
        errno = ETIMEDOUT;
    else
        got = recv(channel->fd, ret_bytes, size, 0);
    if (got > 0)
        channel->received += (size_t)got;
    channel->is_at_end = channel->is_at_end || got == 0;
    if (got < 0 && errno != EAGAIN && errno != EINTR)
        channel->failure = errno;
    return got;
}

ssize_t probe_channel_send(struct probe_channel *channel, const void *bytes, size_t size)
{
    ssize_t put = send(channel->fd, bytes, size, MSG_NOSIGNAL);

    if (put < 0 && (errno == EPIPE || errno == ECONNRESET)) {
        channel->is_write_broken = true;
        return (ssize_t)size;
    }
    if (put < 0 && errno != EAGAIN && errno != EINTR)
        channel->failure = errno;
    return put;
}

bool probe_channel_wait(struct probe_channel *channel, short events, int64_t until)
{
    int64_t deadline = until < channel->deadline ? until : channel->deadline;

    for (;;) {
        struct pollfd watched = {.fd = channel->fd, .events = events};
        int64_t left = deadline - clock_monotonic();
        int count = poll(&watched, 1, left <= 0 ? 0 : (int)(left / 1000 + 1));
        if (count > 0)
            return true;
        if ((count < 0 && errno != EINTR) || (count == 0 && clock_monotonic() >= deadline)) {
            channel->failure = count < 0 ? errno : ETIMEDOUT;
            return false;
        }
    }
}

bool probe_channel_describe(const struct probe_channel *channel, char *ret_words, size_t size)
{
    if (channel->failure == EFBIG)
        snprintf(ret_words, size, "the server sent more than %zu kB without coming to an end", MOST_RECEIVED / 1024);
    else if (channel->failure == ETIMEDOUT)
        snprintf(ret_words, size, "no answer in time");
    else if (channel->failure != 0)
        snprintf(ret_words, size, "%s", strerror(channel->failure));
    else if (channel->is_at_end)
        snprintf(ret_words, size, "the server closed the connection");
    else
        return false;
    return true;
}

static int read_through(BIO *bio, char *bytes, int size)
{
    BIO_clear_retry_flags(bio);
    ssize_t got = probe_channel_receive(BIO_get_data(bio), bytes, (size_t)size);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    return (int)got;
}

static int write_through(BIO *bio, const char *bytes, int size)
{
    BIO_clear_retry_flags(bio);
    ssize_t put = probe_channel_send(BIO_get_data(bio), bytes, (size_t)size);
    if (put < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)put;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    const struct probe_channel *channel = BIO_get_data(bio);

    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return channel->is_at_end;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *methods;
static pthread_once_t methods_once = PTHREAD_ONCE_INIT;

static void make_methods(void)
{
    methods = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "probe channel");
    if (methods == NULL)
        return;
    BIO_meth_set_read(methods, read_through);
    BIO_meth_set_write(methods, write_through);
    BIO_meth_set_ctrl(methods, control);
}

BIO *probe_channel_new_bio(struct probe_channel *channel)
{
    pthread_once(&methods_once, make_methods);
    BIO *bio = methods == NULL ? NULL : BIO_new(methods);

    if (bio != NULL) {
        BIO_set_data(bio, channel);
        BIO_set_init(bio, 1);
    }
    return bio;
}
