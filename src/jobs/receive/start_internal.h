#ifndef PGCOFFER_SRC_JOBS_RECEIVE_START_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_START_INTERNAL_H

#include "pgcoffer/pg/connection.h"
#include "pgcoffer/repo/wal_archive.h"

/*
 * Where streaming goes on, decided from what the server says and what is held (DESIGN 4). Pure: no I/O, so every case
 * of a failover, a rewound server or a lost segment is a unit test.
 */
struct receive_start_input {
    const struct pg_identity *server;
    const struct history *server_history; /* of the server's timeline */
    const struct wal_ranges *held;
    const struct history *stored_histories; /* every one of the archive; timeline 1 has none */
    size_t stored_history_count;
    const struct pg_slot *slot; /* exists false without one */
    struct wal_segment_size segment_size;
    /* The server said that it has no longer what this timeline needs from here on: go on behind it. */
    bool is_lost;
    struct wal_position lost_position;
};

enum receive_start_reason {
    RECEIVE_START_HELD,    /* after the last byte held of a timeline of the server's history */
    RECEIVE_START_FORK,    /* all of a timeline up to its fork is held, perhaps more: the next one begins */
    RECEIVE_START_SLOT,    /* nothing of the server's history is held: from what the slot keeps */
    RECEIVE_START_CURRENT, /* nor is there a slot with a position: from the server's present segment */
};

struct receive_start {
    enum receive_start_reason reason;
    struct timeline timeline;
    struct wal_position position; /* a segment's first byte */
    struct wal_position held_end; /* what is held of `timeline`; 0 when nothing */
    /* FORK: bytes of fork_from up to fork_position are held and go to `timeline` before its history is published. */
    bool has_fork_copy;
    struct timeline fork_from;
    struct wal_position fork_position;
};

/* Why streaming may not begin. Nothing is to be touched, neither here nor on the server. */
enum receive_obstacle {
    RECEIVE_OBSTACLE_NONE,
    RECEIVE_OBSTACLE_BEHIND,        /* the server has less of the timeline than is held: it may catch up */
    RECEIVE_OBSTACLE_OLD_TIMELINE,  /* the archive knows a newer timeline: an old primary */
    RECEIVE_OBSTACLE_OTHER_HISTORY, /* the same timeline number, another switch point */
};

/* False with *ret_obstacle and *err (INTEGRITY, with a hint) when streaming may not begin. */
bool receive_start_decide(const struct receive_start_input *input, struct receive_start *ret_start,
                          enum receive_obstacle *ret_obstacle, struct error *err) NODISCARD;

/* Does the stored history of a timeline say what the server's says about its ancestors? True for a dead branch. */
bool receive_start_histories_agree(const struct history *server_history, const struct history *stored);

/* What is new after pg_upgrade, and only then, is a system identifier together with a higher major version. */
bool receive_start_is_upgrade(int stored_server_version, int server_version);

#endif
