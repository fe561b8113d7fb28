#include "pgcoffer/jobs/job.h"

#include <string.h>

#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/catalogue.h"

static bool read_configuration(struct worker_context *worker, struct job *job, struct error *err)
{
    const char *text, *path;
    enum log_level level;

    if (!json_get_text(worker->start, "config", &text, err) ||
        !config_parse(text, strlen(text), "the daemon's configuration", &job->config, err))
        return false;
    path = json_text_or_null(worker->start, "config_path"); /* for messages that say where to change something */
    if (path != NULL) {
        free(job->config->path);
        job->config->path = memory_copy_text(path);
    }
    if (log_level_from_word(job->config->settings.log_level, &level))
        log_set_level(level);
    return true;
}

static bool find_server(const struct worker_context *worker, struct job *job, struct error *err)
{
    const char *name = json_text_or_null(worker->start, "server");
    char identity[128];

    if (name != NULL && !config_find_server(job->config, name, &job->server, err))
        return false;
    snprintf(identity, sizeof identity, "%s%s%s", roles[worker->role].name, name != NULL ? " " : "",
             name != NULL ? name : "");
    log_set_identity(identity);
    log_set_subject(name, json_text_or_null(worker->start, "job"));
    return true;
}

/* The repository, and the servers' folders by themselves: an administrator may have put one elsewhere by a link. */
static bool confine(const struct job *job, struct error *err)
{
    const struct role *role = &roles[job->worker->role];
    size_t count = job->config->server_count;
    static const char *const nothing[] = {NULL};

    if (role->is_bound_to_port)
        return true; /* it does so itself, with its port bound */
    if (job->repo.base_dir == NULL)
        return worker_confine(job->worker, nothing, nothing, err);
    char **paths = memory_new((count + 2) * sizeof *paths);
    paths[0] = memory_copy_text(job->repo.base_dir);
    for (size_t i = 0; i < count; i++)
        paths[i + 1] = repo_server_path(&job->repo, job->config->servers[i].name, "");
    const char *const *repository = (const char *const *)paths;
    bool is_confined = worker_confine(job->worker, role->may_read_repository ? repository : nothing,
                                      role->may_write_repository ? repository : nothing, err);
    for (size_t i = 0; paths[i] != NULL; i++)
        free(paths[i]);
    free(paths);
    return is_confined;
}

static bool open_repository(struct job *job, struct error *err)
{
    const struct settings *settings = &job->config->settings;

    if (roles[job->worker->role].is_bound_to_port)
        return true;
    return repo_open(settings->base_dir, settings->repository_group, &job->repo, err) ||
           job->worker->role == ROLE_check;
}

bool job_prepare(struct worker_context *worker, struct job *ret_job, struct error *err)
{
    struct job job = {.worker = worker};

    if (read_configuration(worker, &job, err) && find_server(worker, &job, err) && open_repository(&job, err) &&
        confine(&job, err)) {
        *ret_job = job;
        return true;
    }
    job_done(&job);
    return false;
}

void job_done(struct job *job)
{
    config_free(job->config);
    repo_done(&job->repo);
    *job = (struct job){.worker = NULL};
}

int job_answer(const struct job *job, job_step *run)
{
    json_t *result SCOPED(scoped_json) = NULL;
    struct error failure;
    struct error ignored;

    if (!run(job, &result, &failure)) {
        if (!control_send_error(job->worker->channel, &failure, &ignored))
            log_failure(LOG_LEVEL_ERROR, &failure);
        return error_exit_status(&failure);
    }
    if (control_send_result(job->worker->channel, TAKE(result), &failure))
        return EXIT_SUCCESS;
    log_failure(LOG_LEVEL_ERROR, &failure);
    return error_exit_status(&failure);
}
