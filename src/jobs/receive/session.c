#include "jobs/receive/receiver_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/receive/session_internal.h"
#include "jobs/receive/stream_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/text.h"

/* A standby that restarts may be behind for a while; after that it is worth an alarm. */
#define BEHIND_PATIENCE   INT64_C(30000000)
#define LOST_SHOWN_FOR    INT64_C(60000000)
#define SETTING_TEXT_SIZE 1024

static void done_candidate(struct session *session)
{
    receive_history_done(&session->history);
}

static void scoped_session(struct session *session)
{
    receive_history_done(&session->history);
    pg_disconnect(session->connection);
}

static void scoped_wal_ranges(struct wal_ranges *ranges)
{
    wal_ranges_done(ranges);
}

static bool decide(struct session *session, enum receive_obstacle *ret_obstacle, struct error *err)
{
    struct receiver *receiver = session->receiver;
    struct wal_ranges held SCOPED(scoped_wal_ranges) = {NULL, 0};
    struct wal_histories stored SCOPED(wal_histories_done) = {.count = 0};

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

/* One that is refused here is named, and the next one is tried. Nothing is changed. */
static bool judge_host(void *context, struct pg_connection *connection, const struct pg_identity *identity,
                       struct error *err)
{
    struct session *session = context;
    struct receiver *receiver = session->receiver;
    struct session candidate SCOPED(done_candidate) = {
        .receiver = receiver, .connection = connection, .server = *identity, .slot = {.is_known = true}};
    enum receive_obstacle obstacle = RECEIVE_OBSTACLE_NONE;

    if (!receive_cluster_check(receiver, identity->system_identifier, pg_session(connection)->server_version, err))
        return false;
    if (!receiver->has_archive || system_id_value(&receiver->archive.system) != identity->system_identifier)
        return true; /* nothing is held of it */
    candidate.segment_size = receiver->archive.segment_size;
    bool is_good = receive_timelines_fetch(connection, identity->timeline, &candidate.history, err) &&
                   decide(&candidate, &obstacle, err);
    session->is_behind = session->is_behind || obstacle == RECEIVE_OBSTACLE_BEHIND;
    return is_good;
}

/* A second time when all hosts have told the same new identifier: then an upgrade is believed. */
static bool search_hosts(struct session *session, struct error *err)
{
    const struct system_id *held = &session->receiver->report.system;
    struct receive_hosts *hosts = &session->receiver->hosts;

    hosts->common_system = 0;
    if (receive_hosts_connect(hosts, judge_host, session, &session->connection, err))
        return true;
    bool is_new = hosts->common_system != 0 && held->text[0] != '\0' && hosts->common_system != system_id_value(held);
    return is_new && receive_hosts_connect(hosts, judge_host, session, &session->connection, err);
}

static bool find_host(struct session *session, struct error *err)
{
    struct receiver *receiver = session->receiver;
    struct receive_hosts *hosts = &receiver->hosts;

    session->connection = receive_certificates_take_connection(&receiver->certificates);
    if (session->connection != NULL && !receive_hosts_is_here(hosts, session->connection))
        pg_disconnect(TAKE(session->connection));
    if (session->connection == NULL && !search_hosts(session, err)) {
        receive_report_refused(&receiver->report, err);
        be_patient_when_behind(session, session->is_behind);
        return false;
    }
    receiver->certificates.server = receive_hosts_view(hosts);
    receiver->sync.server = receive_hosts_view(hosts);
    session->role = receive_hosts_role(hosts, session->connection);
    return true;
}

static bool connect_and_identify(struct session *session, struct error *err)
{
    struct receiver *receiver = session->receiver;

    if (!find_host(session, err))
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

static bool find_start(struct session *session, struct error *err)
{
    enum receive_obstacle obstacle = RECEIVE_OBSTACLE_NONE;
    bool is_created = false;

    if (!receive_timelines_fetch(session->connection, session->server.timeline, &session->history, err) ||
        !session_read_slot(session, err))
        return false;
    bool decided = decide(session, &obstacle, err);
    be_patient_when_behind(session, obstacle == RECEIVE_OBSTACLE_BEHIND);
    if (!decided || !session_create_missing_slot(session, &is_created, err))
        return false;
    return !is_created || (session_read_slot(session, err) && decide(session, &obstacle, err));
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
    const struct pg_session *peer = pg_session(session->connection);
    char position[WAL_POSITION_TEXT_SIZE];

    wal_position_format(session->start.position, position);
    log_info("streaming from %s:%ld (%sPostgreSQL %s, %s%s%s): timeline %" PRIu32 " from %s", peer->host, peer->port,
             session->role == PG_ROLE_STANDBY ? "a standby, " : "", peer->server_version_text,
             peer->is_encrypted ? peer->tls_version : "not encrypted", peer->is_encrypted ? " " : "", peer->tls_cipher,
             session->start.timeline.value, position);
}

static enum receive_verdict judge_fault(struct session *session, enum wal_stream_fault fault, struct error *err)
{
    switch (fault) {
    case WAL_FAULT_SLOT_ACTIVE:
        return RECEIVE_SLOT_BUSY;
    case WAL_FAULT_SLOT_LOST:
        receive_gaps_note_slot_lost(&session->receiver->gaps, err->message);
        return session_replace_slot(session, err);
    case WAL_FAULT_REMOVED:
        return session_note_loss(session, err);
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

/* Of an old timeline a server knows no more than what it took along; one that does not say what it is proves nothing.
 */
static bool can_tell_completeness(struct session *session)
{
    bool is_primary = false;
    struct error ignored; /* what follows on the connection tells */

    return session->start.timeline.value == session->server.timeline.value &&
           pg_ask_primary(session->connection, &is_primary, &ignored) && is_primary;
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
        .server_position = session->server.position,
        .server_patience = server_patience,
        .completeness = {.is_primary = can_tell_completeness(session),
                         .has_caught_up = start->position.value >= session->server.position.value},
    };

    if (!wal_stream_start(session->connection, session->slot_name, start->timeline, start->position, &is_at_end, &fault,
                          err)) {
        session->verdict = judge_fault(session, fault, err);
        return false;
    }
    log_start(session);
    receive_report_role(&receiver->report, session->role);
    receive_hosts_note_stream(&receiver->hosts, &session->server, session->role, session->segment_size,
                              session_has_lasting_slot(session));
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
    if (err->kind == ERROR_INTEGRITY && receive_gaps_give_up_damaged(receiver, start->timeline, stream.next, err)) {
        session->verdict = RECEIVE_LOST_WAL;
        return false;
    }
    session->verdict = judge_fault(session, fault, err);
    return false;
}

static bool run(struct session *session, struct error *err)
{
    struct receiver *receiver = session->receiver;

    receive_report_state(&receiver->report, RECEIVE_CONNECTING, NULL);
    if (!connect_and_identify(session, err) || !find_start(session, err) || !session_publish_histories(session, err) ||
        !session_mend_slot(session, err))
        return false;
    if (receiver->is_lost)
        receive_report_keep_error(&receiver->report, &receiver->lost_error, LOST_SHOWN_FOR);
    receive_gaps_look_now(&receiver->gaps);
    receive_sync_ask(&receiver->sync, session->connection);
    int64_t server_patience = ask_patience(session);
    while (stream_timeline(session, server_patience, err) && session_follow_switch(session, err))
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
