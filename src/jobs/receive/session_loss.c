#include "jobs/receive/session_internal.h"

bool session_is_slot_invalidated(const struct session *session)
{
    const struct pg_slot *slot = &session->slot;

    return session_has_lasting_slot(session) && slot->is_known && slot->exists && !slot->has_position &&
           session->start.held_end.value != 0;
}

enum receive_verdict session_note_loss(struct session *session, struct error *err)
{
    struct receiver *receiver = session->receiver;
    bool is_invalidated = session->is_slot_invalidated;
    char name[WAL_SEGMENT_NAME_SIZE];
    struct error failure;

    if (is_invalidated)
        receive_gaps_note_slot_lost(&receiver->gaps, "the replication slot was invalidated (max_slot_wal_keep_size)");
    if (!receive_gaps_note_loss(receiver, session->start.timeline, session->start.position, err->message, &failure)) {
        *err = failure;
        return RECEIVE_RETRY;
    }
    wal_segment_format(wal_segment_at(session->start.timeline, session->start.position, session->segment_size),
                       session->segment_size, name);
    error_wrap(err, "WAL is lost from segment %s on", name);
    err->kind = ERROR_INTEGRITY;
    if (is_invalidated)
        (void)session_replace_slot(session, err);
    error_hint(err,
               "The server has removed WAL that was not received yet. Streaming goes on behind the gap (pgcoffer wal "
               "status %s); take a new backup now: pgcoffer backup %s",
               receiver->server->name, receiver->server->name);
    if (receiver->is_lost) {
        receiver->is_lost = false;
        return RECEIVE_REFUSED;
    }
    receiver->is_lost = true;
    receiver->lost_position = session->start.position;
    receiver->lost_error = *err;
    return RECEIVE_LOST_WAL;
}
