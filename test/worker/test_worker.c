#include "pgcoffer/worker/worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "support/scratch.h"
#include "support/suite.h"

/*
 * This program is its own worker: started with --role=NAME it does what the start line asks for under "do" and
 * reports as a worker would.
 */

/* ---- as a worker ---- */

static int count_descriptors(void)
{
    int count = -3; /* ".", "..", and the one that reads the folder */
    DIR *folder = opendir("/proc/self/fd");

    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static bool can_open(const char *path, int flags)
{
    int fd SCOPED(scoped_close) = open(path, flags | O_CLOEXEC, 0600);

    return fd >= 0;
}

static json_t *describe(struct worker_context *context)
{
    char name[17] = "";
    sigset_t blocked;

    prctl(PR_GET_NAME, name, 0, 0, 0);
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    return json_pack("{s:s, s:i, s:b, s:b, s:s, s:i}", "name", name, "descriptors", count_descriptors(), "has_client",
                     context->client >= 0, "blocks_chld", sigismember(&blocked, SIGCHLD), "request",
                     context->request.command == COMMAND_COUNT ? "" : context->request.server, "no_new_privs",
                     prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static bool can_start(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return pid > 0;
}

static bool can_bind(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(1)};
    int fd SCOPED(scoped_close) = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    for (unsigned port = 40000; port < 40100; port++) {
        address.sin_port = htons((uint16_t)port);
        if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0)
            return true;
    }
    return false;
}

/* The signals of a descriptor go to whom it is told. */
static bool can_be_owned_by(pid_t pid)
{
    struct f_owner_ex owner = {F_OWNER_PID, pid};
    int number = pid;
    int fd SCOPED(scoped_close) = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd < 0 || fcntl(fd, F_SETOWN, pid) == 0 || fcntl(fd, F_SETOWN_EX, &owner) == 0 ||
           ioctl(fd, FIOSETOWN, &number) == 0 || ioctl(fd, SIOCSPGRP, &number) == 0 || fcntl(fd, F_GETFL) < 0;
}

/* The ways to end or disturb another process of the same user. */
static bool can_signal(pid_t pid)
{
    siginfo_t info = {.si_code = SI_QUEUE};
    struct rlimit limit;

    return kill(pid, 0) == 0 || syscall(SYS_tgkill, pid, pid, 0) == 0 || syscall(SYS_tkill, pid, 0) == 0 ||
           syscall(SYS_rt_sigqueueinfo, pid, 0, &info) == 0 ||
           syscall(SYS_rt_tgsigqueueinfo, pid, pid, 0, &info) == 0 || prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0;
}

/* By the filter of system calls: Landlock, which not every kernel has, answers EACCES. */
static bool is_filtered(void)
{
    struct rlimit limit;

    bool is_opening = open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EPERM;
    bool is_making = open("/no/such/path", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 || errno != EPERM;
    bool is_removing = unlink("/no/such/path") == 0 || errno != EPERM;
    bool is_ringing = syscall(SYS_io_uring_setup, 1, NULL) >= 0 || errno != EPERM;
    return !is_opening && !is_making && !is_removing && !is_ringing && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
           raise(0) == 0; /* and of itself it may ask */
}

/* As a kernel answers that has neither Landlock nor seccomp. */
static void forget_what_confines(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_landlock_create_ruleset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_prctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_SECCOMP, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static json_t *confine(struct worker_context *context)
{
    const char *reading[] = {json_text_or_null(context->start, "readable"), NULL};
    const char *writing[] = {json_text_or_null(context->start, "writable"), "/no/such/path", NULL};
    char path[512];
    struct error err;

    if (json_is_true(json_object_get(context->start, "on_old_kernel")))
        forget_what_confines();
    if (!worker_confine(context, reading, writing, &err))
        return json_pack("{s:s}", "failure", err.message);
    json_t *seen =
        json_pack("{s:i, s:b}", "dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), "is_confined", worker_is_confined());
    snprintf(path, sizeof path, "%s/file", reading[0]);
    json_object_set_new(seen, "reads", json_boolean(can_open(path, O_RDONLY)));
    json_object_set_new(seen, "writes_readable", json_boolean(can_open(path, O_WRONLY)));
    snprintf(path, sizeof path, "%s/new", writing[0]);
    json_object_set_new(seen, "writes", json_boolean(can_open(path, O_WRONLY | O_CREAT)));
    json_object_set_new(seen, "reads_other",
                        json_boolean(can_open(json_text_or_null(context->start, "other"), O_RDONLY)));
    json_object_set_new(seen, "reads_users", json_boolean(can_open("/etc/passwd", O_RDONLY)));
    if (roles[context->role].is_bound_to_port) {
        json_object_set_new(seen, "starts", json_boolean(can_start()));
        json_object_set_new(seen, "signals", json_boolean(can_signal(getppid())));
        json_object_set_new(seen, "owned", json_boolean(can_be_owned_by(getppid())));
        json_object_set_new(seen, "filtered", json_boolean(is_filtered()));
        json_object_set_new(seen, "binds", json_boolean(can_bind()));
    }
    return seen;
}

static void wait_for_interrupt(struct worker_context *context)
{
    while (!worker_is_interrupted(context)) {
        struct pollfd pollers[] = {
            {.fd = context->interrupt_fd, .events = POLLIN},
            {.fd = control_stream_descriptor(context->channel), .events = POLLRDHUP},
        };
        poll(pollers, 2, -1);
    }
}

static int be_worker(const char *name)
{
    struct worker_context context;
    struct error err;
    enum role_id role;

    if (!role_find(name, &role) || !worker_begin(role, &context, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return error_exit_status(&err);
    }
    const char *task = json_text_or_null(context.start, "do");
    bool is_sent = true;
    if (strcmp(task, "describe") == 0)
        is_sent = control_send_result(context.channel, describe(&context), &err);
    else if (strcmp(task, "confine") == 0)
        is_sent = control_send_result(context.channel, confine(&context), &err);
    else if (strcmp(task, "greet") == 0)
        is_sent = write(context.client, "hello", 5) == 5;
    else if (strcmp(task, "wait") == 0) {
        is_sent = control_send_item(context.channel, json_integer(getpid()), &err);
        wait_for_interrupt(&context);
    }
    worker_end(&context);
    if (roles[role].is_bound_to_port)
        _exit(is_sent ? 0 : 1); /* a sanitizer's search for leaks starts a process */
    return is_sent ? 0 : 1;
}

/* ---- as the supervisor ---- */

static struct worker start(enum role_id role, int client)
{
    struct worker worker;
    struct error err;

    ck_assert_msg(worker_start(role, client, -1, &worker, &err), "%s", err.message);
    return worker;
}

/* Sends the start line; the stream owns the channel afterwards. */
static struct control_stream *begin(struct worker *worker, json_t *start_stolen)
{
    struct control_stream *channel = control_stream_new(worker->channel, CONTROL_CHANNEL_SIZE);
    struct error err;

    ck_assert(control_send(channel, start_stolen, &err));
    json_decref(start_stolen);
    worker->channel = -1;
    return channel;
}

static int end_status(const struct worker *worker)
{
    int status;

    ck_assert_int_eq(waitpid(worker->pid, &status, 0), worker->pid);
    return status;
}

START_TEST(every_role_is_found_and_serve_has_no_network)
{
    enum role_id role;

    for (int i = 0; i < ROLE_COUNT; i++) {
        ck_assert(role_find(roles[i].name, &role));
        ck_assert_int_eq((int)role, i);
        ck_assert(roles[i].may_read_repository || !roles[i].may_write_repository);
    }
    ck_assert(!role_find("king", &role));
    ck_assert(!roles[ROLE_serve].may_use_network && !roles[ROLE_serve].may_write_repository);
    ck_assert(roles[ROLE_receive].may_use_network && roles[ROLE_receive].may_read_keys);
    ck_assert(!roles[ROLE_slot].may_read_repository);
}
END_TEST

START_TEST(a_worker_gets_its_channel_and_nothing_else)
{
    int leaked SCOPED(scoped_close) = open("/dev/null", O_RDONLY); /* not close-on-exec */
    sigset_t chld;
    struct error err;

    ck_assert_int_ge(leaked, 0);
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
    struct worker worker = start(ROLE_backup, -1);
    struct control_stream *channel SCOPED(scoped_control_stream) =
        begin(&worker, json_pack("{s:s, s:{s:i, s:s, s:s}}", "do", "describe", "request", "v", 1, "command", "backup",
                                 "server", "primary"));
    json_t *seen SCOPED(scoped_json) = control_await_result(channel, NULL, NULL, &err);
    ck_assert_msg(seen != NULL, "%s", err.message);
    ck_assert_str_eq(json_text_or_null(seen, "name"), "pgcofferd");
    ck_assert_int_eq(json_number_or(seen, "descriptors", -1), 5); /* 0 to 3, and the one for signals */
    ck_assert_str_eq(json_text_or_null(seen, "request"), "primary");
    ck_assert(!json_is_set(seen, "has_client"));
    ck_assert(!json_is_set(seen, "blocks_chld"));
    ck_assert_int_eq(json_number_or(seen, "no_new_privs", -1), 1);
    ck_assert_int_eq(end_status(&worker), 0);
}
END_TEST

START_TEST(a_serve_worker_gets_the_connection)
{
    int ends[2];
    char bytes[5];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    struct worker worker = start(ROLE_serve, ends[1]);
    close(ends[1]);
    struct control_stream *channel = begin(&worker, json_pack("{s:s}", "do", "greet"));
    ck_assert_int_eq(recv(ends[0], bytes, 5, MSG_WAITALL), 5);
    ck_assert_mem_eq(bytes, "hello", 5);
    ck_assert_int_eq(recv(ends[0], bytes, 1, 0), 0); /* nobody else holds it */
    control_stream_free(channel);
    ck_assert_int_eq(end_status(&worker), 0);
    close(ends[0]);
}
END_TEST

static void await_greeting(struct control_stream *channel, pid_t *ret_pid)
{
    struct error err;
    json_t *item SCOPED(scoped_json) = NULL;

    ck_assert(control_receive(channel, &item, &err));
    ck_assert_ptr_nonnull(item);
    *ret_pid = (pid_t)json_number_or(item, "data", -1);
}

START_TEST(sigterm_interrupts_a_worker_and_does_not_kill_it)
{
    struct worker worker = start(ROLE_verify, -1);
    struct control_stream *channel SCOPED(scoped_control_stream) = begin(&worker, json_pack("{s:s}", "do", "wait"));
    pid_t pid;

    await_greeting(channel, &pid);
    ck_assert_int_eq(pid, worker.pid);
    kill(pid, SIGHUP);
    kill(pid, SIGTERM);
    ck_assert_int_eq(end_status(&worker), 0);
}
END_TEST

static int shared_pipe[2];

static void write_into_pipe(int number)
{
    (void)number;
    if (write(shared_pipe[1], "x", 1) != 1)
        _exit(1);
}

START_TEST(a_worker_ended_at_once_does_not_run_the_supervisors_handlers)
{
    struct sigaction action = {.sa_handler = write_into_pipe};
    char byte;

    ck_assert_int_eq(pipe2(shared_pipe, O_CLOEXEC | O_NONBLOCK), 0);
    sigaction(SIGTERM, &action, NULL);
    for (int i = 0; i < 100; i++) {
        struct worker worker = start(ROLE_backup, -1);
        kill(worker.pid, SIGTERM);
        close(worker.channel);
        end_status(&worker);
    }
    ck_assert_int_lt(read(shared_pipe[0], &byte, 1), 0);
    close(shared_pipe[0]);
    close(shared_pipe[1]);
}
END_TEST

START_TEST(a_closed_channel_interrupts_a_worker)
{
    struct worker worker = start(ROLE_verify, -1);
    struct control_stream *channel = begin(&worker, json_pack("{s:s}", "do", "wait"));
    pid_t pid;

    await_greeting(channel, &pid);
    control_stream_free(channel);
    ck_assert_int_eq(end_status(&worker), 0);
}
END_TEST

START_TEST(a_worker_dies_with_its_supervisor)
{
    int pipes[2];
    pid_t pid = 0;

    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    pid_t supervisor = fork();
    ck_assert_int_ge(supervisor, 0);
    if (supervisor == 0) {
        struct worker worker = start(ROLE_verify, -1);
        struct control_stream *channel = begin(&worker, json_pack("{s:s}", "do", "wait"));
        await_greeting(channel, &pid);
        if (write(pipes[1], &pid, sizeof pid) == (ssize_t)sizeof pid)
            for (;;)
                pause();
        _exit(1);
    }
    ck_assert_int_eq(read(pipes[0], &pid, sizeof pid), (ssize_t)sizeof pid);
    kill(supervisor, SIGKILL);
    ck_assert_int_eq(waitpid(supervisor, NULL, 0), supervisor);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid); /* ours now, and dead */
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

static json_t *confined_on(enum role_id role, bool on_old_kernel)
{
    struct error err;

    ck_assert(file_make_directories(scratch_path("readable"), 0700, &err));
    ck_assert(file_make_directories(scratch_path("writable"), 0700, &err));
    for (int i = 0; i < 2; i++) {
        int fd SCOPED(scoped_close) = open(scratch_path(i == 0 ? "other" : "readable/file"), O_CREAT | O_WRONLY, 0600);
        ck_assert_int_ge(fd, 0);
    }
    struct worker worker = start(role, -1);
    struct control_stream *channel SCOPED(scoped_control_stream) =
        begin(&worker,
              json_pack("{s:s, s:s, s:s, s:s, s:b}", "do", "confine", "readable", scratch_path("readable"), "writable",
                        scratch_path("writable"), "other", scratch_path("other"), "on_old_kernel", on_old_kernel));
    json_t *seen = control_await_result(channel, NULL, NULL, &err);
    ck_assert_msg(seen != NULL, "%s", err.message);
    ck_assert_msg(json_text_or_null(seen, "failure") == NULL, "%s", json_text_or_null(seen, "failure"));
    ck_assert_int_eq(end_status(&worker), 0);
    return seen;
}

static json_t *confined(enum role_id role)
{
    return confined_on(role, false);
}

static long landlock_version(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static bool kernel_has_landlock(void)
{
    return landlock_version() >= 1;
}

/* A kernel without Landlock refuses nothing, and that is no failure. */
START_TEST(a_confined_worker_keeps_what_it_needs_and_loses_the_rest)
{
    json_t *seen SCOPED(scoped_json) = confined(ROLE_delete);

    ck_assert_int_eq(json_number_or(seen, "dumpable", -1), 0);
    ck_assert(json_is_set(seen, "reads"));
    ck_assert(json_is_set(seen, "writes"));
    ck_assert(json_is_set(seen, "reads_users"));
    ck_assert_int_eq(json_is_set(seen, "reads_other"), !kernel_has_landlock());
    ck_assert_int_eq(json_is_set(seen, "writes_readable"), !kernel_has_landlock());
}
END_TEST

START_TEST(a_worker_on_the_network_reads_its_keys_wherever_they_are)
{
    json_t *seen SCOPED(scoped_json) = confined(ROLE_receive);

    ck_assert(json_is_set(seen, "reads_other"));
    ck_assert_int_eq(json_number_or(seen, "dumpable", -1), 0);
}
END_TEST

START_TEST(a_worker_bound_to_its_port_opens_nothing_and_starts_nothing)
{
    json_t *seen SCOPED(scoped_json) = confined(ROLE_gateway);

    ck_assert(!json_is_set(seen, "starts")); /* as another process it would be an administrator */
    ck_assert(!json_is_set(seen, "signals"));
    ck_assert(!json_is_set(seen, "owned"));
    ck_assert(json_is_set(seen, "is_confined"));
    ck_assert(json_is_set(seen, "filtered"));
    ck_assert(!json_is_set(seen, "reads_other"));
    ck_assert(!json_is_set(seen, "reads_users"));
    if (landlock_version() >= 4)
        ck_assert(!json_is_set(seen, "binds"));
}
END_TEST

START_TEST(a_worker_knows_that_its_kernel_took_nothing_from_it)
{
    json_t *seen SCOPED(scoped_json) = confined_on(ROLE_gateway, true);

    ck_assert(!json_is_set(seen, "is_confined"));
    ck_assert(json_is_set(seen, "reads_other"));
}
END_TEST

START_TEST(a_role_started_by_hand_is_refused)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct worker_context context;
        struct error err;
        close_range(3, ~0u, 0);
        bool is_begun = worker_begin(ROLE_backup, &context, &err);
        _exit(is_begun || err.kind != ERROR_USAGE ? 1 : 0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_supervisor_that_ends_before_the_start_line_ends_the_worker)
{
    struct worker worker = start(ROLE_backup, -1);

    close(worker.channel);
    int status = end_status(&worker);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 4);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2 && strncmp(argv[1], "--role=", 7) == 0)
        return be_worker(argv[1] + 7);
    TCase *tests = tcase_create("worker");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, every_role_is_found_and_serve_has_no_network);
    tcase_add_test(tests, a_worker_gets_its_channel_and_nothing_else);
    tcase_add_test(tests, a_serve_worker_gets_the_connection);
    tcase_add_test(tests, sigterm_interrupts_a_worker_and_does_not_kill_it);
    tcase_add_test(tests, a_worker_ended_at_once_does_not_run_the_supervisors_handlers);
    tcase_add_test(tests, a_closed_channel_interrupts_a_worker);
    tcase_add_test(tests, a_worker_dies_with_its_supervisor);
    tcase_add_test(tests, a_confined_worker_keeps_what_it_needs_and_loses_the_rest);
    tcase_add_test(tests, a_worker_on_the_network_reads_its_keys_wherever_they_are);
    tcase_add_test(tests, a_worker_bound_to_its_port_opens_nothing_and_starts_nothing);
    tcase_add_test(tests, a_worker_knows_that_its_kernel_took_nothing_from_it);
    tcase_add_test(tests, a_role_started_by_hand_is_refused);
    tcase_add_test(tests, a_supervisor_that_ends_before_the_start_line_ends_the_worker);
    return suite_run("worker", tests);
}
