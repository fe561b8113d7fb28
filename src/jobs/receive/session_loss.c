#include "jobs/receive/session_internal.h"

#include "pgcoffer/base/clock.h"

#define STANDBY_DOUBTED_FOR INT64_C(5000000)

/* Only a primary knows at once; of the same place it was asked before. */
static bool is_believed(const struct session *session)
{
    struct receive_doubt *doubt = &session->receiver->doubt;
    int64_t now = clock_monotonic();

    if (doubt->since == 0 || doubt->timeline.value != session->start.timeline.value ||
        doubt->position.value != session->start.position.value) {
        *doubt = (struct receive_doubt){
            .since = now, .timeline = session->start.timeline, .position = session->start.position};
        return false;
    }
    return session->role == PG_ROLE_PRIMARY || now - doubt->since >= STANDBY_DOUBTED_FOR;
}

enum receive_verdict session_note_loss(struct session *session, struct error *err)
{
    struct receiver *receiver = session->receiver;
    char name[WAL_SEGMENT_NAME_SIZE];
    struct error failure;

    if (!is_believed(session))
        return RECEIVE_RETRY;
    if (!receive_gaps_note_loss(receiver, session->start.timeline, session->start.position, err->message, &failure)) {
        *err = failure;
        return RECEIVE_RETRY;
    }
    wal_segment_format(wal_segment_at(session->start.timeline, session->start.position, session->segment_size),
                       session->segment_size, name);
    error_wrap(err, "WAL is lost from segment %s on", name);
    err->kind = ERROR_INTEGRITY;
    error_hint(err,
               "The server has removed WAL that was not received yet. Streaming goes on behind the gap (pgcoffer wal "
               "status %s); take a new backup now: pgcoffer backup %s",
               receiver->server->name, receiver->server->name);
    receiver->doubt.since = 0;
    if (receiver->is_lost) {
        receiver->is_lost = false;
        return RECEIVE_REFUSED;
    }
    receiver->is_lost = true;
    receiver->lost_position = session->start.position;
    receiver->lost_error = *err;
    return RECEIVE_LOST_WAL;
}
