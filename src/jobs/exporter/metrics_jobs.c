#include <string.h>

#include "jobs/exporter/metrics_internal.h"
#include "pgcoffer/base/text.h"

/* Figures of jobs: of a server, or, where `server` is NULL, of those over all servers at once. */

/* What runs by the clock is told from the beginning on, so that its first failure is a step up from 0. */
static const char *const regular[] = {"backup", "verify", "expire", "drill"};
#define REGULAR_COUNT (sizeof regular / sizeof regular[0])

static bool is_regular(const char *command)
{
    for (size_t i = 0; i < REGULAR_COUNT; i++)
        if (strcmp(regular[i], command) == 0)
            return true;
    return false;
}

/* ---- that ended ---- */

static const json_t *ended(const struct scrape *scrape, const json_t *server)
{
    return json_object_get(json_object_get(server != NULL ? server : scrape->state, "counts"), "jobs");
}

static const char *const results[] = {"done", "failed", "cancelled"};
#define RESULT_COUNT (sizeof results / sizeof results[0])

void metric_pgcoffer_backup_runs_total(struct scrape *scrape, const json_t *server)
{
    const json_t *jobs = ended(scrape, server);

    for (size_t i = 0; i < RESULT_COUNT && json_is_object(jobs); i++)
        scrape_sample_with(scrape, results[i], NULL,
                           (double)json_number_or(json_object_get(jobs, "backup"), results[i], 0));
}

/* Of those that run in a client some are gone without a word of how they ended. */
static void tell_runs(struct scrape *scrape, const char *command, const json_t *runs)
{
    for (size_t i = 0; i < RESULT_COUNT; i++)
        scrape_sample_with(scrape, command, results[i], (double)json_number_or(runs, results[i], 0));
    if (json_number_or(runs, "gone", 0) > 0)
        scrape_sample_with(scrape, command, "gone", (double)json_number_or(runs, "gone", 0));
}

void metric_pgcoffer_job_runs_total(struct scrape *scrape, const json_t *server)
{
    const json_t *jobs = ended(scrape, server), *runs;
    const char *command;

    if (!json_is_object(jobs))
        return;
    for (size_t i = 0; i < REGULAR_COUNT && server != NULL; i++)
        tell_runs(scrape, regular[i], json_object_get(jobs, regular[i]));
    json_object_foreach((json_t *)jobs, command, runs) if (server == NULL || !is_regular(command))
        tell_runs(scrape, command, runs);
}

/* ---- that run ---- */

/* The job's command, when it is one of that server. */
static const char *command_of(const struct scrape *scrape, const json_t *job)
{
    const char *server = json_text_or_null(job, "server");
    bool is_its =
        scrape->server != NULL ? server != NULL && strcmp(server, scrape->server) == 0 : text_is_empty(server);

    return is_its ? json_text_or_null(job, "command") : NULL;
}

static size_t count_running(const struct scrape *scrape, const char *command)
{
    const json_t *job, *jobs = json_object_get(scrape->state, "jobs");
    size_t i, count = 0;

    json_array_foreach(jobs, i, job)
    {
        const char *other = command_of(scrape, job);
        count += other != NULL && strcmp(other, command) == 0;
    }
    return count;
}

/* One sample a command, however many of it run: the one that began first. */
static bool is_first(const struct scrape *scrape, size_t at, const char *command)
{
    const json_t *jobs = json_object_get(scrape->state, "jobs");

    for (size_t i = 0; i < at; i++) {
        const char *other = command_of(scrape, json_array_get(jobs, i));
        if (other != NULL && strcmp(other, command) == 0)
            return false;
    }
    return true;
}

static void tell_each_running(struct scrape *scrape,
                              void (*tell)(struct scrape *scrape, const char *command, const json_t *job))
{
    const json_t *job, *jobs = json_object_get(scrape->state, "jobs");
    size_t i;

    json_array_foreach(jobs, i, job)
    {
        const char *command = command_of(scrape, job);
        if (command != NULL && is_first(scrape, i, command))
            tell(scrape, command, job);
    }
}

static void tell_running(struct scrape *scrape, const char *command, const json_t *job)
{
    (void)job;
    if (scrape->server == NULL || !is_regular(command))
        scrape_sample_with(scrape, command, NULL, (double)count_running(scrape, command));
}

void metric_pgcoffer_jobs_running(struct scrape *scrape, const json_t *server)
{
    if (!json_is_array(json_object_get(scrape->state, "jobs")))
        return;
    for (size_t i = 0; i < REGULAR_COUNT && server != NULL; i++)
        scrape_sample_with(scrape, regular[i], NULL, (double)count_running(scrape, regular[i]));
    tell_each_running(scrape, tell_running);
}

static void tell_ratio(struct scrape *scrape, const char *command, const json_t *job)
{
    const json_t *progress = json_object_get(job, "progress");
    int64_t total = json_number_or(progress, "total_bytes", 0), done = json_number_or(progress, "done_bytes", -1);

    if (total > 0 && done >= 0)
        scrape_sample_with(scrape, command, NULL, done < total ? (double)done / (double)total : 1);
}

void metric_pgcoffer_operation_progress_ratio(struct scrape *scrape, const json_t *server)
{
    (void)server;
    tell_each_running(scrape, tell_ratio);
}

static void tell_eta(struct scrape *scrape, const char *command, const json_t *job)
{
    const json_t *eta = json_object_get(json_object_get(job, "progress"), "eta_seconds");

    if (json_is_number(eta) && json_number_value(eta) >= 0)
        scrape_sample_with(scrape, command, NULL, json_number_value(eta));
}

void metric_pgcoffer_operation_eta_seconds(struct scrape *scrape, const json_t *server)
{
    (void)server;
    tell_each_running(scrape, tell_eta);
}
