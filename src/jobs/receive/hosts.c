#include "jobs/receive/hosts_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* The report stands in lines that others read. */
#define MOST_PROBLEM_SHOWN 512

static bool run_task(void *shared, void *worker, void *task, struct error *err)
{
    (void)shared;
    (void)worker;
    (void)err;
    lookout_run(task);
    return true;
}

static const struct pool_ops thread_ops = {.work = run_task};

static bool is_one(const struct receive_hosts *hosts)
{
    return hosts->count == 1;
}

const struct server_config *receive_hosts_view(const struct receive_hosts *hosts)
{
    return is_one(hosts) ? hosts->server : &hosts->views[hosts->here];
}

/* ---- what is told of them ---- */

static const char *role_word(enum pg_role role)
{
    switch (role) {
    case PG_ROLE_UNKNOWN:
        return NULL;
    case PG_ROLE_PRIMARY:
        return "primary";
    case PG_ROLE_STANDBY:
        return "standby";
    }
    return NULL;
}

static json_t *host_to_json(const struct receive_hosts *hosts, size_t host)
{
    const struct server_config *view = &hosts->views[host];
    char problem[MOST_PROBLEM_SHOWN + 1];
    json_t *object = json_object();

    snprintf(problem, sizeof problem, "%s", hosts->told[host].message);

    json_object_set_new(object, "host", control_text(config_host_name(view)));
    json_object_set_new(object, "port", json_integer(view->settings.port));
    json_object_set_new(object, "in_use", json_boolean(host == hosts->here));
    const char *role = role_word(hosts->roles[host]);
    json_object_set_new(object, "role", role != NULL ? json_string(role) : json_null());
    json_object_set_new(object, "problem", problem[0] != '\0' ? control_text(problem) : json_null());
    return object;
}

static void report_hosts(struct receive_hosts *hosts)
{
    const struct error *warning = NULL;
    json_t *list = json_array();

    for (size_t host = 0; host < hosts->count; host++) {
        json_array_append_new(list, host_to_json(hosts, host));
        if (warning == NULL && hosts->told[host].message[0] != '\0' && hosts->told[host].kind == ERROR_INTEGRITY)
            warning = &hosts->told[host];
    }
    receive_report_hosts(hosts->report, list);
    receive_report_warning(hosts->report, RECEIVE_WARNING_HOSTS, warning);
}

/* Once, until it is another problem or none. */
static void tell(struct receive_hosts *hosts, size_t host, const struct error *problem)
{
    struct error *told = &hosts->told[host];
    const struct server_config *view = &hosts->views[host];
    struct error fault = *problem;

    if (fault.cause_size > 0) { /* the message names the host already */
        char cause[sizeof fault.message];
        snprintf(cause, sizeof cause, "%.*s", (int)fault.cause_size, fault.message + fault.cause_at);
        snprintf(fault.message, sizeof fault.message, "%s", cause);
        fault.cause_size = 0;
    }
    error_wrap(&fault, "host %s port %ld is not used", config_host_name(view), view->settings.port);
    bool is_known = strcmp(told->message, fault.message) == 0;
    *told = fault;
    if (!is_known)
        log_failure(fault.kind == ERROR_INTEGRITY ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, &fault);
}

static void untell(struct receive_hosts *hosts, size_t host)
{
    if (hosts->told[host].message[0] != '\0')
        log_info("host %s port %ld is all right again", config_host_name(&hosts->views[host]),
                 hosts->views[host].settings.port);
    hosts->told[host].message[0] = '\0';
}

/* ---- a connection ---- */

static void take_search(struct receive_hosts *hosts, bool is_found)
{
    for (size_t host = 0; host < hosts->count; host++) {
        const struct pg_host_report *report = &hosts->known->reports[host];
        if (!report->is_asked)
            continue;
        hosts->roles[host] = report->role;
        if (!report->is_refused)
            untell(hosts, host);
        else if (is_found) /* otherwise the session's error names them all */
            tell(hosts, host, &report->reason);
    }
}

bool receive_hosts_connect(struct receive_hosts *hosts, pg_host_judge *judge, void *context,
                           struct pg_connection **ret_connection, struct error *err)
{
    const char *name = hosts->server->settings.application_name;
    size_t wanted;

    if (is_one(hosts))
        return pg_connect(hosts->server, name, hosts->interrupt_fd, ret_connection, err);
    hosts->known->judge = judge;
    hosts->known->context = context;
    wanted = hosts->known->preferred;
    bool is_found = pg_connect_one_of(hosts->server, name, hosts->interrupt_fd, hosts->known, ret_connection, err);
    if (!is_found && err->errnum == ECANCELED)
        return false;
    if (is_found)
        hosts->here = hosts->known->preferred;
    if (hosts->is_elsewhere && hosts->here != wanted)
        hosts->avoided_until[wanted] = clock_monotonic() + HOSTS_AVOIDED_FOR;
    hosts->is_elsewhere = false;
    if (!is_found)
        hosts->common_system = pg_hosts_common_system(hosts->known->reports, hosts->count);
    take_search(hosts, is_found);
    report_hosts(hosts);
    return is_found;
}

bool receive_hosts_is_here(const struct receive_hosts *hosts, const struct pg_connection *connection)
{
    const struct settings *here = &receive_hosts_view(hosts)->settings;
    const struct settings *there = &pg_server(connection)->settings;

    return !hosts->is_elsewhere && strcmp(here->host, there->host) == 0 &&
           strcmp(here->hostaddr, there->hostaddr) == 0 && here->port == there->port;
}

enum pg_role receive_hosts_role(const struct receive_hosts *hosts, const struct pg_connection *connection)
{
    enum pg_role role = pg_session(connection)->role;

    return role == PG_ROLE_UNKNOWN && !is_one(hosts) ? hosts->roles[hosts->here] : role;
}

void receive_hosts_note_stream(struct receive_hosts *hosts, const struct pg_identity *identity, enum pg_role role,
                               struct wal_segment_size segment_size, bool is_slot_ours)
{
    hosts->role = role;
    hosts->system_identifier = identity->system_identifier;
    hosts->timeline = identity->timeline;
    hosts->segment_bytes = segment_size.bytes;
    hosts->stream++;
    if (is_one(hosts))
        return;
    hosts->roles[hosts->here] = role;
    if (is_slot_ours && role == PG_ROLE_PRIMARY && hosts->server->settings.create_slot)
        hosts->is_slot_ours[hosts->here] = true;
    hosts->look_at = clock_monotonic() + HOSTS_LOOKED_AT_EVERY;
    report_hosts(hosts);
}

/* ---- the others ---- */

static void note_dropped(struct receive_hosts *hosts, size_t host)
{
    if (hosts->task.slots[host] == LOOKOUT_SLOT_KEPT)
        return;
    hosts->is_slot_ours[host] = false;
    if (hosts->task.slots[host] == LOOKOUT_SLOT_DROPPED)
        log_info("dropped the replication slot \"%s\" on %s port %ld, which is a standby now", hosts->task.slot,
                 config_host_name(&hosts->views[host]), hosts->views[host].settings.port);
}

static void judge_host(struct receive_hosts *hosts, const struct lookout_input *input, size_t host)
{
    const struct pg_host_report *report = &input->reports[host];
    struct error problem;

    if (!report->is_asked)
        return;
    hosts->roles[host] = report->role;
    if (report->is_refused)
        tell(hosts, host, &report->reason);
    else if (lookout_find_problem(input, host, &problem))
        tell(hosts, host, &problem);
    else if (clock_monotonic() >= hosts->avoided_until[host])
        untell(hosts, host);
}

static void go_to(struct receive_hosts *hosts, size_t host)
{
    const struct server_config *view = &hosts->views[host];

    if (clock_monotonic() < hosts->avoided_until[host])
        return;
    log_info("host %s port %ld is %s on timeline %u: the stream goes on from there", config_host_name(view),
             view->settings.port, hosts->roles[host] == PG_ROLE_PRIMARY ? "a primary" : "further ahead",
             hosts->task.reports[host].identity.timeline.value);
    hosts->known->preferred = host;
    hosts->is_elsewhere = true;
}

static void take_look(struct receive_hosts *hosts)
{
    struct lookout_input input = {
        .count = hosts->count,
        .here = hosts->here,
        .role = hosts->role,
        .system_identifier = hosts->system_identifier,
        .timeline = hosts->timeline,
        .received = hosts->report->received,
        .received_before = hosts->received_before,
        .far_bytes = hosts->segment_bytes,
        .reports = hosts->task.reports,
        .kinship = hosts->task.kinship,
    };

    hosts->look_at = clock_monotonic() + HOSTS_LOOKED_AT_EVERY;
    /* It was begun while another host was in use, or the stream has ended meanwhile. */
    if (hosts->task.here != hosts->here || hosts->report->state != RECEIVE_STREAMING)
        return;
    hosts->received_before = input.received;
    for (size_t host = 0; host < hosts->count; host++) {
        if (host == hosts->here)
            continue;
        note_dropped(hosts, host);
        judge_host(hosts, &input, host);
    }
    report_hosts(hosts);
    size_t better = lookout_choose(&input);
    if (better < hosts->count)
        go_to(hosts, better);
}

void receive_hosts_turn(struct receive_hosts *hosts)
{
    struct error ignored; /* a task never fails as such */
    void *done = NULL;

    if (hosts->is_busy) {
        if (pool_try_take(hosts->thread, &done, &ignored) && done == NULL)
            return;
        hosts->is_busy = false;
        take_look(hosts);
    }
    if (clock_monotonic() < receive_hosts_due(hosts))
        return;
    hosts->task.here = hosts->here;
    hosts->task.role = hosts->role;
    hosts->task.system_identifier = hosts->system_identifier;
    hosts->task.timeline = hosts->timeline;
    hosts->task.stream = hosts->stream;
    memcpy(hosts->task.is_slot_ours, hosts->is_slot_ours, sizeof hosts->is_slot_ours);
    pool_submit(hosts->thread, &hosts->task);
    hosts->is_busy = true;
}

int64_t receive_hosts_due(const struct receive_hosts *hosts)
{
    bool is_due =
        hosts->thread != NULL && !hosts->is_busy && !hosts->is_elsewhere && hosts->report->state == RECEIVE_STREAMING;

    return is_due ? hosts->look_at : INT64_MAX;
}

int receive_hosts_descriptor(const struct receive_hosts *hosts)
{
    return hosts->is_busy ? pool_event_descriptor(hosts->thread) : -1;
}

/* ---- the whole life ---- */

void receive_hosts_begin(struct receive_hosts *hosts, const struct server_config *server, struct receive_report *report,
                         int interrupt_fd)
{
    struct error err;

    *hosts = (struct receive_hosts){
        .server = server, .report = report, .interrupt_fd = interrupt_fd, .count = config_host_count(server)};
    if (is_one(hosts))
        return;
    hosts->views = memory_new(hosts->count * sizeof *hosts->views);
    hosts->known = memory_new(sizeof *hosts->known);
    hosts->told = memory_new(hosts->count * sizeof *hosts->told);
    hosts->roles = memory_new(hosts->count * sizeof *hosts->roles);
    for (size_t host = 0; host < hosts->count; host++)
        config_take_host(server, host, &hosts->views[host]);
    hosts->task = (struct lookout_task){
        .server = server, .interrupt_fd = interrupt_fd, .count = hosts->count, .slot = server->settings.wal_slot};
    if (pool_new(&thread_ops, NULL, 1, 1, &hosts->thread, &err))
        return;
    error_wrap(&err, "the other hosts are not looked at while one is streamed from");
    log_failure(LOG_LEVEL_WARNING, &err);
}

void receive_hosts_end(struct receive_hosts *hosts)
{
    pool_free(TAKE(hosts->thread), NULL);
    lookout_done(&hosts->task);
    free(TAKE(hosts->views));
    free(TAKE(hosts->known));
    free(TAKE(hosts->told));
    free(TAKE(hosts->roles));
}
