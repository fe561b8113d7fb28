#ifndef PGCOFFER_SRC_DAEMON_SOCKET_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_SOCKET_INTERNAL_H

#include <sys/types.h>

#include "pgcoffer/base/error.h"

/* The control socket as a file: mode 0666, because who may do what is decided by the peer's credentials. */
struct control_socket {
    int fd; /* -1: none */
    char path[108];
    dev_t device; /* of the file bound: another daemon's is not removed */
    ino_t inode;
};

bool control_socket_open(const char *folder, struct control_socket *ret_socket, struct error *err) NODISCARD;
void control_socket_close(struct control_socket *control_socket); /* and removes the file */

#endif
