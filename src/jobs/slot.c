#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "jobs/events_internal.h"
#include "jobs/host_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/jobs.h"
#include "pgcoffer/pg/connection.h"

/* The server may notice only now that the receiver has gone. */
#define DROP_PATIENCE_MICROSECONDS INT64_C(5000000)
#define DROP_TRY_MILLISECONDS      200

/* `slot show`, `slot create`, `slot drop`: one connection, one answer. */
struct slot_outcome {
    struct pg_slot slot;
    bool is_created, is_dropped;
};

static const char *slot_name(const struct job *job)
{
    return job->server->settings.wal_slot;
}

static bool read_slot(const struct job *job, struct pg_connection *connection, struct pg_slot *ret_slot,
                      struct error *err)
{
    if (!pg_slot_read(connection, slot_name(job), ret_slot, err))
        return false;
    if (ret_slot->is_known)
        return true;
    error_set(err, ERROR_SERVER, "the server does not tell about replication slots over a replication connection");
    return error_hint(err,
                      "PostgreSQL 13 and 14 need a line in pg_hba.conf for it: hostssl postgres %s all cert "
                      "clientcert=verify-full, then SELECT pg_reload_conf();",
                      job->server->settings.user);
}

static bool create_slot(const struct job *job, struct pg_connection *connection, struct slot_outcome *outcome,
                        struct error *err)
{
    bool existed = false;

    if (!pg_slot_create(connection, slot_name(job), &existed, err) ||
        !pg_slot_read(connection, slot_name(job), &outcome->slot, err))
        return false;
    outcome->slot.exists = true; /* also where the server does not tell more */
    outcome->is_created = !existed;
    return true;
}

/* Until the next try; FAILED when the job is to end. */
static bool wait_a_little(const struct job *job, struct error *err)
{
    struct pollfd interrupt = {.fd = job->worker->interrupt_fd, .events = POLLIN};

    (void)!poll(&interrupt, 1, DROP_TRY_MILLISECONDS);
    if (!worker_is_interrupted(job->worker))
        return true;
    error_set(err, ERROR_FAILED, "the slot was not dropped, the job was ended before");
    err->errnum = ECANCELED;
    return false;
}

static bool drop_slot(const struct job *job, struct pg_connection *connection, struct slot_outcome *outcome,
                      struct error *err)
{
    int64_t deadline = clock_monotonic() + DROP_PATIENCE_MICROSECONDS;

    while (!pg_slot_drop(connection, slot_name(job), err)) {
        if (err->kind != ERROR_BUSY)
            return false;
        if (clock_monotonic() >= deadline)
            return error_hint(err,
                              "It is not the WAL receiver of this daemon, which was ended for the drop. Who it is: "
                              "SELECT * FROM pg_stat_replication; end it there, then give the command again.");
        if (!wait_a_little(job, err))
            return false;
    }
    outcome->is_dropped = true;
    return true;
}

static bool run(const struct job *job, struct slot_outcome *ret_outcome, struct error *err)
{
    struct pg_connection *connection SCOPED(scoped_pg_connection) = NULL;
    enum command_id command = job->worker->request.command;

    if (text_is_empty(slot_name(job))) {
        error_set(err, ERROR_CONFIG, "[%s] has no replication slot", job->server->name);
        return error_hint(err, "Set wal_slot = pgcoffer in [%s].", job->server->name);
    }
    if (!job_connect(job, "pgcoffer slot", &connection, err))
        return false;
    if (command == COMMAND_ID_slot_create)
        return create_slot(job, connection, ret_outcome, err);
    if (command == COMMAND_ID_slot_drop)
        return drop_slot(job, connection, ret_outcome, err);
    return read_slot(job, connection, &ret_outcome->slot, err);
}

static json_t *to_json(const struct job *job, const struct slot_outcome *outcome)
{
    const struct pg_slot *slot = &outcome->slot;
    json_t *data = json_object();

    json_object_set_new(data, "server", json_string(job->server->name));
    json_object_set_new(data, "slot", json_string(slot_name(job)));
    json_object_set_new(data, "exists", json_boolean(slot->exists));
    json_object_set_new(data, "restart_lsn",
                        slot->has_position ? events_position(slot->restart_position) : json_null());
    json_object_set_new(data, "timeline",
                        slot->restart_timeline.value > 0 ? json_integer(slot->restart_timeline.value) : json_null());
    json_object_set_new(data, "created", json_boolean(outcome->is_created));
    json_object_set_new(data, "dropped", json_boolean(outcome->is_dropped));
    return data;
}

int job_slot_main(struct job *job)
{
    struct slot_outcome outcome = {.is_created = false};
    struct error failure, ignored;

    if (run(job, &outcome, &failure) && control_send_result(job->worker->channel, to_json(job, &outcome), &failure)) {
        if (outcome.is_created || outcome.is_dropped)
            log_info("%s replication slot \"%s\"", outcome.is_created ? "created" : "dropped", slot_name(job));
        return EXIT_SUCCESS;
    }
    log_failure(LOG_LEVEL_ERROR, &failure);
    if (!control_send_error(job->worker->channel, &failure, &ignored))
        log_failure(LOG_LEVEL_ERROR, &ignored);
    return error_exit_status(&failure);
}
