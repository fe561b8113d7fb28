#ifndef PGCOFFER_SRC_JOBS_RECEIVE_SESSION_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_SESSION_INTERNAL_H

#include "jobs/receive/receiver_internal.h"
#include "jobs/receive/start_internal.h"
#include "jobs/receive/timelines_internal.h"

/* One connection from its start to its end: session.c, with the slot in session_slot.c and what is lost in
 * session_loss.c. */
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
    bool is_slot_invalidated;
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
/* What the server has invalidated keeps nothing any more: a new one loses nothing. */
enum receive_verdict session_replace_slot(struct session *session, struct error *err);
/* Does it stream with the slot of the configuration? */
bool session_has_lasting_slot(const struct session *session);

/* ---- session_loss.c ---- */
/* Servers up to 16 stream from an invalidated slot; it shows, before, by having lost the position that it had. */
bool session_is_slot_invalidated(const struct session *session);
/*
 * The server has removed what is needed; *err has its words. Recorded first: the next attempt goes on behind what is
 * gone, whatever happens in between. A second loss in a row is an alarm like any other.
 */
enum receive_verdict session_note_loss(struct session *session, struct error *err);

#endif
