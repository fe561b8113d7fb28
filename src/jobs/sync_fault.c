#include "jobs/sync_fault_internal.h"

#include <stdio.h>
#include <string.h>

enum sync_fault sync_fault_of_names(const struct settings *settings, const struct sync_match *match)
{
    bool is_listed = match->position > 0;

    if (is_listed == settings->synchronous)
        return SYNC_FAULT_NONE;
    if (!is_listed)
        return SYNC_FAULT_UNLISTED;
    return match->is_by_star ? SYNC_FAULT_BY_STAR : SYNC_FAULT_BY_NAME;
}

enum sync_fault sync_fault_of_commit(const struct sync_match *match, const char *synchronous_commit)
{
    bool hangs = match->position > 0 && strcmp(synchronous_commit, "remote_apply") == 0;

    return hangs ? SYNC_FAULT_APPLY : SYNC_FAULT_NONE;
}

const char *sync_fault_fix(enum sync_fault fault, const struct settings *settings, char ret_text[SYNC_FAULT_FIX_SIZE])
{
    ret_text[0] = '\0';
    switch (fault) {
    case SYNC_FAULT_NONE:
        break;
    case SYNC_FAULT_UNLISTED:
        snprintf(ret_text, SYNC_FAULT_FIX_SIZE,
                 "Type on the server: ALTER SYSTEM SET synchronous_standby_names = '\"%s\"'; SELECT pg_reload_conf(); "
                 "or add the name to those that stand there.",
                 settings->application_name);
        break;
    case SYNC_FAULT_BY_NAME:
    case SYNC_FAULT_BY_STAR:
        snprintf(ret_text, SYNC_FAULT_FIX_SIZE,
                 "If that is meant, set synchronous = yes. Otherwise name the standbys that are meant in "
                 "synchronous_standby_names in postgresql.conf on the server, then SELECT pg_reload_conf(); or give "
                 "the receiver another application_name.");
        break;
    case SYNC_FAULT_APPLY:
        snprintf(ret_text, SYNC_FAULT_FIX_SIZE,
                 "Type on the server: ALTER SYSTEM SET synchronous_commit = 'on'; SELECT pg_reload_conf(); or in a "
                 "session: SET synchronous_commit = on (or remote_write). What hangs already ends when it is "
                 "cancelled, and is committed.");
        break;
    }
    return ret_text;
}
