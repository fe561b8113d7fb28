#include "jobs/receive/sync_standby_internal.h"

#include "pgcoffer/config/config.h"

/* What follows from the server's answer; who asks is in sync_standby.c. */

bool receive_sync_is_at_once(const struct receive_sync *sync)
{
    return sync->server->settings.synchronous || !sync->answer.is_known || sync->answer.match.position > 0;
}

static void tell_accident(const struct settings *settings, const struct sync_answer *answer, struct error *err)
{
    if (answer->match.is_by_star)
        error_set(err, ERROR_CONFIG,
                  "commits on the server may wait for this receiver by accident: the \"*\" in "
                  "synchronous_standby_names takes every standby");
    else
        error_set(
            err, ERROR_CONFIG,
            "commits on the server may wait for this receiver by accident: synchronous_standby_names lists \"%s\"",
            settings->application_name);
    error_hint(err, "If that is meant, set synchronous = yes. Otherwise name the standbys that are meant in "
                    "synchronous_standby_names on the server, or give this receiver another application_name.");
}

bool receive_sync_find_fault(const struct settings *settings, const struct sync_answer *answer, struct error *err)
{
    bool is_listed = answer->match.position > 0;

    if (!answer->is_known || (!is_listed && !settings->synchronous))
        return false;
    if (!is_listed) {
        error_set(err, ERROR_CONFIG, "synchronous = yes, and the server waits for nobody named \"%s\"",
                  settings->application_name);
        error_hint(err,
                   "On the server: ALTER SYSTEM SET synchronous_standby_names = '\"%s\"'; SELECT pg_reload_conf(); or "
                   "add the name to those that stand there.",
                   settings->application_name);
    } else if (answer->is_apply_wanted) {
        error_set(err, ERROR_CONFIG,
                  "synchronous_commit = remote_apply: commits that wait for this receiver hang, for it "
                  "replays nothing");
        error_hint(err, "On the server: ALTER SYSTEM SET synchronous_commit = 'on'; SELECT pg_reload_conf(); or, in a "
                        "session: SET synchronous_commit = on (or remote_write).");
    } else if (!settings->synchronous) {
        tell_accident(settings, answer, err);
    } else {
        return false;
    }
    error_detail(err, "synchronous_standby_names = '%.400s'", answer->names);
    error_check(err, is_listed && answer->is_apply_wanted ? "replication.synchronous" : "replication.sync_name");
    return true;
}
