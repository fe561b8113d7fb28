#ifndef PGCOFFER_SRC_JOBS_RECEIVE_SESSION_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_SESSION_INTERNAL_H

#include "jobs/receive/receiver_internal.h"
#include "jobs/receive/start_internal.h"
#include "jobs/receive/timelines_internal.h"

/* One connection from its start to its end: session.c, with the slot in session_slot.c, changes of the timeline in
 * session_fork.c and what is lost in session_loss.c. */
#define TEMPORARY_SLOT_SIZE 64

struct session {
    struct receiver *receiver;
    struct pg_connection *connection;
    enum pg_role role;
    const char *slot_name; /* "": none */
    char temporary_slot[TEMPORARY_SLOT_SIZE];
    struct pg_identity server;
    struct wal_segment_size segment_size;
    struct receive_history history; /* of the server's timeline */
    struct pg_slot slot;
    struct receive_start start;
    bool is_behind;               /* a host was refused because it is behind what is held */
    bool is_patient;              /* not an alarm yet */
    enum receive_verdict verdict; /* of the failure */
};

/* ---- session_slot.c ---- */
bool session_read_slot(struct session *session, struct error *err) NODISCARD;
/*
 * Nothing is made on a server that we will not stream from, so this comes after the first decision. On a standby of
 * several hosts it is a temporary one: we may leave it any moment, and what is left behind there keeps WAL for nobody.
 */
bool session_create_missing_slot(struct session *session, bool *ret_created, struct error *err) NODISCARD;
/* After a switch of the timeline: a standby that was promoted gets the slot of the configuration. */
bool session_follow_promotion(struct session *session, struct error *err) NODISCARD;
/*
 * Before streaming, with what is held known: a slot that has lost its position keeps nothing. 16 and 17 stream from it
 * all the same and never count it again, so it is dropped and created anew; with create_slot = no that is an alarm.
 * Up to 15 the first word of ours revives it.
 */
bool session_mend_slot(struct session *session, struct error *err) NODISCARD;
/* What the server has refused as invalidated keeps nothing any more: a new one loses nothing. */
enum receive_verdict session_replace_slot(struct session *session, struct error *err);
/* Does it stream with the slot of the configuration? */
bool session_has_lasting_slot(const struct session *session);

/* ---- session_fork.c ---- */
/* What the start needs of other timelines: the bytes up to the fork, and the histories. */
bool session_publish_histories(struct session *session, struct error *err) NODISCARD;
/* At the end of a timeline: the next one begins, on the same connection. */
bool session_follow_switch(struct session *session, struct error *err) NODISCARD;

/* ---- session_loss.c ---- */
/*
 * The server says that it has removed what is needed; *err has its words. It is asked a second time, and a standby for
 * a while: one that follows a new timeline says the same of what it has yet to receive. Then it is recorded first: the
 * next attempt goes on behind what is gone, whatever happens in between. A second loss in a row is an alarm like any
 * other.
 */
enum receive_verdict session_note_loss(struct session *session, struct error *err);

#endif
