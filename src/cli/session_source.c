#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/tunnel.h"

/* So many times connect_timeout a broken connection to a gateway is made anew, from the first failure on, and may be
 * silent. */
#define PATIENCE_IN_TIMEOUTS 3
/* So long may a command take to send what it is refused. */
#define PARTING_MILLISECONDS 2000

/*
 * Three reasons for a process of its own that opens the connections (opener.c): session children must not be forked
 * from a process with threads, nor the processes that carry TLS; and root that becomes the owner of a restored
 * directory still reads the repository, or the key of its certificate, as root.
 */
struct session_source {
    char *socket_path;             /* NULL with --direct and with a gateway */
    struct server_config *gateway; /* NULL without */
    struct config *config;         /* with --direct */
    struct repo repo;
    bool has_repo;
    struct opener opener; /* fd -1: connections are opened here */
    pthread_mutex_t mutex;
    bool (*is_interrupted)(void *context); /* may be NULL */
};

bool session_source_config(const struct invocation *invocation, struct config **ret_config, struct error *err)
{
    return config_load(invocation_text(invocation, OPTION_ID_config), ret_config, err);
}

/* The child of an opener that answers one client. */
static void run_session(const struct session_source *source, int fd)
{
    struct control_stream *client = control_stream_new(fd, CONTROL_LINE_SIZE);
    struct error err;

    if (!serve_session(client, source->config, &source->repo, RIGHT_ADMIN, NULL, &err)) {
        struct error ignored;
        /* The client may be gone, which is then the reason. */
        if (!control_send_error(client, &err, &ignored))
            _exit(1);
    }
    control_stream_free(client);
    _exit(0);
}

static bool fork_session(void *context, int *ret_fd, struct error *err)
{
    const struct session_source *source = context;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a socket pair");
    pid_t pid = opener_fork();
    if (pid == 0) {
        close(ends[0]);
        run_session(source, ends[1]);
    }
    close(ends[1]);
    if (pid < 0) {
        error_set_kind_errno(err, ERROR_FAILED, "could not start a session");
        close(ends[0]);
        return false;
    }
    *ret_fd = ends[0];
    return true;
}

/* ---- over TLS ---- */

/* What the process that carries the bytes tells before it does, once. */
struct tunnel_word {
    bool is_opened;
    struct error error;
};

static void tell(int channel, bool is_opened, const struct error *failure)
{
    struct tunnel_word word = {.is_opened = is_opened};

    if (!is_opened)
        word.error = *failure;
    (void)!send(channel, &word, sizeof word, MSG_NOSIGNAL);
}

struct tunnel_child {
    int channel; /* closed, and -1, once it has told */
};

static void tell_opened(void *context)
{
    struct tunnel_child *child = context;

    tell(child->channel, true, NULL);
    close(child->channel);
    child->channel = -1;
}

static void run_tunnel(const struct session_source *source, int channel, int local)
{
    struct tunnel_child child = {channel};
    struct error err;

    if (!tls_tunnel_run(source->gateway, local, tell_opened, &child, &err)) {
        if (child.channel >= 0) {
            tell(child.channel, false, &err);
        } else {
            /* A refusal that came after the handshake is the first answer. */
            struct control_stream *stream = control_stream_new(local, CONTROL_LINE_SIZE);
            struct error ignored;
            if (!control_part_with_error(stream, &err, PARTING_MILLISECONDS, &ignored))
                _exit(1);
        }
    }
    _exit(0);
}

static bool await_tunnel(int channel, struct error *err)
{
    struct tunnel_word word;
    ssize_t got;

    do
        got = recv(channel, &word, sizeof word, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof word)
        return error_set(err, ERROR_DAEMON, "the process that connects to the gateway has ended");
    if (!word.is_opened)
        *err = word.error;
    return word.is_opened;
}

static bool fork_tunnel(void *context, int *ret_fd, struct error *err)
{
    const struct session_source *source = context;
    int ends[2];
    int words[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a socket pair");
    int mine SCOPED(scoped_close) = ends[0];
    int its SCOPED(scoped_close) = ends[1];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, words) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a socket pair");
    int ear SCOPED(scoped_close) = words[0];
    int mouth SCOPED(scoped_close) = words[1];
    pid_t pid = opener_fork();
    if (pid < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not start a process for the connection");
    if (pid == 0) {
        close(mine);
        close(ear);
        run_tunnel(source, mouth, its);
    }
    scoped_close(&mouth);
    mouth = -1;
    if (!await_tunnel(ear, err))
        return false;
    *ret_fd = file_take_descriptor(&mine);
    return true;
}

static bool connect_here(void *context, int *ret_fd, struct error *err)
{
    const struct session_source *source = context;
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;

    if (!control_connect(source->socket_path, &stream, err))
        return false;
    *ret_fd = fcntl(control_stream_descriptor(stream), F_DUPFD_CLOEXEC, 3);
    return *ret_fd >= 0 || error_set_kind_errno(err, ERROR_FAILED, "could not keep a connection");
}

static bool open_repository(struct session_source *source, const struct invocation *invocation, struct error *err)
{
    if (!session_source_config(invocation, &source->config, err))
        return false;
    const struct settings *settings = &source->config->settings;
    if (!repo_open(settings->base_dir, settings->repository_group, &source->repo, err))
        return false;
    source->has_repo = true;
    if (access(settings->base_dir, R_OK | X_OK) == 0)
        return true;
    error_set_errno(err, "could not read the repository \"%s\"", settings->base_dir);
    return error_hint(err,
                      "--direct reads it as you: run as its owner or as root, or ask the daemon without --direct.");
}

bool session_source_new(const struct invocation *invocation, bool becomes_another, struct session_source **ret_source,
                        struct error *err)
{
    struct session_source *source SCOPED(scoped_session_source) = memory_new(sizeof *source);
    bool is_direct = invocation_has(invocation, OPTION_ID_direct);

    source->opener.fd = -1;
    pthread_mutex_init(&source->mutex, NULL);
    if (!gateway_find(invocation, &source->gateway, err))
        return false;
    bool is_remote = source->gateway != NULL;
    if (is_direct ? !open_repository(source, invocation, err)
                  : !is_remote && !socket_path_find(invocation, &source->socket_path, err))
        return false;
    if (is_remote)
        output_detail(invocation, "asking the gateway at %s port %ld", source->gateway->settings.host,
                      source->gateway->settings.port);
    else if (is_direct)
        output_detail(invocation, "reading the repository %s", source->config->settings.base_dir);
    else
        output_detail(invocation, "asking the daemon at %s", source->socket_path);
    opener_function *open = is_direct ? fork_session : is_remote ? fork_tunnel : connect_here;
    if ((is_direct || is_remote || becomes_another) && !opener_start(open, source, &source->opener, err))
        return false;
    *ret_source = TAKE(source);
    return true;
}

void session_source_free(struct session_source *source)
{
    if (source == NULL)
        return;
    opener_end(&source->opener);
    free(source->socket_path);
    free(source->gateway);
    config_free(source->config);
    if (source->has_repo)
        repo_done(&source->repo);
    pthread_mutex_destroy(&source->mutex);
    free(source);
}

bool session_source_open(struct session_source *source, struct control_stream **ret_stream, struct error *err)
{
    int fd = -1;

    if (source->opener.fd < 0)
        return control_connect(source->socket_path, ret_stream, err);
    pthread_mutex_lock(&source->mutex);
    /* Each of the threads that have waited here would wait for a gateway that is away, one after the other. */
    bool is_wanted = source->is_interrupted == NULL || !source->is_interrupted(NULL);
    bool is_open = is_wanted && opener_open(&source->opener, &fd, err);
    pthread_mutex_unlock(&source->mutex);
    if (!is_wanted) {
        error_set(err, ERROR_FAILED, "it was interrupted before a connection was made");
        err->errnum = ECANCELED;
    }
    if (is_open)
        *ret_stream = control_stream_new(fd, CONTROL_LINE_SIZE);
    return is_open;
}

void session_source_stop_when(struct session_source *source, bool (*is_interrupted)(void *context))
{
    source->is_interrupted = is_interrupted;
}

static bool open_for_connector(void *context, struct control_stream **ret_stream, struct error *err)
{
    return session_source_open(context, ret_stream, err);
}

struct connector session_source_connector(struct session_source *source)
{
    unsigned patience =
        source->gateway == NULL ? 0 : PATIENCE_IN_TIMEOUTS * (unsigned)source->gateway->settings.connect_timeout;

    return (struct connector){
        .open = open_for_connector, .context = source, .patience_seconds = patience, .silence_seconds = patience};
}
