#ifndef PGCOFFER_TLS_PROBE_INTERNAL_H
#define PGCOFFER_TLS_PROBE_INTERNAL_H

#include "pgcoffer/config/config.h"

/* A TCP connection to the server, every address tried in turn; *ret_fd does not block. `ret_words` on failure. */
bool probe_socket_open(const struct server_config *server, int64_t deadline, int *ret_fd, char *ret_words, size_t size);
/* Waits for poll(2) events; false at the deadline. */
bool probe_socket_wait(int fd, short events, int64_t deadline);
/* Sends SSLRequest and reads the one byte of answer, -1 with `ret_words` when none comes. */
int probe_socket_ask_for_tls(int fd, int64_t deadline, char *ret_words, size_t size);

#endif
