#include "pgcoffer/control/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#define CHUNK_SIZE    16384
#define SENDFILE_SIZE 1048576

struct control_stream {
    int fd;
    int timeout_milliseconds;
    size_t most_line;
    struct buffer input; /* bytes received; those before input_start are used up */
    size_t input_start;
    uint64_t sent;
};

struct control_stream *control_stream_new(int fd, size_t most_line)
{
    struct control_stream *stream = memory_new(sizeof *stream);
    int flags = fcntl(fd, F_GETFL);

    /* The flag belongs to the open socket, not to the descriptor: it may come from a process with an event loop. */
    if (flags >= 0 && (flags & O_NONBLOCK) != 0)
        fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    *stream = (struct control_stream){
        .fd = fd, .timeout_milliseconds = -1, .most_line = most_line, .input = BUFFER_WITH_LIMIT(most_line)};
    return stream;
}

static void close_now(struct control_stream *stream)
{
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = -1;
}

void control_stream_free(struct control_stream *stream)
{
    if (stream == NULL)
        return;
    close_now(stream);
    buffer_done(&stream->input);
    free(stream);
}

int control_stream_descriptor(const struct control_stream *stream)
{
    return stream->fd;
}

bool control_stream_has_input(const struct control_stream *stream)
{
    return stream->input.used > stream->input_start;
}

uint64_t control_stream_sent(const struct control_stream *stream)
{
    return stream->sent;
}

void control_stream_set_timeout(struct control_stream *stream, int milliseconds)
{
    stream->timeout_milliseconds = milliseconds;
}

static bool fail_to_connect(const char *socket_path, struct error *err)
{
    int errnum = errno;

    error_set_kind_errno(err, ERROR_DAEMON, "could not connect to the daemon at \"%s\"", socket_path);
    if (errnum == EACCES)
        return error_hint(err, "The folders above the socket must be open to this user (mode 0755).");
    return error_hint(err,
                      "Start it with \"systemctl start pgcofferd\" (or \"pgcofferd -c FILE\"), name its socket with "
                      "--socket PATH, or read the repository without it by --direct.");
}

bool control_connect(const char *socket_path, struct control_stream **ret_stream, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(socket_path);

    if (size >= sizeof address.sun_path) {
        error_set(err, ERROR_DAEMON, "the path of the socket, \"%s\", is longer than %zu bytes", socket_path,
                  sizeof address.sun_path - 1);
        return error_hint(err, "Set unix_socket_dir to a shorter path.");
    }
    memcpy(address.sun_path, socket_path, size);
    int fd SCOPED(scoped_close) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_kind_errno(err, ERROR_DAEMON, "could not make a socket");
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return fail_to_connect(socket_path, err);
    *ret_stream = control_stream_new(fd, CONTROL_LINE_SIZE);
    fd = -1;
    return true;
}

/* ---- out ---- */

static bool wait_until_ready(struct control_stream *stream, short events, struct error *err)
{
    struct pollfd poller = {.fd = stream->fd, .events = events};

    if (stream->fd < 0)
        return error_set(err, ERROR_DAEMON, "the connection is closed");
    if (stream->timeout_milliseconds < 0)
        return true;
    int ready = poll(&poller, 1, stream->timeout_milliseconds);
    if (ready == 0)
        return error_set(err, ERROR_DAEMON, "the peer %s for %.1f s",
                         events == POLLIN ? "sent nothing" : "took nothing", stream->timeout_milliseconds / 1000.0);
    return true; /* an error of poll shows in the call that follows */
}

static bool fail_to_send(struct error *err)
{
    if (errno == EPIPE || errno == ECONNRESET)
        return error_set_kind_errno(err, ERROR_DAEMON, "the peer closed the connection");
    return error_set_kind_errno(err, ERROR_DAEMON, "could not send");
}

static bool send_all(struct control_stream *stream, const void *bytes, size_t size, int flags, struct error *err)
{
    const char *at = bytes;

    if (stream->timeout_milliseconds >= 0)
        flags |= MSG_DONTWAIT;
    while (size > 0) {
        if (!wait_until_ready(stream, POLLOUT, err))
            return false;
        ssize_t sent = send(stream->fd, at, size, flags | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (sent < 0)
            return fail_to_send(err);
        at += sent;
        size -= (size_t)sent;
        stream->sent += (uint64_t)sent;
    }
    return true;
}

bool control_send(struct control_stream *stream, const json_t *message, struct error *err)
{
    char *line SCOPED(scoped_free) = json_to_line(message);
    size_t size = strlen(line);

    if (size + 1 > stream->most_line)
        return error_set(err, ERROR_FAILED, "a message of %zu bytes is longer than the %zu of a line", size + 1,
                         stream->most_line);
    line[size] = '\n';
    return send_all(stream, line, size + 1, 0, err);
}

static bool send_bytes_header(struct control_stream *stream, uint64_t size, struct error *err)
{
    char line[64];
    int used = snprintf(line, sizeof line, "{\"event\":\"bytes\",\"length\":%llu}\n", (unsigned long long)size);

    return send_all(stream, line, (size_t)used, size > 0 ? MSG_MORE : 0, err);
}

bool control_send_bytes(struct control_stream *stream, const void *bytes, size_t size, struct error *err)
{
    return send_bytes_header(stream, size, err) && send_all(stream, bytes, size, 0, err);
}

static bool send_file_range(struct control_stream *stream, int fd, uint64_t offset, uint64_t size, struct error *err)
{
    off_t at = (off_t)offset;

    while (size > 0) {
        if (!wait_until_ready(stream, POLLOUT, err))
            return false;
        size_t wanted = size < SENDFILE_SIZE ? (size_t)size : SENDFILE_SIZE;
        ssize_t sent = sendfile(stream->fd, fd, &at, wanted);
        if (sent < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (sent < 0)
            return fail_to_send(err);
        if (sent == 0)
            return error_set(err, ERROR_INTEGRITY, "the file ends %llu bytes too early", (unsigned long long)size);
        size -= (uint64_t)sent;
        stream->sent += (uint64_t)sent;
    }
    return true;
}

/* sendfile(2) knows no MSG_NOSIGNAL: SIGPIPE is held back while it runs, and taken away if it came. */
bool control_send_file(struct control_stream *stream, int fd, uint64_t offset, uint64_t size, struct error *err)
{
    sigset_t pipe_only, before, pending;
    static const struct timespec at_once;

    if (!send_bytes_header(stream, size, err))
        return false;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigemptyset(&pending);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    bool is_sent = send_file_range(stream, fd, offset, size, err);
    if (!is_sent && !sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!is_sent)
        close_now(stream); /* the announced length cannot be kept any more */
    return is_sent;
}

/* ---- in ---- */

/* At least one byte more, or *ret_size 0 at the end of the stream. */
static bool receive_some(struct control_stream *stream, void *bytes, size_t size, size_t *ret_size, struct error *err)
{
    for (;;) {
        if (!wait_until_ready(stream, POLLIN, err))
            return false;
        ssize_t received = recv(stream->fd, bytes, size, 0);
        if (received < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (received < 0)
            return error_set_kind_errno(err, ERROR_DAEMON, "could not read from the peer");
        *ret_size = (size_t)received;
        return true;
    }
}

static void drop_used_input(struct control_stream *stream)
{
    struct buffer *input = &stream->input;

    if (stream->input_start > 0)
        memmove(input->bytes, input->bytes + stream->input_start, input->used - stream->input_start);
    input->used -= stream->input_start;
    stream->input_start = 0;
}

/* *ret_is_end when the peer has closed. */
static bool fill_input(struct control_stream *stream, bool *ret_is_end, struct error *err)
{
    uint8_t chunk[CHUNK_SIZE];
    size_t received = 0;

    drop_used_input(stream);
    size_t room = stream->most_line - stream->input.used;
    if (room == 0)
        return error_set(err, ERROR_DAEMON, "the peer sent a line of more than %zu bytes", stream->most_line);
    if (!receive_some(stream, chunk, room < sizeof chunk ? room : sizeof chunk, &received, err))
        return false;
    *ret_is_end = received == 0;
    return buffer_append(&stream->input, chunk, received, err);
}

bool control_receive(struct control_stream *stream, json_t **ret_message, struct error *err)
{
    size_t searched = 0;
    bool is_end = false;

    for (;;) {
        const char *line = (const char *)stream->input.bytes + stream->input_start;
        size_t held = stream->input.used - stream->input_start;
        const char *newline = held > searched ? memchr(line + searched, '\n', held - searched) : NULL;
        if (newline != NULL) {
            size_t size = (size_t)(newline - line);
            stream->input_start += size + 1;
            json_t *message = control_parse_line(line, size, err);
            if (message == NULL) {
                err->kind = ERROR_DAEMON; /* the peer's fault, not the operator's */
                return false;
            }
            *ret_message = message;
            return true;
        }
        searched = held;
        if (!fill_input(stream, &is_end, err))
            return false;
        if (is_end && held > 0)
            return error_set(err, ERROR_DAEMON, "the connection ended in the middle of a line");
        if (is_end) {
            *ret_message = NULL;
            return true;
        }
    }
}

bool control_receive_bytes(struct control_stream *stream, void *bytes, size_t size, struct error *err)
{
    char *at = bytes;
    size_t held = stream->input.used - stream->input_start;
    size_t taken = held < size ? held : size;

    if (taken > 0)
        memcpy(at, stream->input.bytes + stream->input_start, taken);
    stream->input_start += taken;
    while (taken < size) {
        size_t received = 0;
        if (!receive_some(stream, at + taken, size - taken, &received, err))
            return false;
        if (received == 0)
            return error_set(err, ERROR_DAEMON, "the connection ended %zu bytes too early", size - taken);
        taken += received;
    }
    return true;
}

json_t *control_parse_line(const char *line, size_t size, struct error *err)
{
    json_t *message = json_parse_object(line, size, err);

    if (message == NULL)
        err->kind = ERROR_USAGE;
    return message;
}
