#include "jobs/receive/sync_standby_internal.h"

#include "jobs/sync_fault_internal.h"
#include "pgcoffer/config/config.h"

/* What follows from the server's answer; who asks is in sync_standby.c. */

bool receive_sync_is_at_once(const struct receive_sync *sync)
{
    return sync->server->settings.synchronous || !sync->answer.is_known || sync->answer.match.position > 0;
}

static void set_words(enum sync_fault fault, const struct settings *settings, struct error *err)
{
    switch (fault) {
    case SYNC_FAULT_NONE:
        break;
    case SYNC_FAULT_UNLISTED:
        error_set(err, ERROR_CONFIG, "synchronous = yes, and the server waits for nobody named \"%s\"",
                  settings->application_name);
        break;
    case SYNC_FAULT_BY_NAME:
        error_set(
            err, ERROR_CONFIG,
            "commits on the server may wait for this receiver by accident: synchronous_standby_names lists \"%s\"",
            settings->application_name);
        break;
    case SYNC_FAULT_BY_STAR:
        error_set(err, ERROR_CONFIG,
                  "commits on the server may wait for this receiver by accident: the \"*\" in "
                  "synchronous_standby_names takes every standby");
        break;
    case SYNC_FAULT_APPLY:
        error_set(err, ERROR_CONFIG,
                  "synchronous_commit = remote_apply: commits that wait for this receiver hang, for it replays "
                  "nothing");
        break;
    }
}

bool receive_sync_find_fault(const struct settings *settings, const struct sync_answer *answer, struct error *err)
{
    char fix[SYNC_FAULT_FIX_SIZE];

    if (!answer->is_known)
        return false;
    enum sync_fault fault = sync_fault_of_commit(&answer->match, answer->commit);
    if (fault == SYNC_FAULT_NONE)
        fault = sync_fault_of_names(settings, &answer->match);
    if (fault == SYNC_FAULT_NONE)
        return false;
    set_words(fault, settings, err);
    error_hint(err, "%s", sync_fault_fix(fault, settings, fix));
    error_detail(err, "synchronous_standby_names = '%.400s'", answer->names);
    error_check(err, fault == SYNC_FAULT_APPLY ? "replication.synchronous" : "replication.sync_name");
    return true;
}
