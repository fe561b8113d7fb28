#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "jobs/check/check_internal.h"

/* The levels in the order of the work. The negative probes belong to the level of the startup packet, and what the
 * server makes of our certificate to that of the handshake. */
static const struct stage {
    enum check_level level;
    bool is_negative;
    void (*look)(struct check_run *run);
} stages[] = {
    {CHECK_LEVEL_FILES, false, check_level_files},
    {CHECK_LEVEL_NETWORK, false, check_level_network},
    {CHECK_LEVEL_HANDSHAKE, false, check_level_handshake},
    {CHECK_LEVEL_HANDSHAKE, false, check_level_client_certificate},
    {CHECK_LEVEL_STARTUP, false, check_level_startup},
    {CHECK_LEVEL_STARTUP, true, check_level_negative},
    {CHECK_LEVEL_LOGIN, false, check_level_login},
    {CHECK_LEVEL_SHOW, false, check_level_show},
    {CHECK_LEVEL_SQL, false, check_level_sql},
    {CHECK_LEVEL_STORE, false, check_level_store},
};

static void need(struct check_run *run, enum check_id id)
{
    for (; id != CHECK_ID_NOTHING && !run->is_needed[id]; id = check_rows[id].needs)
        run->is_needed[id] = true;
}

static void mark_needed(struct check_run *run)
{
    const bool *is_wanted = run->request->options.is_wanted;

    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (is_wanted[id] && check_is_of_walk(id))
            need(run, id);
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (is_wanted[id])
            need(run, check_completed_by(id));
    /* Only the server itself can say which cluster it is. */
    if (is_wanted[CHECK_ID_repository_cluster] && run->request->repo != NULL)
        need(run, CHECK_ID_replication_login);
}

/* Every handshake stands on what was learned of the files, though no row says so. */
static bool is_level_needed(const struct check_run *run, enum check_level level)
{
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (run->is_needed[id] &&
            (check_rows[id].level == level || (level == CHECK_LEVEL_FILES && check_rows[id].level < CHECK_LEVEL_STORE)))
            return true;
    return false;
}

static bool walk(struct check_run *run, struct error *err)
{
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        const struct stage *stage = &stages[i];
        if (is_level_needed(run, stage->level) && !(stage->is_negative && run->request->options.is_passive))
            stage->look(run);
        ERR_clear_error(); /* signatures that did not fit */
        if (check_is_interrupted(run)) {
            error_set(err, ERROR_FAILED, "the check was interrupted");
            err->errnum = ECANCELED;
            return false;
        }
    }
    return true;
}

bool check_run_walk(struct check_run *run, struct error *err)
{
    run->server = run->request->server;
    run->patience = (int64_t)run->server->settings.connect_timeout * 1000000;
    mark_needed(run);
    if (!walk(run, err))
        return false;
    check_run_settle(run, CHECK_LEVEL_FILES, CHECK_LEVEL_STORE);
    return true;
}
