#include <string.h>

#include "daemon/jobs_internal.h"
#include "daemon/receiver_internal.h"
#include "daemon/receivers_internal.h"
#include "daemon/surveys_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MOST_REPORT_SIZE 24576 /* it stands in lines that others read */

/* ---- what is observed ---- */

static bool has_state(const struct receiver *receiver, const char *state)
{
    return json_text_is(receiver->report, "state", state);
}

/* Tries to connect change its state again and again; since when nothing comes in, they do not. */
static void note_interruption(struct receiver *receiver)
{
    if (has_state(receiver, "streaming"))
        receiver->interrupted_at = (struct timestamp){0};
    else if (receiver->interrupted_at.microseconds == 0)
        receiver->interrupted_at = clock_now();
}

static void publish(struct receiver *receiver)
{
    note_interruption(receiver);
    json_t *event SCOPED(scoped_json) = receivers_wal_event(receiver->supervisor, receiver->name);

    if (event != NULL)
        jobs_tell_backup(receiver->supervisor, receiver->name, event);
    receivers_update_status(receiver->supervisor);
}

void receiver_set_state(struct receiver *receiver, const char *state, const struct error *failure)
{
    json_object_set_new(receiver->report, "state", json_string(state));
    json_object_set_new(receiver->report, "since", json_time(clock_now()));
    json_object_set_new(receiver->report, "error", failure != NULL ? control_failure_to_json(failure) : json_null());
    publish(receiver);
}

json_t *receiver_first_report(const struct receiver *receiver)
{
    return json_pack("{s:s, s:o, s:s, s:i, s:n, s:n, s:i, s:n, s:n, s:n, s:n, s:n, s:n, s:o, s:i, s:s, s:s, s:n, s:n, "
                     "s:n, s:n, s:n, "
                     "s:n}",
                     "state", "starting", "since", json_time(clock_now()), "host", "", "port", 0, "in_recovery",
                     "hosts", "timeline", 0, "received", "flushed", "server_position", "last_message_at",
                     "caught_up_at", "up", "slot", control_text(receiver->wish.settings.wal_slot), "reconnects", 0,
                     "tls_version", "", "tls_cipher", "", "certificate", "server_certificate", "error", "warning",
                     "room", "sync");
}

/* NULL: it does not know yet. */
static const char *system_of(const json_t *data)
{
    const char *system_id = json_text_or_null(data, "system_id");

    return text_is_empty(system_id) ? NULL : system_id;
}

static bool is_of_other_system(const struct receiver *receiver, const json_t *data)
{
    const char *system_id = system_of(data);

    return system_id != NULL && strcmp(system_id, receiver->system_id) != 0;
}

/* A gap, another timeline or another cluster: what can be restored is not what it was. */
static bool tells_of_change(const struct receiver *receiver, const json_t *data)
{
    static const char *const keys[] = {"gaps", "timeline"};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const json_t *is = json_object_get(data, keys[i]), *was = json_object_get(receiver->report, keys[i]);
        if (is != NULL && json_equal(is, was) == 0)
            return true;
    }
    return is_of_other_system(receiver, data);
}

static void keep(json_t *report, const json_t *former, const char *key)
{
    json_t *known = json_object_get(former, key);

    if (known != NULL && json_is_null(json_object_get(report, key)))
        json_object_set(report, key, known);
}

/* A worker that was started anew does not know what its forerunner had found, until it has looked itself. */
static void keep_known(const struct receiver *receiver, json_t *report)
{
    keep(report, receiver->report, "caught_up_at");
    keep(report, receiver->report, "up");
    if (!is_of_other_system(receiver, report))
        keep(report, receiver->report, "gaps");
}

void receiver_take_report(struct receiver *receiver, const json_t *data)
{
    const char *system_id = system_of(data);

    if (!json_is_object(data) || json_dumpb(data, NULL, 0, JSON_COMPACT) > MOST_REPORT_SIZE)
        return;
    if (receiver->child != NULL)
        worker_counts_take(&receiver->counts, child_pid(receiver->child), data);
    json_t *report = json_copy((json_t *)data);
    keep_known(receiver, report);
    bool is_other = tells_of_change(receiver, report);
    json_object_del(report, "system_id");
    json_decref(receiver->report);
    receiver->report = report;
    if (system_id != NULL)
        snprintf(receiver->system_id, sizeof receiver->system_id, "%s", system_id);
    if (has_state(receiver, "streaming"))
        backoff_reset(&receiver->backoff);
    publish(receiver);
    if (is_other)
        surveys_tell_news(receiver);
}

/* ---- what is counted ---- */

void receivers_count_run(struct supervisor *supervisor, const struct job_entry *entry)
{
    struct receiver *receiver = receiver_find(supervisor, entry->server);

    if (entry->server[0] == '\0')
        run_counts_add(&supervisor->counts.runs, entry);
    else if (receiver != NULL)
        run_counts_add(&receiver->runs, entry);
}

static json_t *counts(const struct receiver *receiver)
{
    return json_pack("{s:I, s:I, s:o, s:o}", "received_bytes", (json_int_t)receiver->counts.received_bytes.total,
                     "reconnects", (json_int_t)receiver->counts.reconnects.total, "handshakes",
                     worker_counts_handshakes(&receiver->counts), "jobs", run_counts_to_json(receiver->runs));
}

/* ---- for others ---- */

json_t *receivers_server_to_json(const struct supervisor *supervisor, const char *server)
{
    const struct receiver *receiver = receiver_find(supervisor, server);

    if (receiver == NULL)
        return json_pack("{s:s, s:n, s:s, s:n, s:n, s:n, s:n}", "server", server, "receiver", "system_id", "",
                         "last_backup", "survey", "counts", "interrupted_at");
    const json_t *last_backup = surveys_last_backup(receiver);
    return json_pack("{s:s, s:O, s:o, s:o, s:o, s:o, s:o}", "server", server, "receiver", receiver->report, "system_id",
                     control_text(receiver->system_id), "last_backup",
                     last_backup != NULL ? json_incref((json_t *)last_backup) : json_null(), "survey",
                     surveys_to_json(supervisor, receiver), "counts", counts(receiver), "interrupted_at",
                     json_time(receiver->interrupted_at));
}

json_t *receivers_wal_event(const struct supervisor *supervisor, const char *server)
{
    const struct receiver *receiver = receiver_find(supervisor, server);

    if (receiver == NULL)
        return NULL;
    json_t *data = json_copy(receiver->report);
    json_object_set_new(data, "system_id", control_text(receiver->system_id));
    return json_pack("{s:s, s:o}", "event", "wal", "data", data);
}

void receivers_update_status(struct supervisor *supervisor)
{
    unsigned streaming = 0, all = 0;
    const char *newest = NULL;
    const char *newest_server = "";

    if (supervisor->is_stopping)
        return;
    for (const struct receiver *receiver = supervisor->receivers; receiver != NULL; receiver = receiver->next) {
        const char *id = json_text_or_null(surveys_last_backup(receiver), "id");
        if (receiver->is_removed)
            continue;
        all++;
        if (has_state(receiver, "streaming"))
            streaming++;
        if (id != NULL && (newest == NULL || strcmp(id, newest) > 0)) {
            newest = id;
            newest_server = receiver->name;
        }
    }
    notifier_status(&supervisor->notifier, "streaming from %u of %u server%s; %s%s%s%s", streaming, all,
                    all == 1 ? "" : "s", newest != NULL ? "last backup " : "no backup yet",
                    newest != NULL ? newest : "", newest != NULL ? " of " : "", newest_server);
}
