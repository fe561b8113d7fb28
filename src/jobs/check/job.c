#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/log.h"
#include "pgcoffer/jobs/check.h"
#include "pgcoffer/jobs/jobs.h"

/*
 * `check` in a worker of the daemon, for one client. What is proved are the settings that stand in the file now: who
 * has just mended a line wants to know whether it is right, and daemon.configuration says that the daemon has not read
 * it yet. What the daemon itself achieves with its own settings is told by the receiver's checks.
 */
struct walk {
    struct job *job;
    struct config *present; /* NULL: the file cannot be read, `failure` says why */
    struct error failure;
    const char *server; /* of the results being sent */
};

static const struct server_config *find(const struct config *config, const char *name)
{
    for (size_t i = 0; config != NULL && i < config->server_count; i++)
        if (strcmp(config->servers[i].name, name) == 0)
            return &config->servers[i];
    return NULL;
}

static bool send(void *context, const struct check_result *result, struct error *err)
{
    const struct walk *walk = context;

    return control_send_item(walk->job->worker->channel, check_result_to_json(walk->server, result), err);
}

static bool check_one(struct walk *walk, const char *name, struct error *err)
{
    const struct job *job = walk->job;
    const struct server_config *present = find(walk->present, name);
    struct check_request request = {
        .server = present != NULL ? present : find(job->config, name),
        .config = walk->present != NULL ? walk->present : job->config,
        .repo = job->repo.base_dir != NULL ? &job->repo : NULL,
        .repo_words = "",
        .interrupt_fd = -1,
    };
    struct check_result result;

    walk->server = name;
    if (!check_options_read(&job->worker->request, &request.server->settings, &request.options, err) ||
        !check_server(&request, send, walk, err))
        return false;
    if (!request.options.is_wanted[CHECK_ID_daemon_configuration])
        return true;
    check_configuration(job->config, walk->present, &walk->failure, name, &result);
    return send(walk, &result, err);
}

/* All that the caller may see, and for who may see all also those that are in the file only. */
static bool check_all(struct walk *walk, json_t *names, struct error *err)
{
    const struct config *running = walk->job->config;
    bool is_admin = walk->job->worker->right == RIGHT_ADMIN;

    for (size_t i = 0; i < running->server_count; i++) {
        json_array_append_new(names, control_text(running->servers[i].name));
        if (!check_one(walk, running->servers[i].name, err))
            return false;
    }
    for (size_t i = 0; is_admin && walk->present != NULL && i < walk->present->server_count; i++) {
        const char *name = walk->present->servers[i].name;
        if (find(running, name) != NULL)
            continue;
        json_array_append_new(names, control_text(name));
        if (!check_one(walk, name, err))
            return false;
    }
    return true;
}

/* Its faults name files and servers: for who may know of all of them. Of no server, so not of one that is named. */
static bool check_own_gateway(struct walk *walk, struct error *err)
{
    const struct worker_context *worker = walk->job->worker;
    const struct config *config = walk->present != NULL ? walk->present : walk->job->config;
    struct check_options options;

    if (worker->right_over_daemon < RIGHT_MONITOR)
        return true;
    walk->server = "";
    return check_options_read(&worker->request, &config->settings, &options, err) &&
           check_gateway(config, &options, true, send, walk, err);
}

static bool run(struct walk *walk, struct error *err)
{
    const struct job *job = walk->job;
    json_t *names SCOPED(scoped_json) = json_array();

    if (!config_load(job->config->path, &walk->present, &walk->failure))
        walk->present = NULL;
    if (job->server != NULL)
        json_array_append_new(names, control_text(job->server->name));
    if (job->server != NULL ? !check_one(walk, job->server->name, err)
                            : !check_all(walk, names, err) || !check_own_gateway(walk, err))
        return false;
    return control_send_result(job->worker->channel, json_pack("{s:O}", "servers", names), err);
}

int job_check_main(struct job *job)
{
    struct walk walk = {.job = job};
    struct error failure, ignored;

    /* A check changes nothing on the disk, and the server ends what belongs to a closed connection: it can end
     * anywhere, also in a handshake that waits. */
    worker_end_at_once_when_told();
    bool is_done = run(&walk, &failure);
    config_free(walk.present);
    if (is_done)
        return EXIT_SUCCESS;
    if (!control_send_error(job->worker->channel, &failure, &ignored))
        log_debug("could not tell why the check ended: %s", ignored.message);
    return error_exit_status(&failure);
}
