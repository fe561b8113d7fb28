#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/file.h"

struct answer {
    bool is_opened;
    struct error error;
};

union passed_descriptor {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr alignment;
};

/* With the answer goes the descriptor, if there is one. */
static bool send_answer(int channel, const struct answer *answer, int fd)
{
    union passed_descriptor control = {{0}};
    struct iovec piece = {(void *)answer, sizeof *answer};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    if (answer->is_opened) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(channel, &message, MSG_NOSIGNAL) == (ssize_t)sizeof *answer;
}

/* In the process that opens. */
static int served_channel = -1;

/* The other process: ends when its creator does. */
static void serve(int channel, opener_function *open, void *context)
{
    char word;

    served_channel = channel;
    while (recv(channel, &word, 1, 0) == 1) {
        struct answer answer = {0};
        int fd SCOPED(scoped_close) = -1;
        answer.is_opened = open(context, &fd, &answer.error);
        if (!send_answer(channel, &answer, fd))
            return;
    }
}

pid_t opener_fork(void)
{
    pid_t pid = fork();

    if (pid == 0 && served_channel >= 0)
        close(served_channel);
    return pid;
}

/* Ctrl-C is for the process in front, which then decides; a pipe behind our stdout must not wait for us. */
static void detach_from_terminal(void)
{
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);

    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    signal(SIGCHLD, SIG_IGN);
    if (nowhere < 0)
        return;
    dup2(nowhere, STDIN_FILENO);
    dup2(nowhere, STDOUT_FILENO);
    close(nowhere);
}

bool opener_start(opener_function *open, void *context, struct opener *ret_opener, struct error *err)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a socket pair");
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        error_set_kind_errno(err, ERROR_FAILED, "could not start a process");
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    if (pid == 0) {
        close(ends[0]);
        detach_from_terminal();
        serve(ends[1], open, context);
        _exit(0);
    }
    close(ends[1]);
    *ret_opener = (struct opener){ends[0], pid};
    return true;
}

static int descriptor_of(struct msghdr *message)
{
    const struct cmsghdr *header = CMSG_FIRSTHDR(message);
    int fd = -1;

    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

bool opener_open(const struct opener *opener, int *ret_fd, struct error *err)
{
    struct answer answer;
    union passed_descriptor control;
    struct iovec piece = {&answer, sizeof answer};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t got = -1;

    if (send(opener->fd, "o", 1, MSG_NOSIGNAL) == 1) {
        do
            got = recvmsg(opener->fd, &message, MSG_CMSG_CLOEXEC);
        while (got < 0 && errno == EINTR);
    }
    if (got != (ssize_t)sizeof answer)
        return error_set(err, ERROR_FAILED, "the process that opens sessions has ended");
    if (!answer.is_opened) {
        *err = answer.error;
        return false;
    }
    *ret_fd = descriptor_of(&message);
    return *ret_fd >= 0 || error_set(err, ERROR_FAILED, "the process that opens sessions gave none");
}

void opener_end(struct opener *opener)
{
    if (opener->fd < 0)
        return;
    close(opener->fd);
    waitpid(opener->pid, NULL, 0);
    opener->fd = -1;
}
