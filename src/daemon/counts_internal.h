#ifndef PGCOFFER_SRC_DAEMON_COUNTS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_COUNTS_INTERNAL_H

#include <sys/types.h>

#include "daemon/job_table_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/json.h"

/*
 * What has happened since the daemon's start, in numbers that only rise, for who watches it. A worker counts from its
 * own start; here its counts are added up, so that one that dies and is started again lowers none.
 */
struct rising {
    uint64_t total;
    uint64_t seen; /* what the worker of now had told last */
};

struct worker_counts {
    pid_t worker; /* whose `seen` it is */
    struct rising received_bytes, reconnects, handshakes_ok, handshakes_refused;
};

/* A worker's report, with whichever of `received_bytes`, `reconnects` and `handshakes` it has. */
void worker_counts_take(struct worker_counts *counts, pid_t worker, const json_t *report);
json_t *worker_counts_handshakes(const struct worker_counts *counts); /* {"ok":N,"refused":N} */

/* {"backup":{"done":N,"failed":N,"cancelled":N}…}: of jobs that have ended. Made when it is needed first. */
void run_counts_add(json_t **counts, const struct job_entry *entry);
/* Those, or none. New reference. */
json_t *run_counts_to_json(const json_t *counts);

/* ---- of the daemon itself ---- */
struct counts {
    json_t *runs; /* of jobs over all servers */
    struct timestamp reloaded_at; /* the configuration that holds was read then */
    bool was_reload_refused;      /* a later one was wrong */
    int memory_file;              /* /proc/self/statm, opened once, so that telling opens nothing */
    bool has_memory_file;
};

void counts_begin(struct counts *counts, struct timestamp started_at);
void counts_done(struct counts *counts);
void counts_note_reload(struct counts *counts, bool is_good);
/* COUNTS of doc/control-protocol.md. */
json_t *counts_to_json(const struct counts *counts);

#endif
