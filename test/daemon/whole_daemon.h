#ifndef PGCOFFER_TEST_DAEMON_WHOLE_DAEMON_H
#define PGCOFFER_TEST_DAEMON_WHOLE_DAEMON_H

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "daemon/fake_worker.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/daemon/supervisor.h"
#include "support/scratch.h"

/* A whole daemon in a child of the test, with this program as its workers (fake_worker.h). */

static pid_t daemon_pid;

static inline void write_configuration(const char *more)
{
    FILE *file = fopen(scratch_path("pgcoffer.conf"), "we");

    fprintf(file, "[pgcoffer]\nbase_dir = %s\nunix_socket_dir = %s\nlog_level = error\n%s", scratch_path("base"),
            scratch_path("run"), more);
    fprintf(file, "[one]\nhost = a\nuser = repl\ntls_cert_file = /c\ntls_key_file = /k\ntls_ca_file = /a\n");
    fclose(file);
}

static inline _Noreturn void be_daemon(void)
{
    struct config *config;
    struct error err;

    if (freopen("/dev/null", "w", stderr) == NULL || !config_load(scratch_path("pgcoffer.conf"), &config, &err))
        _exit(error_exit_status(&err));
    exit(supervisor_run(config));
}

static inline pid_t fork_daemon(void)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        be_daemon();
    return pid;
}

static inline struct control_stream *connect_now(void)
{
    struct control_stream *stream = NULL;
    struct error err;

    ck_assert_msg(control_connect(scratch_path("run/pgcoffer.sock"), &stream, &err), "%s", err.message);
    control_stream_set_timeout(stream, 15000);
    return stream;
}

static inline void await_daemon(void)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;
    struct error err;

    for (int i = 0; i < 1000 && !control_connect(scratch_path("run/pgcoffer.sock"), &stream, &err); i++)
        usleep(10000); /* its start has no other sign than the socket */
    ck_assert_ptr_nonnull(stream);
}

static inline void prepare_daemon(void)
{
    struct error err;

    scratch_make();
    ck_assert(file_make_directories(scratch_path("base"), 0700, &err));
    write_configuration("");
}

static inline void begin_daemon(void)
{
    daemon_pid = fork_daemon();
    await_daemon();
}

static inline void start_daemon(void)
{
    prepare_daemon();
    begin_daemon();
}

static inline int end_of(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static inline void stop_daemon(void)
{
    if (daemon_pid > 0) {
        kill(daemon_pid, SIGTERM);
        ck_assert_int_eq(end_of(daemon_pid), 0);
    }
    daemon_pid = 0;
    scratch_remove();
}

/* ---- asking ---- */

static inline void send_request(struct control_stream *stream, const char *command, const char *server,
                                const char *label)
{
    struct error err;
    json_t *request SCOPED(scoped_json) = json_pack("{s:i, s:s, s:s*, s:{s:s*}}", "v", CONTROL_VERSION, "command",
                                                    command, "server", server, "options", "label", label);

    ck_assert(control_send(stream, request, &err));
}

/* The next event, which must be of that name. */
static inline json_t *expect(struct control_stream *stream, const char *name)
{
    struct error err;
    json_t *message = NULL;

    ck_assert_msg(control_receive(stream, &message, &err), "%s", err.message);
    ck_assert_msg(message != NULL, "the connection ended, no %s came", name);
    char *line SCOPED(scoped_free) = json_to_line(message);
    ck_assert_msg(strcmp(json_text_or_null(message, "event"), name) == 0, "no %s but %s", name, line);
    return message;
}

static inline void expect_end(struct control_stream *stream)
{
    struct error err;
    json_t *message = NULL;

    ck_assert_msg(control_receive(stream, &message, &err), "%s", err.message);
    ck_assert_ptr_null(message);
}

static inline void expect_error(struct control_stream *stream, const char *kind, const char *part)
{
    json_t *message SCOPED(scoped_json) = expect(stream, "error");

    ck_assert_str_eq(json_text_or_null(message, "kind"), kind);
    ck_assert_msg(strstr(json_text_or_null(message, "message"), part) != NULL, "%s",
                  json_text_or_null(message, "message"));
}

static inline json_t *ask(const char *command)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = connect_now();
    struct error err;

    send_request(stream, command, NULL, NULL);
    json_t *data = control_await_result(stream, NULL, NULL, &err);
    ck_assert_msg(data != NULL, "%s: %s", command, err.message);
    return data;
}

#endif
