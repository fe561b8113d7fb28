#include "jobs/receive/report_internal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/gap_told_internal.h"
#include "pgcoffer/base/memory.h"

#define MOST_NAMES_SHOWN 1024

static const char *state_word(enum receive_state state)
{
    switch (state) {
    case RECEIVE_STARTING:
        return "starting";
    case RECEIVE_CONNECTING:
        return "connecting";
    case RECEIVE_STREAMING:
        return "streaming";
    case RECEIVE_WAITING:
        return "waiting";
    case RECEIVE_ALARM:
        return "alarm";
    }
    return "";
}

static json_t *fault_to_json(bool is_there, const struct error *fault)
{
    return is_there ? control_failure_to_json(fault) : json_null();
}

static json_t *first_warning(const struct receive_report *report)
{
    for (enum receive_warning source = 0; source < RECEIVE_WARNING_COUNT; source++)
        if (report->warnings[source] != NULL)
            return fault_to_json(true, report->warnings[source]);
    return json_null();
}

/* It is one of the lines that others read: of a very long list the beginning must do. */
static json_t *sync_to_json(const struct receive_report *report)
{
    char names[MOST_NAMES_SHOWN + 1];

    if (report->sync_names != NULL)
        snprintf(names, sizeof names, "%s", report->sync_names);
    return json_pack("{s:b, s:s, s:o}", "wanted", report->is_sync_wanted, "state", sync_state_word(report->sync_state),
                     "names", report->sync_names != NULL ? control_text(names) : json_null());
}

static json_t *certificate_to_json(const struct pg_certificate *certificate)
{
    if (certificate->fingerprint[0] == '\0')
        return json_null();
    return json_pack("{s:o, s:s, s:s}", "subject", control_text(certificate->subject), "not_after",
                     certificate->not_after, "fingerprint", certificate->fingerprint);
}

static json_t *complete_to_json(const struct receive_report *report)
{
    if (report->complete.at.microseconds == 0)
        return json_null();
    return json_pack("{s:I, s:o, s:o}", "timeline", (json_int_t)report->complete_timeline.value, "lsn",
                     events_position(report->complete.position), "at", json_time(report->complete.at));
}

static json_t *room_to_json(const struct receive_report_room *room)
{
    if (!room->is_known)
        return json_null();
    return json_pack("{s:o, s:I, s:I, s:o, s:o, s:o}", "disk", control_text(room->disk), "free",
                     (json_int_t)room->free_bytes, "reserve", (json_int_t)room->reserve_bytes, "rate",
                     room->bytes_per_hour > 0 ? json_integer((json_int_t)room->bytes_per_hour) : json_null(),
                     "reserve_at", json_time(room->reserve_at), "full_at", json_time(room->full_at));
}

static json_t *answer_to_json(enum receive_answer answer)
{
    return answer == RECEIVE_NOT_ASKED ? json_null() : json_boolean(answer == RECEIVE_LET_IN);
}

static json_t *role_to_json(enum pg_role role)
{
    return role == PG_ROLE_UNKNOWN ? json_null() : json_boolean(role == PG_ROLE_STANDBY);
}

json_t *receive_report_to_json(const struct receive_report *report)
{
    json_t *data = json_object();

    json_object_set_new(data, "state", json_string(state_word(report->state)));
    json_object_set_new(data, "since", json_time(report->since));
    json_object_set_new(data, "host", control_text(report->host));
    json_object_set_new(data, "port", json_integer(report->port));
    json_object_set_new(data, "in_recovery", role_to_json(report->role));
    json_object_set_new(data, "hosts", report->hosts != NULL ? json_incref(report->hosts) : json_null());
    json_object_set_new(data, "timeline", json_integer(report->timeline.value));
    json_object_set_new(data, "received", events_position(report->received));
    json_object_set_new(data, "flushed", events_position(report->flushed));
    json_object_set_new(data, "server_position", events_position(report->server_position));
    json_object_set_new(data, "last_message_at", json_time(report->last_message_at));
    json_object_set_new(data, "caught_up_at", json_time(report->caught_up_at));
    json_object_set_new(data, "up", answer_to_json(report->answer));
    json_object_set_new(data, "slot", json_string(report->slot));
    json_object_set_new(data, "reconnects", json_integer(report->reconnects));
    json_object_set_new(data, "received_bytes", json_integer((json_int_t)report->received_bytes));
    json_object_set_new(data, "handshakes",
                        json_pack("{s:I, s:I}", "ok", (json_int_t)report->handshakes_ok, "refused",
                                  (json_int_t)report->handshakes_refused));
    json_object_set_new(data, "tls_version", json_string(report->tls_version));
    json_object_set_new(data, "tls_cipher", json_string(report->tls_cipher));
    json_object_set_new(data, "certificate", certificate_to_json(&report->certificate));
    json_object_set_new(data, "server_certificate", certificate_to_json(&report->server_certificate));
    json_object_set_new(data, "authorities_not_after", json_time(report->authorities_not_after));
    json_object_set_new(data, "error", fault_to_json(report->has_error, &report->error));
    json_object_set_new(data, "warning", first_warning(report));
    json_object_set_new(data, "sync", sync_to_json(report));
    json_object_set_new(data, "room", room_to_json(&report->room));
    json_object_set_new(data, "complete", complete_to_json(report));
    json_object_set_new(data, "gaps", report->gaps != NULL ? json_incref(report->gaps) : json_null());
    json_object_set_new(data, "system_id", json_string(report->system.text));

    json_t *event = json_object();
    json_object_set_new(event, "event", json_string("receiver"));
    json_object_set_new(event, "data", data);
    return event;
}

void receive_report_done(struct receive_report *report)
{
    json_decref(report->hosts);
    report->hosts = NULL;
    json_decref(report->gaps);
    report->gaps = NULL;
    free(TAKE(report->sync_names));
    for (enum receive_warning source = 0; source < RECEIVE_WARNING_COUNT; source++)
        free(TAKE(report->warnings[source]));
}

/* Commits may wait for us: a supervisor that does not read is told later. */
static bool is_channel_free(const struct receive_report *report)
{
    struct pollfd channel = {.fd = control_stream_descriptor(report->channel), .events = POLLOUT};

    return poll(&channel, 1, 0) != 0;
}

/* A supervisor that is gone shows itself by the end of the channel; there is nobody to tell here. */
static void send_report(struct receive_report *report)
{
    report->sent_at = clock_monotonic();
    report->is_changed = true;
    if (!is_channel_free(report))
        return;
    json_t *event SCOPED(scoped_json) = receive_report_to_json(report);
    struct error ignored;

    report->is_changed = !control_send(report->channel, event, &ignored);
}

static void drop_outdated_error(struct receive_report *report)
{
    if (report->has_error && clock_monotonic() >= report->error_kept_until) {
        report->has_error = false;
        report->is_changed = true;
    }
}

void receive_report_state(struct receive_report *report, enum receive_state state, const struct error *failure)
{
    if (failure != NULL) {
        report->has_error = true;
        report->error = *failure;
        report->error_kept_until = 0;
    } else if (state == RECEIVE_STREAMING) {
        drop_outdated_error(report);
    }
    if (state != report->state || report->since.microseconds == 0) {
        report->state = state;
        report->since = clock_now();
    }
    send_report(report);
}

void receive_report_keep_error(struct receive_report *report, const struct error *failure, int64_t microseconds)
{
    report->has_error = true;
    report->error = *failure;
    report->error_kept_until = clock_monotonic() + microseconds;
    report->is_changed = true;
}

void receive_report_session(struct receive_report *report, const struct pg_session *session)
{
    snprintf(report->tls_version, sizeof report->tls_version, "%s", session->tls_version);
    snprintf(report->tls_cipher, sizeof report->tls_cipher, "%s", session->tls_cipher);
    snprintf(report->host, sizeof report->host, "%s", session->host);
    report->port = session->port;
    report->role = session->role;
    report->certificate = session->own;
    report->server_certificate = session->peer;
    report->answer = RECEIVE_LET_IN;
    report->handshakes_ok += session->is_encrypted;
    report->is_changed = true;
}

void receive_report_refused(struct receive_report *report, const struct error *failure)
{
    report->answer = RECEIVE_NOT_LET_IN;
    report->handshakes_refused += failure->kind == ERROR_TLS;
    report->is_changed = true;
}

void receive_report_role(struct receive_report *report, enum pg_role role)
{
    report->is_changed = report->is_changed || report->role != role;
    report->role = role;
}

void receive_report_hosts(struct receive_report *report, json_t *hosts)
{
    bool is_same = json_equal(report->hosts, hosts) == 1;

    json_decref(report->hosts);
    report->hosts = hosts;
    report->is_changed = report->is_changed || !is_same;
}

void receive_report_client(struct receive_report *report, const struct certificate_text *certificate)
{
    snprintf(report->certificate.subject, sizeof report->certificate.subject, "%s", certificate->subject);
    snprintf(report->certificate.not_after, sizeof report->certificate.not_after, "%s", certificate->not_after_text);
    snprintf(report->certificate.fingerprint, sizeof report->certificate.fingerprint, "%s", certificate->fingerprint);
    report->is_changed = true;
}

void receive_report_served(struct receive_report *report, const struct pg_certificate *certificate)
{
    report->server_certificate = *certificate;
    report->is_changed = true;
}

void receive_report_authorities(struct receive_report *report, struct timestamp not_after)
{
    report->is_changed = report->is_changed || report->authorities_not_after.microseconds != not_after.microseconds;
    report->authorities_not_after = not_after;
}

void receive_report_warning(struct receive_report *report, enum receive_warning source, const struct error *warning)
{
    struct error **place = &report->warnings[source];

    if (warning == NULL && *place == NULL)
        return;
    if (warning == NULL) {
        free(TAKE(*place));
    } else {
        if (*place == NULL)
            *place = memory_new(sizeof **place);
        **place = *warning;
    }
    report->is_changed = true;
}

void receive_report_sync(struct receive_report *report, enum sync_state state, const char *names)
{
    free(report->sync_names);
    report->sync_state = state;
    report->sync_names = names != NULL ? memory_copy_text(names) : NULL;
    report->is_changed = true;
}

void receive_report_room(struct receive_report *report, const struct receive_report_room *room)
{
    report->room = *room;
    report->is_changed = true;
}

void receive_report_gaps(struct receive_report *report, const struct wal_gaps *gaps, struct wal_segment_size size)
{
    const struct wal_gap *newest = gaps->count > 0 ? &gaps->gaps[gaps->count - 1] : NULL;

    json_decref(report->gaps);
    report->gaps = json_pack("{s:I, s:o}", "count", (json_int_t)gaps->count, "newest",
                             newest != NULL ? gap_to_json(newest, size) : json_null());
    report->is_changed = true;
}

/* ---- how far behind ---- */

static bool has_all(const struct receive_report *report)
{
    return report->server_position.value != 0 && report->flushed.value >= report->server_position.value;
}

static void set_mark(struct receive_report *report, struct timestamp now)
{
    report->mark.at = now;
    report->mark.position = report->server_position;
}

/* After more was flushed. */
static void note_progress(struct receive_report *report, struct timestamp now)
{
    if (has_all(report)) {
        report->caught_up_at = now;
        report->mark.at.microseconds = 0;
    } else if (report->mark.at.microseconds != 0 && report->flushed.value >= report->mark.position.value) {
        report->caught_up_at = report->mark.at;
        set_mark(report, now);
    }
}

void receive_report_positions(struct receive_report *report, struct timeline timeline, struct wal_position received,
                              struct wal_position flushed)
{
    if (report->timeline.value == timeline.value && report->received.value == received.value &&
        report->flushed.value == flushed.value)
        return;
    report->timeline = timeline;
    report->received = received;
    report->flushed = flushed;
    note_progress(report, clock_now());
    report->is_changed = true;
}

void receive_report_complete(struct receive_report *report, struct timeline timeline,
                             const struct wal_complete *complete)
{
    report->complete_timeline = timeline;
    report->complete = *complete;
    report->is_changed = true;
}

void receive_report_server(struct receive_report *report, struct wal_position server_position)
{
    struct timestamp now = clock_now();

    /* What a stream brings was not there before. Of a server that was not heard nobody knows when it came. */
    if (report->state == RECEIVE_STREAMING && has_all(report) &&
        now.microseconds - report->last_message_at.microseconds <= RECEIVE_SILENCE)
        report->caught_up_at = now;
    report->server_position = server_position;
    if (report->mark.at.microseconds == 0 && !has_all(report))
        set_mark(report, now);
    report->last_message_at = now;
    report->is_changed = true;
}

void receive_report_turn(struct receive_report *report)
{
    if (report->state == RECEIVE_STREAMING)
        drop_outdated_error(report);
    if (receive_report_due(report) <= clock_monotonic())
        send_report(report);
}

int64_t receive_report_due(const struct receive_report *report)
{
    return report->is_changed ? report->sent_at + INT64_C(1000) * RECEIVE_REPORT_MILLISECONDS : INT64_MAX;
}
