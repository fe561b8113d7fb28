#include "jobs/receive/lookout_internal.h"

#include <inttypes.h>
#include <string.h>

#include "pgcoffer/base/clock.h"

#define APPLICATION_NAME "pgcoffer lookout"

static bool ask(struct pg_connection *connection, struct pg_host_report *report, struct error *err)
{
    pg_set_deadline(connection, clock_monotonic() + INT64_C(1000000) * LOOKOUT_SECONDS);
    return pg_ask_role(connection, &report->role, err) && pg_identify(connection, &report->identity, err);
}

/* What nobody reads keeps WAL until the disk is full. One that is in use is somebody else's. */
static void drop_slot(struct lookout_task *task, size_t host)
{
    struct error ignored;

    if (task->is_slot_ours[host] && task->reports[host].role == PG_ROLE_STANDBY)
        task->is_slot_dropped[host] = pg_slot_drop(task->connections[host], task->slot, &ignored);
}

static void look_at(struct lookout_task *task, size_t host)
{
    struct pg_host_report *report = &task->reports[host];
    bool is_new = task->connections[host] == NULL;
    struct error err;

    if (is_new && clock_monotonic() < task->tried_again_at[host])
        return;
    *report = (struct pg_host_report){.is_asked = true};
    if ((!is_new || pg_connect_host(task->server, host, LOOKOUT_SECONDS, APPLICATION_NAME, task->interrupt_fd,
                                    &task->connections[host], &err)) &&
        ask(task->connections[host], report, &err)) {
        drop_slot(task, host);
        return;
    }
    pg_disconnect(TAKE(task->connections[host]));
    report->is_refused = true;
    report->reason = err;
    /* One that was there a moment ago may be restarting, as what it was or as something else. */
    task->tried_again_at[host] = is_new ? clock_monotonic() + LOOKOUT_TRIED_AGAIN : 0;
}

void lookout_run(struct lookout_task *task)
{
    for (size_t host = 0; host < task->count; host++) {
        task->is_slot_dropped[host] = false;
        if (host == task->here)
            pg_disconnect(TAKE(task->connections[host]));
        else
            look_at(task, host);
    }
}

void lookout_done(struct lookout_task *task)
{
    for (size_t host = 0; host < task->count; host++)
        pg_disconnect(TAKE(task->connections[host]));
}

/* ---- what follows from it ---- */

static bool is_ours(const struct lookout_input *input, size_t host)
{
    const struct pg_host_report *report = &input->reports[host];

    return host != input->here && report->is_asked && !report->is_refused &&
           report->identity.system_identifier == input->system_identifier;
}

static bool is_worth_going(const struct lookout_input *input, const struct pg_host_report *report)
{
    if (report->identity.timeline.value != input->timeline.value)
        return report->identity.timeline.value > input->timeline.value &&
               (report->role == PG_ROLE_PRIMARY || input->role == PG_ROLE_STANDBY);
    if (input->role != PG_ROLE_STANDBY)
        return false;
    return report->role == PG_ROLE_PRIMARY ||
           (input->received.value == input->received_before.value &&
            report->identity.position.value >= input->received.value &&
            report->identity.position.value - input->received.value >= input->far_bytes);
}

static bool is_better(const struct pg_host_report *report, const struct pg_host_report *than)
{
    bool is_primary = report->role == PG_ROLE_PRIMARY;

    if (is_primary != (than->role == PG_ROLE_PRIMARY))
        return is_primary;
    if (report->identity.timeline.value != than->identity.timeline.value)
        return report->identity.timeline.value > than->identity.timeline.value;
    return report->identity.position.value > than->identity.position.value;
}

size_t lookout_choose(const struct lookout_input *input)
{
    size_t chosen = input->count;

    for (size_t host = 0; host < input->count; host++)
        if (is_ours(input, host) && is_worth_going(input, &input->reports[host]) &&
            (chosen == input->count || is_better(&input->reports[host], &input->reports[chosen])))
            chosen = host;
    return chosen;
}

bool lookout_find_problem(const struct lookout_input *input, size_t host, struct error *err)
{
    const struct pg_host_report *report = &input->reports[host];

    if (host == input->here || !report->is_asked || report->is_refused)
        return false;
    if (report->identity.system_identifier != input->system_identifier) {
        error_set(err, ERROR_INTEGRITY,
                  "it has system identifier %" PRIu64 ", and the others have %" PRIu64 ": it is another cluster",
                  report->identity.system_identifier, input->system_identifier);
        error_hint(err, "Take it out of the list; another cluster gets a section of its own.");
        return true;
    }
    if (report->role != PG_ROLE_PRIMARY || input->role != PG_ROLE_PRIMARY ||
        report->identity.timeline.value > input->timeline.value)
        return false;
    error_set(err, ERROR_INTEGRITY,
              "it is a primary too, on timeline %" PRIu32 ", while timeline %" PRIu32 " is streamed from another one",
              report->identity.timeline.value, input->timeline.value);
    error_hint(err, "What is written there is not archived. Stop the one that was replaced, and make it a standby of "
                    "the other: pg_rewind, or a new base backup.");
    return true;
}
