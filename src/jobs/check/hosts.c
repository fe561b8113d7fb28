#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "jobs/check/check_internal.h"
#include "jobs/host_internal.h"
#include "pgcoffer/base/memory.h"

#define APPLICATION_NAME "pgcoffer check"

/* Of the others it is told how far they can be used: what is ours was told, and what is stored is of all. */
static bool is_about_host(enum check_id id)
{
    enum check_level level = check_rows[id].level;

    return level >= CHECK_LEVEL_NETWORK && level <= CHECK_LEVEL_LOGIN;
}

static bool is_any_about_host(const struct check_options *options)
{
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (options->is_wanted[id] && check_rows[id].level != CHECK_LEVEL_FILES && check_is_of_walk(id))
            return true;
    return false;
}

/* Another cluster under the name of this one; told with the word for that, though the repository has no part in it. */
static void compare_cluster(struct check_run *run, const struct pg_identity *used)
{
    struct finding finding = {0};
    uint64_t found = run->identity.system_identifier;

    if (used->system_identifier == 0 || found == 0 || found == used->system_identifier)
        return;
    finding_seen(&finding, "system identifier %" PRIu64, found);
    finding_cause(&finding, CHECK_ID_repository_cluster,
                  "It is another cluster: the host that is used has system identifier %" PRIu64 ".",
                  used->system_identifier);
    finding_fix(&finding, "Take the host out of the list; another cluster gets a section of its own.");
    run->is_set[CHECK_ID_repository_cluster] = false;
    check_fail(run, &finding);
}

/* What was skipped is told by the one fault that it was skipped for. */
static bool tell_other(const struct check_request *request, struct check_run *run, check_sink *sink, void *context,
                       struct error *err)
{
    for (enum check_id id = 0; id < CHECK_COUNT; id++) {
        struct check_result *result = &run->results[id];
        bool is_cluster = id == CHECK_ID_repository_cluster && result->state == CHECK_FAIL;
        if (!request->options.is_wanted[id] || !run->is_set[id] || result->state == CHECK_SKIP ||
            !(is_about_host(id) || is_cluster))
            continue;
        snprintf(result->host, sizeof result->host, "%s", check_host(run));
        result->port = run->server->settings.port;
        if (!sink(context, result, err))
            return false;
    }
    return true;
}

static bool check_other(const struct check_request *request, const struct server_config *view,
                        const struct pg_identity *used, check_sink *sink, void *context, struct error *err)
{
    struct check_request other = *request;
    struct check_run *run SCOPED(scoped_free) = memory_new(sizeof *run);

    other.server = view;
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        other.options.is_wanted[id] = request->options.is_wanted[id] && is_about_host(id);
    run->request = &other;
    bool is_done = check_run_walk(run, err);
    if (is_done)
        compare_cluster(run, used);
    is_done = is_done && tell_other(request, run, sink, context, err);
    check_run_done(run);
    return is_done;
}

bool check_server(const struct check_request *request, check_sink *sink, void *context, struct error *err)
{
    struct server_config *view SCOPED(scoped_free) = memory_new(sizeof *view);
    struct check_request used = *request;
    struct check_run run SCOPED(check_run_done) = {.request = &used};
    size_t count = config_host_count(request->server), chosen = 0;

    if (count > 1 && is_any_about_host(&request->options))
        chosen = host_choose(request->server, request->repo, APPLICATION_NAME, request->interrupt_fd);
    config_take_host(request->server, chosen, view);
    used.server = view;
    if (!check_run_walk(&run, err) || !check_run_tell(&run, CHECK_LEVEL_FILES, CHECK_LEVEL_STORE, sink, context, err))
        return false;
    if (count == 1 || !is_any_about_host(&request->options))
        return true;
    for (size_t host = 0; host < count; host++) {
        struct server_config *other SCOPED(scoped_free) = memory_new(sizeof *other);
        config_take_host(request->server, host, other);
        if (host != chosen && !check_other(request, other, &run.identity, sink, context, err))
            return false;
    }
    return true;
}
