#include "jobs/receive/lookout_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/clock.h"

#define APPLICATION_NAME "pgcoffer lookout"

static bool ask(struct pg_connection *connection, struct pg_host_report *report, struct error *err)
{
    pg_set_deadline(connection, clock_monotonic() + INT64_C(1000000) * LOOKOUT_SECONDS);
    return pg_ask_role(connection, &report->role, err) && pg_identify(connection, &report->identity, err);
}

static bool is_of_our_cluster(const struct lookout_task *task, size_t host)
{
    return task->reports[host].identity.system_identifier == task->system_identifier;
}

/* What nobody reads keeps WAL until the disk is full. One that is in use is somebody else's. */
static void drop_slot(struct lookout_task *task, size_t host)
{
    struct pg_connection *connection = task->connections[host];
    struct error ignored;

    if (!task->is_slot_ours[host] || task->reports[host].role != PG_ROLE_STANDBY || !is_of_our_cluster(task, host))
        return;
    if (pg_slot_drop(connection, task->slot, &ignored))
        task->slots[host] = LOOKOUT_SLOT_DROPPED;
    else if (strcmp(pg_last_sqlstate(connection), "42704") == 0) /* undefined_object */
        task->slots[host] = LOOKOUT_SLOT_MISSING;
}

/* ---- one server by two names? ---- */

/* The names of slots are the server's own: one that is taken here and there at the same time is of the same server. */
static enum lookout_kinship compare_by_slot(struct lookout_task *task, size_t host)
{
    struct pg_connection *here SCOPED(scoped_pg_connection) = NULL, *there = task->connections[host];
    enum lookout_kinship kinship = LOOKOUT_UNDECIDED;
    char name[64];
    struct error err;

    snprintf(name, sizeof name, "pgcoffer_lookout_%d_%" PRIx64, (int)getpid(), (uint64_t)clock_now().microseconds);
    if (!pg_connect_host(task->server, task->here, LOOKOUT_SECONDS, APPLICATION_NAME, task->interrupt_fd, &here,
                         &err) ||
        !pg_slot_create_temporary(here, name, &err))
        return LOOKOUT_UNDECIDED;
    if (pg_slot_create_temporary(there, name, &err))
        kinship = pg_slot_drop(there, name, &err) ? LOOKOUT_ANOTHER_SERVER : LOOKOUT_UNDECIDED;
    else if (err.kind == ERROR_BUSY)
        kinship = LOOKOUT_SAME_SERVER;
    return kinship;
}

static void forget_kinship(struct lookout_task *task, size_t host)
{
    task->kinship[host] = LOOKOUT_UNDECIDED;
    task->compared_again_at[host] = 0;
}

static void compare(struct lookout_task *task, size_t host)
{
    const struct pg_host_report *report = &task->reports[host];
    int64_t now = clock_monotonic();

    if (task->role != PG_ROLE_PRIMARY || report->role != PG_ROLE_PRIMARY || !is_of_our_cluster(task, host) ||
        report->identity.timeline.value != task->timeline.value) {
        forget_kinship(task, host);
        return;
    }
    bool is_known = task->kinship[host] != LOOKOUT_UNDECIDED || now < task->compared_again_at[host];
    if (is_known && task->compared_with[host] == task->stream)
        return;
    task->compared_with[host] = task->stream;
    task->kinship[host] = compare_by_slot(task, host);
    task->compared_again_at[host] = now + LOOKOUT_COMPARED_AGAIN;
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
        if (is_new)
            forget_kinship(task, host);
        drop_slot(task, host);
        compare(task, host);
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
        task->slots[host] = LOOKOUT_SLOT_KEPT;
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

static bool set_doubt(const struct pg_host_report *report, struct error *err)
{
    error_set(err, ERROR_INTEGRITY,
              "it is a primary too, on timeline %" PRIu32
              ": the same server as the one streamed from, by another name, "
              "or a second primary whose WAL is not archived",
              report->identity.timeline.value);
    error_hint(err, "Which one it is could not be found out, for lack of a free replication slot or WAL sender there. "
                    "If it is the same server, take one of its names out of the list.");
    return true;
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
    if (report->identity.timeline.value == input->timeline.value) {
        if (input->kinship[host] == LOOKOUT_SAME_SERVER)
            return false;
        if (input->kinship[host] == LOOKOUT_UNDECIDED)
            return set_doubt(report, err);
    }
    error_set(err, ERROR_INTEGRITY,
              "it is a primary too, on timeline %" PRIu32 ", while timeline %" PRIu32 " is streamed from another one",
              report->identity.timeline.value, input->timeline.value);
    error_hint(err, "What is written there is not archived. Stop the one that was replaced, and make it a standby of "
                    "the other: pg_rewind, or a new base backup.");
    return true;
}
