#ifndef PGCOFFER_SRC_JOBS_RECEIVE_LOOKOUT_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_LOOKOUT_INTERNAL_H

#include "pgcoffer/pg/hosts.h"

/*
 * The other hosts, while one of them is streamed from: has one become the primary? An idle connection to each is kept
 * and asked every few seconds, which costs two short answers and no handshake. All of it happens in a thread
 * (hosts.c); the task is the thread's only while it runs.
 */
/* Two primaries of one timeline: are they one server by two names? */
enum lookout_kinship {
    LOOKOUT_UNDECIDED,
    LOOKOUT_SAME_SERVER,
    LOOKOUT_ANOTHER_SERVER,
};

enum lookout_slot {
    LOOKOUT_SLOT_KEPT,
    LOOKOUT_SLOT_DROPPED,
    LOOKOUT_SLOT_MISSING, /* somebody else has dropped it */
};

struct lookout_task {
    const struct server_config *server; /* borrowed, all hosts */
    int interrupt_fd;
    size_t count, here; /* which is not asked */
    enum pg_role role;  /* of the one in use, as the next two are */
    uint64_t system_identifier;
    struct timeline timeline;
    unsigned stream; /* which number of the stream from there: another one may come from another server */
    const char *slot;
    bool is_slot_ours[CONFIG_MOST_HOSTS]; /* left behind there by this process: drop it once that is a standby */

    struct pg_connection *connections[CONFIG_MOST_HOSTS]; /* kept from look to look */
    int64_t tried_again_at[CONFIG_MOST_HOSTS];            /* monotonic: one that is down costs time */
    struct pg_host_report reports[CONFIG_MOST_HOSTS];     /* kept, too */
    enum lookout_slot slots[CONFIG_MOST_HOSTS];

    enum lookout_kinship kinship[CONFIG_MOST_HOSTS]; /* kept with the connection */
    unsigned compared_with[CONFIG_MOST_HOSTS];       /* `stream` of that time */
    int64_t compared_again_at[CONFIG_MOST_HOSTS];    /* monotonic; after an UNDECIDED */
};
/* In the thread. Bounded by interrupt_fd and twice LOOKOUT_SECONDS a host. */
void lookout_run(struct lookout_task *task);
void lookout_done(struct lookout_task *task);

#define LOOKOUT_SECONDS        3
#define LOOKOUT_TRIED_AGAIN    INT64_C(10000000)
#define LOOKOUT_COMPARED_AGAIN INT64_C(60000000)

/* ---- what follows from it: pure ---- */
struct lookout_input {
    size_t count, here;
    enum pg_role role; /* of the one we stream from */
    uint64_t system_identifier;
    struct timeline timeline;
    struct wal_position received, received_before; /* now and at the look before */
    uint64_t far_bytes;                            /* so much ahead of one that stands still is worth a change */
    const struct pg_host_report *reports;
    const enum lookout_kinship *kinship;
};
/*
 * The host to go to, or `count` to stay. A primary is better than a standby, and whoever has a newer timeline is better
 * than both: of two primaries the one that was promoted last is the right one.
 */
size_t lookout_choose(const struct lookout_input *input);
/* Somebody should look at that host, although it is not used. *err INTEGRITY, with a hint. */
bool lookout_find_problem(const struct lookout_input *input, size_t host, struct error *err);

#endif
