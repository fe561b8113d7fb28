#ifndef PGCOFFER_SRC_JOBS_GATEWAY_READER_INTERNAL_H
#define PGCOFFER_SRC_JOBS_GATEWAY_READER_INTERNAL_H

#include <sys/types.h>

#include "pgcoffer/config/config.h"
#include "pgcoffer/control/stream.h"

/*
 * The process beside the gateway that reads its files. Who speaks with the network may open no file at all, and yet
 * renewed certificates are to be taken up; so one process has the files and nothing else, and the other the network and
 * the contents. It looks at the files at its start and whenever one was replaced, and tells
 *   {"event":"files","certificate":PEM,"key":PEM,"authorities":PEM,"revocations":PEM|null,"warning":ERROR|null}
 * or, when they are not good, an error event. The same is told once. It ends with the gateway.
 */
#define READER_MOST_FILE_SIZE ((size_t)900 * 1024) /* four of them in one line of the channel */

/* Forks. `unwanted` are descriptors that it shall not have, ended by -1. */
bool gateway_reader_start(const struct config *config, const int *unwanted, struct control_stream **ret_stream,
                          struct error *err) NODISCARD;

/* ---- for tests: one look ---- */
/* The event for the files as they lie there. */
json_t *gateway_reader_look(const struct config *config);

#endif
