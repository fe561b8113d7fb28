#include "daemon/answers_internal.h"

#include <string.h>
#include <unistd.h>

#include "daemon/exporter_internal.h"
#include "daemon/gateway_internal.h"
#include "daemon/jobs_internal.h"
#include "daemon/receivers_internal.h"
#include "daemon/reload_internal.h"
#include "daemon/rights_internal.h"
#include "daemon/surveys_internal.h"
#include "pgcoffer/base/log.h"

static enum right right_over(struct client *client, const char *server)
{
    const struct supervisor *supervisor = client_supervisor(client);

    return rights_over_name(client_caller(client), supervisor->config, supervisor->own_uid, server);
}

bool answers_tell_of(struct client *client, const struct request *request, const char *server)
{
    return (request->server[0] == '\0' || strcmp(request->server, server) == 0) &&
           right_over(client, server) >= RIGHT_MONITOR;
}

/* What the caller may ask of which server, for who sees only its own end of the way here; no word of the others. */
static json_t *rights_of(struct client *client)
{
    const struct config *config = client_supervisor(client)->config;
    json_t *rights = json_array();

    for (size_t i = 0; i < config->server_count; i++) {
        const char *name = config->servers[i].name;
        enum right right = right_over(client, name);
        if (right >= RIGHT_MONITOR)
            json_array_append_new(rights, json_pack("{s:s, s:s}", "server", name, "right", right_word(right)));
    }
    return rights;
}

static json_t *name_of(struct client *client)
{
    const char *name = client_caller(client)->user;

    return name[0] == '\0' ? json_null() : control_text(name);
}

bool answer_ping(struct client *client, const struct request *request, struct error *err)
{
    (void)request;
    (void)err;
    client_send_result(client, json_pack("{s:s, s:i, s:o, s:o, s:o}", "version", PGCOFFER_VERSION, "pid", (int)getpid(),
                                         "started_at", json_time(client_supervisor(client)->started_at), "caller",
                                         name_of(client), "rights", rights_of(client)));
    return true;
}

static void append_jobs(struct client *client, const struct request *request, const struct job_entry *first,
                        json_t *list)
{
    for (const struct job_entry *entry = first; entry != NULL; entry = entry->next)
        if (answers_tell_of(client, request, entry->server))
            json_array_append_new(list, job_entry_to_json(entry));
}

/* What is wrong with it names files, certificates and servers: for who may know of all of them. */
static void hide_faults(struct client *client, json_t *daemon)
{
    static const char *const ports[] = {"gateway", "exporter"};
    const struct supervisor *supervisor = client_supervisor(client);

    if (rights_over_daemon(client_caller(client), supervisor->config, supervisor->own_uid) >= RIGHT_MONITOR)
        return;
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        json_t *seen = json_object_get(daemon, ports[i]);
        if (!json_is_object(seen))
            continue;
        json_t *state = json_copy(seen);
        json_object_set_new(state, "error", json_null());
        json_object_set_new(state, "warning", json_null());
        json_object_set_new(daemon, ports[i], state);
    }
}

json_t *answers_daemon_to_json(const struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;

    return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "version", PGCOFFER_VERSION, "pid", (int)getpid(),
                     "started_at", json_time(supervisor->started_at), "config", control_text(config->path), "base_dir",
                     control_text(config->settings.base_dir), "gateway", gateway_to_json(supervisor), "exporter",
                     exporter_to_json(supervisor));
}

bool answer_status(struct client *client, const struct request *request, struct error *err)
{
    const struct supervisor *supervisor = client_supervisor(client);
    const struct config *config = supervisor->config;

    (void)err;
    if (surveys_await(client, request))
        return true;
    json_t *servers = json_array();
    json_t *jobs = json_array();
    for (size_t i = 0; i < config->server_count; i++) {
        const char *name = config->servers[i].name;
        if (answers_tell_of(client, request, name))
            json_array_append_new(servers, receivers_server_to_json(supervisor, name));
    }
    append_jobs(client, request, supervisor->jobs.running, jobs);
    json_t *data = answers_daemon_to_json(supervisor);
    hide_faults(client, data);
    json_object_set_new(data, "jobs", jobs);
    json_object_set_new(data, "servers", servers);
    client_send_lists(client, data);
    return true;
}

bool answer_jobs(struct client *client, const struct request *request, struct error *err)
{
    const struct supervisor *supervisor = client_supervisor(client);
    json_t *jobs = json_array();

    (void)err;
    append_jobs(client, request, supervisor->jobs.running, jobs);
    append_jobs(client, request, supervisor->jobs.ended, jobs);
    client_send_lists(client, json_pack("{s:o}", "jobs", jobs));
    return true;
}

/* The job, if it is there and the caller's right over its server suffices. */
static bool find_job(struct client *client, const struct request *request, struct job_entry **ret_entry,
                     struct error *err)
{
    const struct supervisor *supervisor = client_supervisor(client);
    struct job_entry *entry = job_table_find(&supervisor->jobs, request->job);

    if (entry == NULL) {
        error_set(err, ERROR_USAGE, "there is no job %s", request->job);
        return error_hint(err, "\"pgcoffer jobs\" lists the running ones and the last %d that ended.", JOB_MOST_ENDED);
    }
    if (right_over(client, entry->server) < commands[request->command].right)
        return rights_deny(client_caller(client), supervisor->config, request->command, entry->server, err);
    *ret_entry = entry;
    return true;
}

bool answer_follow(struct client *client, const struct request *request, struct error *err)
{
    struct job_entry *entry = NULL;

    if (!find_job(client, request, &entry, err))
        return false;
    if (entry->state != JOB_RUNNING) {
        client_send(client, entry->last_word);
        return true;
    }
    if (entry->progress != NULL)
        client_send(client, entry->progress);
    client_wait_for_job(client, CLIENT_FOLLOWS, entry->id);
    return true;
}

bool answer_cancel(struct client *client, const struct request *request, struct error *err)
{
    struct job_entry *entry = NULL;

    if (!find_job(client, request, &entry, err))
        return false;
    if (entry->state != JOB_RUNNING)
        return error_set(err, ERROR_USAGE, "job %s has ended already: %s", entry->id, job_state_word(entry->state));
    jobs_cancel(entry, client_caller(client)->text);
    client_wait_for_job(client, CLIENT_CANCELS, entry->id);
    return true;
}

bool answer_reload(struct client *client, const struct request *request, struct error *err)
{
    struct supervisor *supervisor = client_supervisor(client);
    char restart_needed[CONFIG_TEXT_SIZE];
    json_t *names = json_array();

    (void)request;
    if (!reload_configuration(supervisor, client_caller(client)->text, restart_needed, err)) {
        json_decref(names);
        return false;
    }
    for (size_t i = 0; i < supervisor->config->server_count; i++)
        json_array_append_new(names, control_text(supervisor->config->servers[i].name));
    client_send_result(client, json_pack("{s:o, s:s}", "servers", names, "restart_needed", restart_needed));
    return true;
}

bool answer_shutdown(struct client *client, const struct request *request, struct error *err)
{
    char reason[CALLER_TEXT_SIZE + 16];

    (void)request;
    (void)err;
    snprintf(reason, sizeof reason, "asked by %s", client_caller(client)->text);
    client_send_result(client, json_object());
    client_stay(client);
    supervisor_stop(client_supervisor(client), reason);
    return true;
}
