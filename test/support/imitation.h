#ifndef PGCOFFER_TEST_SUPPORT_IMITATION_H
#define PGCOFFER_TEST_SUPPORT_IMITATION_H

#include <arpa/inet.h>
#include <check.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that plays a server on 127.0.0.1. A fixture ends it with imitation_stop(). */

/* Listens on a free port already when it returns; `serve` is called in the child and need not return. */
static inline pid_t imitation_start(void (*serve)(int listener), long *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        signal(SIGPIPE, SIG_IGN);
        serve(listener);
        _exit(0);
    }
    close(listener);
    return child;
}

/* Does nothing when none was started. */
static inline void imitation_stop(pid_t *child)
{
    if (*child > 0) {
        kill(*child, SIGKILL);
        waitpid(*child, NULL, 0);
    }
    *child = 0;
}

#endif
