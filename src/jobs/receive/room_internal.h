#ifndef PGCOFFER_SRC_JOBS_RECEIVE_ROOM_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_ROOM_INTERNAL_H

#include "jobs/room_forecast_internal.h"

struct receiver;

/*
 * Everything about room on the receiver's side. A segment is begun only when it, one compression and a margin fit
 * (jobs/room_internal.h). Without that, or when the disk is full all the same, receiving pauses: the connection is
 * closed, for one that cannot store would hold up commits and the server's shutdown. What is whole stays; compression
 * goes on and makes room; and receiving goes on by itself once there is enough.
 */
struct receive_room {
    struct room_disk disk; /* "" until it was looked at */
    struct room_rate rate;
    struct room seen;
    int64_t look_at, looked_at; /* monotonic */
    int warned_level;           /* 0: nothing was logged */
    int64_t warned_at;

    bool has_segment; /* this one could not be made */
    struct wal_segment segment;
    bool is_paused;
    int64_t paused_until; /* monotonic: the end of the last pause; 0: there was none */

    struct wal_position server_before, server_now; /* at the pause's begin, and when it was asked last */
    struct wal_position slot_position;             /* asked for when nothing was acknowledged */
    struct timestamp asked_at;                     /* 0: not since the pause began */
    int64_t ask_at;
    bool is_unanswered;
    struct error question_error;
    char slot_limit[32]; /* max_slot_wal_keep_size; "" without one */
};

/* What lies in the archive tells the rate; and the compressor asks for room and tells what it has stored. */
void receive_room_begin(struct receiver *receiver);
/* Before the segment is made; STORAGE with errnum ENOSPC when it must not be. One that is there needs nothing. */
bool receive_room_demand(struct receiver *receiver, struct wal_segment segment, struct error *err) NODISCARD;
/* The room there is, into `seen`. */
bool receive_room_read(struct receiver *receiver, struct error *err) NODISCARD;
/* Could a segment be begun now? */
bool receive_room_fits(struct receiver *receiver, bool *ret_fits, struct error *err) NODISCARD;
/* room_pause.c: after a session that ended for lack of room (room_is_short()): until there is some again; false when
 * the worker is to end. */
bool receive_room_pause(struct receiver *receiver, const struct error *cause);
/* By a connection of its own: what the server's slot keeps meanwhile. In room_question.c. */
void receive_room_ask(struct receiver *receiver);
/* Looks at the room now and then, and warns in time. */
void receive_room_turn(struct receiver *receiver);
int64_t receive_room_due(const struct receiver *receiver); /* monotonic */

#endif
