#include <string.h>

#include "jobs/exporter/server_internal.h"
#include "pgcoffer/base/clock.h"

/*
 * What a program may be told that only wants a word. A connection that breaks is made again within seconds, so nothing
 * is said of one that is away for less than HEALTH_PATIENCE_SECONDS; whether backups are young enough, and what else
 * may be worth a call, is for rules over the metrics.
 */
static bool is_missing(const json_t *server, struct timestamp now, const char **ret_since)
{
    struct timestamp at;

    *ret_since = json_text_or_null(server, "interrupted_at");
    return json_find_time(server, "interrupted_at", &at) &&
           now.microseconds - at.microseconds >= INT64_C(1000000) * HEALTH_PATIENCE_SECONDS;
}

bool health_is_good(const json_t *state, struct buffer *out)
{
    struct timestamp now;
    const char *since;
    const json_t *server;
    bool is_good = true;
    size_t index;

    if (!json_find_time(state, "now", &now))
        return false;
    json_array_foreach(json_object_get(state, "servers"), index, server)
    {
        const json_t *receiver = json_object_get(server, "receiver");
        const char *name = json_text_or_null(server, "server"), *word = json_text_or_null(receiver, "state");
        if (name == NULL || word == NULL || !is_missing(server, now, &since))
            continue;
        write_format(out, "%s: no WAL is received since %s (%s)\n", name, since, word);
        is_good = false;
    }
    return is_good;
}
