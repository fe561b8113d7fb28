#include <inttypes.h>

#include "jobs/receive/session_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/pg/wal_stream.h"

static struct wal_segment first_segment(const struct session *session, struct timeline timeline,
                                        struct wal_position fork)
{
    return wal_segment_at(timeline, fork, session->segment_size);
}

/* Otherwise a copy that finds no room would be tried again at once, for what it needs is known to nobody. */
static bool demand_room(struct session *session, struct timeline timeline, struct wal_position fork, struct error *err)
{
    return receive_room_demand(session->receiver, first_segment(session, timeline, fork), err);
}

/* Quotas and what is kept for root show only now. */
static bool note_shortage(struct session *session, struct timeline timeline, struct wal_position fork,
                          const struct error *err)
{
    struct receive_room *room = &session->receiver->room;

    if (room_is_short(err)) {
        room->has_segment = true;
        room->segment = first_segment(session, timeline, fork);
    }
    return false;
}

bool session_publish_histories(struct session *session, struct error *err)
{
    const struct wal_archive *archive = &session->receiver->archive;
    const struct receive_start *start = &session->start;
    struct timeline missing = {0};
    char fork[WAL_POSITION_TEXT_SIZE];

    if (start->has_fork_copy &&
        !(demand_room(session, start->timeline, start->fork_position, err) &&
          receive_timelines_copy_fork(archive, start->fork_from, start->timeline, start->fork_position, err)))
        return note_shortage(session, start->timeline, start->fork_position, err);
    if (!receive_timelines_publish(archive, session->connection, &session->history, start->timeline, &missing, err))
        return false;
    if (missing.value != 0)
        log_warning("the server has no history of timeline %" PRIu32 ", an ancestor of its own", missing.value);
    wal_position_format(start->fork_position, fork);
    if (start->reason == RECEIVE_START_FORK)
        log_info("timeline %" PRIu32 " is followed by timeline %" PRIu32 " from %s", start->fork_from.value,
                 start->timeline.value, fork);
    return true;
}

bool session_follow_switch(struct session *session, struct error *err)
{
    struct receive_start *start = &session->start;
    struct timeline next = {0};
    struct wal_position fork = {0};
    char position[WAL_POSITION_TEXT_SIZE];

    session->verdict = RECEIVE_RETRY;
    if (!wal_stream_finish(session->connection, &next, &fork, err))
        return false;
    if (!demand_room(session, next, fork, err) ||
        !receive_timelines_switch(&session->receiver->archive, session->connection, start->timeline, next, fork, err))
        return note_shortage(session, next, fork, err);
    wal_position_format(fork, position);
    log_info("timeline %" PRIu32 " is followed by timeline %" PRIu32 " from %s", start->timeline.value, next.value,
             position);
    struct wal_segment first = wal_segment_at(next, fork, session->segment_size);
    *start = (struct receive_start){.reason = RECEIVE_START_FORK,
                                    .timeline = next,
                                    .position = wal_segment_start(first, session->segment_size),
                                    .fork_from = start->timeline,
                                    .fork_position = fork};
    if (session->server.timeline.value < next.value)
        session->server.timeline = next;
    return session_follow_promotion(session, err);
}
