#ifndef PGCOFFER_SRC_JOBS_TLS_PORT_READER_INTERNAL_H
#define PGCOFFER_SRC_JOBS_TLS_PORT_READER_INTERNAL_H

#include <sys/types.h>

#include "jobs/tls_port/port_internal.h"
#include "pgcoffer/config/config.h"
#include "pgcoffer/control/stream.h"

/*
 * The process beside a port's that reads its files. Who speaks with the network may open no file at all, and yet
 * renewed certificates are to be taken up; so one process has the files and nothing else, and the other the network and
 * the contents. It looks at the files at its start and whenever one was replaced, and tells
 *   {"event":"files","certificate":PEM,"key":PEM,"authorities":PEM|null,"revocations":PEM|null,"warning":ERROR|null}
 * or, when they are not good, an error event. The same is told once. It ends with the port's.
 */
#define READER_MOST_FILE_SIZE ((size_t)900 * 1024) /* four of them in one line of the channel */

struct port_reading {
    const struct config *config;
    const struct port_words *words;
    struct server_config view; /* the files under the names that they have for a server; "" is not read */
    /* Something to be told of files that are good, beside what ends soon; NULL: nothing. */
    bool (*find_warning)(const struct config *config, struct error *ret_warning);
};
/* Of [pgcoffer]: certificate, key, CA and revocation list as they are written there. */
void port_reading_of_daemon(const struct config *config, const struct port_words *words,
                            struct port_reading *ret_reading);

/* Forks. `unwanted` are descriptors that it shall not have, ended by -1. */
bool port_reader_start(const struct port_reading *reading, const int *unwanted, struct control_stream **ret_stream,
                       struct error *err) NODISCARD;

/* ---- for tests: one look ---- */
/* The event for the files as they lie there. */
json_t *port_reader_look(const struct port_reading *reading);

#endif
