#include "jobs/receive/receiver_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/receive/start_internal.h"
#include "jobs/receive/stream_internal.h"
#include "jobs/receive/timelines_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/text.h"

/* A standby that restarts may be behind for a while; after that it is worth an alarm. */
#define BEHIND_PATIENCE INT64_C(30000000)
#define LOST_SHOWN_FOR  INT64_C(60000000)

struct session {
    struct receiver *receiver;
    struct pg_connection *connection;
    const char *slot_name;
    struct pg_identity server;
    struct wal_segment_size segment_size;
    struct receive_history history; /* of the server's timeline */
    struct pg_slot slot;
    struct receive_start start;
    bool is_patient;              /* not an alarm yet */
    enum receive_verdict verdict; /* of the failure */
};

static void scoped_session(struct session *session)
{
    receive_history_done(&session->history);
    pg_disconnect(session->connection);
}

static bool connect_and_identify(struct session *session, struct error *err)
{
    struct receiver *receiver = session->receiver;

    session->connection = receive_certificates_take_connection(&receiver->certificates);
    if (session->connection == NULL && !pg_connect(receiver->server, receiver->server->settings.application_name,
                                                   receiver->worker->interrupt_fd, &session->connection, err))
        return false;
    receive_report_session(&receiver->report, pg_session(session->connection));
    receive_certificates_connected(&receiver->certificates, pg_session(session->connection));
    if (!pg_identify(session->connection, &session->server, err) ||
        !pg_segment_size(session->connection, &session->segment_size, err))
        return false;
    receive_report_server(&receiver->report, session->server.position);
    return receive_cluster_adopt(receiver, session->server.system_identifier,
                                 pg_session(session->connection)->server_version, session->segment_size, err);
}

static bool read_slot(struct session *session, struct error *err)
{
    session->slot = (struct pg_slot){.is_known = true};
    if (text_is_empty(session->slot_name))
        return true;
    if (!pg_slot_read(session->connection, session->slot_name, &session->slot, err))
        return false;
    if (!session->slot.exists || session->slot.is_physical)
        return true;
    error_set(err, ERROR_CONFIG, "replication slot \"%s\" is a logical one", session->slot_name);
    return error_hint(err, "Give wal_slot of [%s] another name.", session->receiver->server->name);
}

static void scoped_wal_ranges(struct wal_ranges *ranges)
{
    wal_ranges_done(ranges);
}

static bool decide(struct session *session, enum receive_obstacle *ret_obstacle, struct error *err)
{
    struct receiver *receiver = session->receiver;
    struct wal_ranges held SCOPED(scoped_wal_ranges) = {NULL, 0};
    struct receive_stored_histories stored SCOPED(scoped_receive_stored_histories) = {NULL, 0};

    *ret_obstacle = RECEIVE_OBSTACLE_NONE;
    if (!wal_archive_ranges(&receiver->archive, &held, err) ||
        !receive_timelines_load(&receiver->archive, &stored, err))
        return false;
    const struct receive_start_input input = {
        .server = &session->server,
        .server_history = &session->history.history,
        .held = &held,
        .stored_histories = stored.histories,
        .stored_history_count = stored.count,
        .slot = &session->slot,
        .segment_size = session->segment_size,
        .is_lost = receiver->is_lost,
        .lost_position = receiver->lost_position,
    };
    return receive_start_decide(&input, &session->start, ret_obstacle, err);
}

static void be_patient_when_behind(struct session *session, bool is_behind)
{
    struct receiver *receiver = session->receiver;

    if (!is_behind)
        receiver->behind_since = 0;
    else if (receiver->behind_since == 0)
        receiver->behind_since = clock_monotonic();
    session->is_patient = is_behind && clock_monotonic() - receiver->behind_since < BEHIND_PATIENCE;
}

/* Nothing is made on a server that we will not stream from, so this comes after the first decision. */
static bool create_missing_slot(struct session *session, bool *ret_created, struct error *err)
{
    const struct server_config *server = session->receiver->server;
    bool existed = false;

    *ret_created = false;
    if (text_is_empty(session->slot_name) || session->slot.exists)
        return true;
    if (!server->settings.create_slot) {
        if (!session->slot.is_known)
            return true; /* START_REPLICATION will tell */
        error_set(err, ERROR_SERVER, "replication slot \"%s\" does not exist", session->slot_name);
        return error_hint(err, "Create it: pgcoffer slot create %s, or set create_slot = yes.", server->name);
    }
    if (!pg_slot_create(session->connection, session->slot_name, &existed, err))
        return false;
    if (!existed)
        log_info("created replication slot \"%s\"", session->slot_name);
    *ret_created = !existed;
    return true;
}

static bool find_start(struct session *session, struct error *err)
{
    enum receive_obstacle obstacle = RECEIVE_OBSTACLE_NONE;
    bool is_created = false;

    if (!receive_timelines_fetch(session->connection, session->server.timeline, &session->history, err) ||
        !read_slot(session, err))
        return false;
    bool decided = decide(session, &obstacle, err);
    be_patient_when_behind(session, obstacle == RECEIVE_OBSTACLE_BEHIND);
    if (!decided || !create_missing_slot(session, &is_created, err))
        return false;
    return !is_created || (read_slot(session, err) && decide(session, &obstacle, err));
}

static bool publish_histories(struct session *session, struct error *err)
{
    const struct wal_archive *archive = &session->receiver->archive;
    const struct receive_start *start = &session->start;
    struct timeline missing = {0};
    char fork[WAL_POSITION_TEXT_SIZE];

    if (start->has_fork_copy &&
        !receive_timelines_copy_fork(archive, start->fork_from, start->timeline, start->fork_position, err))
        return false;
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

/* How long it waits for a word of ours; 0: for ever. */
static int64_t ask_patience(struct session *session)
{
    int64_t patience = 0;
    struct error err;

    if (!pg_show_duration(session->connection, "wal_sender_timeout", &patience, &err))
        log_debug("%s", err.message);
    return patience;
}

static void log_start(const struct session *session)
{
    const struct settings *settings = &session->receiver->server->settings;
    const struct pg_session *peer = pg_session(session->connection);
    char position[WAL_POSITION_TEXT_SIZE];

    wal_position_format(session->start.position, position);
    log_info("streaming from %s:%ld (PostgreSQL %s, %s%s%s): timeline %" PRIu32 " from %s",
             text_is_empty(settings->host) ? settings->hostaddr : settings->host, settings->port,
             peer->server_version_text, peer->is_encrypted ? peer->tls_version : "not encrypted",
             peer->is_encrypted ? " " : "", peer->tls_cipher, session->start.timeline.value, position);
}

/* The next attempt goes on behind what is gone. A second loss in a row is an alarm like any other. */
static enum receive_verdict note_lost_wal(struct session *session, struct error *err)
{
    struct receiver *receiver = session->receiver;
    char name[WAL_SEGMENT_NAME_SIZE];

    wal_segment_format(wal_segment_at(session->start.timeline, session->start.position, session->segment_size),
                       session->segment_size, name);
    error_wrap(err, "WAL is lost from segment %s on", name);
    err->kind = ERROR_INTEGRITY;
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

/* What the server has invalidated keeps nothing any more: a new one loses nothing. */
static enum receive_verdict replace_slot(struct session *session, struct error *err)
{
    const struct server_config *server = session->receiver->server;
    struct error problem;

    error_hint(err, "Drop it and create it again: pgcoffer slot drop %s, pgcoffer slot create %s", server->name,
               server->name);
    if (!server->settings.create_slot)
        return RECEIVE_REFUSED;
    if (pg_slot_drop(session->connection, session->slot_name, &problem))
        error_hint(err, "The slot was dropped and will be created again.");
    else
        error_detail(err, "%s", problem.message);
    return RECEIVE_REFUSED;
}

static enum receive_verdict judge_fault(struct session *session, enum wal_stream_fault fault, struct error *err)
{
    switch (fault) {
    case WAL_FAULT_SLOT_ACTIVE:
        return RECEIVE_SLOT_BUSY;
    case WAL_FAULT_SLOT_LOST:
        return replace_slot(session, err);
    case WAL_FAULT_REMOVED:
        return note_lost_wal(session, err);
    case WAL_FAULT_NOT_IN_HISTORY:
        return RECEIVE_REFUSED;
    case WAL_FAULT_INTERRUPTED:
        return RECEIVE_INTERRUPTED;
    case WAL_FAULT_SLOT_MISSING:
    case WAL_FAULT_AHEAD:
    case WAL_FAULT_CONNECTION:
    case WAL_FAULT_OTHER:
        break;
    }
    return RECEIVE_RETRY;
}

/* Where the server does not tell it: what was acknowledged before this process began was held. */
static struct wal_position slot_position(const struct session *session)
{
    if (session->slot.has_position)
        return session->slot.restart_position;
    return session->slot.is_known ? (struct wal_position){0} : session->start.held_end;
}

/* The next timeline begins below what was acknowledged of this one. */
static void note_slot_position(struct session *session, struct wal_position position)
{
    session->slot.has_position = position.value != 0;
    session->slot.restart_position = position;
}

/* One timeline. True at its end, when the server has said what follows. */
static bool stream_timeline(struct session *session, int64_t server_patience, struct error *err)
{
    struct receiver *receiver = session->receiver;
    struct receive_start *start = &session->start;
    enum wal_stream_fault fault = WAL_FAULT_OTHER;
    bool is_at_end = false;
    struct receive_stream stream = {
        .receiver = receiver,
        .connection = session->connection,
        .timeline = start->timeline,
        .next = start->position,
        .slot_position = slot_position(session),
        .server_patience = server_patience,
    };

    if (!wal_stream_start(session->connection, session->slot_name, start->timeline, start->position, &is_at_end, &fault,
                          err)) {
        session->verdict = judge_fault(session, fault, err);
        return false;
    }
    log_start(session);
    if (is_at_end)
        return true;
    enum receive_stream_end end = receive_stream_run(&stream, &fault, err);
    note_slot_position(session, stream.slot_position);
    switch (end) {
    case RECEIVE_STREAM_GOES_ON:
    case RECEIVE_STREAM_END_OF_TIMELINE:
        return true;
    case RECEIVE_STREAM_INTERRUPTED:
        session->verdict = RECEIVE_INTERRUPTED;
        return false;
    case RECEIVE_STREAM_RENEWED:
        session->verdict = RECEIVE_RENEWED;
        return false;
    case RECEIVE_STREAM_SHUTDOWN:
        session->verdict = RECEIVE_SHUTDOWN;
        return error_set(err, ERROR_SERVER, "the server ended the stream: it is shutting down");
    case RECEIVE_STREAM_FAULT:
        break;
    }
    session->verdict = judge_fault(session, fault, err);
    return false;
}

static bool follow_switch(struct session *session, struct error *err)
{
    struct receive_start *start = &session->start;
    struct timeline next = {0};
    struct wal_position fork = {0};
    char position[WAL_POSITION_TEXT_SIZE];

    session->verdict = RECEIVE_RETRY;
    if (!wal_stream_finish(session->connection, &next, &fork, err) ||
        !receive_timelines_switch(&session->receiver->archive, session->connection, start->timeline, next, fork, err))
        return false;
    wal_position_format(fork, position);
    log_info("timeline %" PRIu32 " is followed by timeline %" PRIu32 " from %s", start->timeline.value, next.value,
             position);
    struct wal_segment first = wal_segment_at(next, fork, session->segment_size);
    *start = (struct receive_start){.reason = RECEIVE_START_FORK,
                                    .timeline = next,
                                    .position = wal_segment_start(first, session->segment_size),
                                    .fork_from = start->timeline,
                                    .fork_position = fork};
    return true;
}

static bool run(struct session *session, struct error *err)
{
    struct receiver *receiver = session->receiver;

    receive_report_state(&receiver->report, RECEIVE_CONNECTING, NULL);
    if (!connect_and_identify(session, err) || !find_start(session, err) || !publish_histories(session, err))
        return false;
    if (receiver->is_lost)
        receive_report_keep_error(&receiver->report, &receiver->lost_error, LOST_SHOWN_FOR);
    receive_sync_ask(&receiver->sync, session->connection);
    int64_t server_patience = ask_patience(session);
    while (stream_timeline(session, server_patience, err) && follow_switch(session, err))
        continue;
    return false;
}

enum receive_verdict receive_session_run(struct receiver *receiver, struct error *err)
{
    struct session session SCOPED(scoped_session) = {
        .receiver = receiver, .slot_name = receiver->server->settings.wal_slot, .verdict = RECEIVE_RETRY};

    run(&session, err);
    if (worker_is_interrupted(receiver->worker))
        return RECEIVE_INTERRUPTED;
    if (session.verdict == RECEIVE_RETRY && err->kind == ERROR_INTEGRITY && !session.is_patient)
        return RECEIVE_REFUSED;
    return session.verdict;
}
