#include "jobs/check/sync_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/check/server_files_internal.h"
#include "jobs/check/sql_internal.h"
#include "jobs/sync_fault_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/pg/sync_names.h"

#define NAMES_SIZE ((size_t)8192)

struct sync_view {
    char names[NAMES_SIZE];
    struct sync_match match;
};

static bool look_at_names(struct check_run *run, struct sync_view *ret_view)
{
    struct error ignored;

    return server_show(run, "synchronous_standby_names", ret_view->names, sizeof ret_view->names) &&
           sync_names_match(ret_view->names, run->server->settings.application_name, &ret_view->match, &ignored);
}

static bool is_listed(const struct sync_view *view)
{
    return view->match.position > 0;
}

/* ---- replication.sync_name ---- */

static void set_cause(const struct settings *settings, enum sync_fault fault, struct finding *finding)
{
    switch (fault) {
    case SYNC_FAULT_NONE:
    case SYNC_FAULT_APPLY:
        break;
    case SYNC_FAULT_UNLISTED:
        finding_cause(finding, CHECK_ID_replication_sync_name,
                      "synchronous = yes, but the server waits for nobody named \"%s\": a commit may be lost with it.",
                      settings->application_name);
        break;
    case SYNC_FAULT_BY_NAME:
        finding_cause(finding, CHECK_ID_replication_sync_name,
                      "synchronous_standby_names lists \"%s\", so commits on the server may wait for this WAL "
                      "receiver, although synchronous = no.",
                      settings->application_name);
        break;
    case SYNC_FAULT_BY_STAR:
        finding_cause(finding, CHECK_ID_replication_sync_name,
                      "The \"*\" in synchronous_standby_names takes every standby, so commits on the server may wait "
                      "for this WAL receiver, although synchronous = no.");
        break;
    }
}

static void tell_name(struct check_run *run, const struct sync_view *view)
{
    const struct settings *settings = &run->server->settings;
    enum sync_fault fault = sync_fault_of_names(settings, &view->match);
    struct finding finding = {0};
    char fix[SYNC_FAULT_FIX_SIZE];

    finding_seen(&finding, "synchronous_standby_names = '%.200s', application_name = %s, synchronous = %s", view->names,
                 settings->application_name, settings->synchronous ? "yes" : "no");
    if (fault == SYNC_FAULT_NONE) {
        check_pass(run, CHECK_ID_replication_sync_name, "%s", finding.seen);
        return;
    }
    set_cause(settings, fault, &finding);
    finding_fix(&finding, "%s", sync_fault_fix(fault, settings, fix));
    check_warn(run, &finding);
}

/* ---- replication.synchronous ---- */

static void tell_remote_apply(struct check_run *run, const struct sync_view *view, struct finding *finding)
{
    char fix[SYNC_FAULT_FIX_SIZE];

    finding_cause(
        finding, CHECK_ID_replication_synchronous,
        "With synchronous_commit = remote_apply commits that wait for the WAL receiver hang, for it stores WAL "
        "and replays none.");
    finding_fix(finding, "%s", sync_fault_fix(SYNC_FAULT_APPLY, &run->server->settings, fix));
    if (sync_match_is_indispensable(&view->match))
        check_fail(run, finding);
    else
        check_warn(run, finding);
}

static void tell_commit(struct check_run *run, const struct sync_view *view)
{
    struct finding finding = {0};
    char commit[32];

    if (!server_show(run, "synchronous_commit", commit, sizeof commit)) {
        check_skip(run, CHECK_ID_replication_synchronous, "the server does not show synchronous_commit");
        return;
    }
    bool waits_for_nobody = strcmp(commit, "off") == 0 || strcmp(commit, "local") == 0;
    finding_seen(&finding, "synchronous_commit = %s", commit);
    if (sync_fault_of_commit(&view->match, commit) != SYNC_FAULT_NONE) {
        tell_remote_apply(run, view, &finding);
    } else if (is_listed(view) && run->server->settings.synchronous && waits_for_nobody) {
        finding_cause(&finding, CHECK_ID_replication_synchronous,
                      "With synchronous_commit = %s commits wait for no standby, so the last ones are lost with the "
                      "server although synchronous = yes.",
                      commit);
        finding_fix(&finding,
                    "Type on the server: ALTER SYSTEM SET synchronous_commit = 'on'; SELECT pg_reload_conf();");
        check_warn(run, &finding);
    } else {
        check_pass(run, CHECK_ID_replication_synchronous, "synchronous_commit = %s%s", commit,
                   is_listed(view) ? "" : "; no commit waits for the receiver");
    }
}

void check_sync_settings(struct check_run *run)
{
    struct sync_view *view SCOPED(scoped_free) = memory_new(sizeof *view);

    if (!look_at_names(run, view)) {
        check_skip(run, CHECK_ID_replication_sync_name, "the server does not show synchronous_standby_names");
        check_skip(run, CHECK_ID_replication_synchronous, "the server does not show synchronous_standby_names");
        return;
    }
    tell_name(run, view);
    tell_commit(run, view);
}

const char *sync_settings_owner(const char *role, const char *database, char ret_text[SYNC_OWNER_SIZE])
{
    char role_name[ROLE_NAME_SIZE], database_name[ROLE_NAME_SIZE];

    if (role == NULL && database != NULL)
        snprintf(ret_text, SYNC_OWNER_SIZE, "DATABASE %s", role_name_quote(database, database_name));
    else
        snprintf(ret_text, SYNC_OWNER_SIZE, "ROLE %s%s%s", role == NULL ? "ALL" : role_name_quote(role, role_name),
                 database == NULL ? "" : " IN DATABASE ",
                 database == NULL ? "" : role_name_quote(database, database_name));
    return ret_text;
}

/* Of a role or a database it is no default, and SHOW over our own connection does not tell it. */
static void tell_single_remote_apply(struct check_run *run)
{
    struct finding finding = {0};
    char owner[SYNC_OWNER_SIZE];
    struct pg_rows *rows SCOPED(scoped_pg_rows) = sql_ask(
        run,
        "SELECT (SELECT rolname FROM pg_roles r WHERE r.oid = setrole), (SELECT datname FROM pg_database d WHERE d.oid "
        "= setdatabase) FROM pg_db_role_setting WHERE 'synchronous_commit=remote_apply' = ANY (setconfig) ORDER BY 1 "
        "NULLS FIRST, 2 NULLS FIRST");

    if (rows == NULL || pg_rows_count(rows) == 0)
        return;
    sync_settings_owner(pg_rows_text(rows, 0, 0), pg_rows_text(rows, 0, 1), owner);
    finding_seen(&finding, "pg_db_role_setting: %d with synchronous_commit = remote_apply, the first: %s",
                 pg_rows_count(rows), owner);
    finding_cause(&finding, CHECK_ID_replication_synchronous,
                  "synchronous_commit = remote_apply is set for %s: those commits hang when they wait for the WAL "
                  "receiver, for it stores WAL and replays none.",
                  owner);
    finding_fix(&finding, "Type on the server: ALTER %s RESET synchronous_commit;", owner);
    check_warn(run, &finding);
}

/* ---- replication.sync_state ---- */

static void tell_nobody(struct check_run *run, const struct sync_view *view)
{
    const char *name = run->server->settings.application_name;
    struct finding finding = {0};

    finding_seen(&finding, "pg_stat_replication: nobody is named \"%s\"", name);
    finding_cause(&finding, CHECK_ID_replication_sync_state,
                  sync_match_is_indispensable(&view->match)
                      ? "The server waits for \"%s\", and no WAL receiver of that name is connected: commits hang."
                      : "The server may wait for \"%s\", and no WAL receiver of that name is connected.",
                  name);
    finding_fix(&finding,
                "Start the receiver: systemctl start pgcofferd. To let the commits go on without it, take the name out "
                "of synchronous_standby_names in postgresql.conf on the server, then SELECT pg_reload_conf();");
    if (sync_match_is_indispensable(&view->match))
        check_fail(run, &finding);
    else
        check_warn(run, &finding);
}

static void tell_state(struct check_run *run, const struct pg_rows *rows)
{
    const char *state = pg_rows_text(rows, 0, 0), *sync_state = pg_rows_text(rows, 0, 1);
    struct finding finding = {0};

    if (state == NULL || sync_state == NULL) {
        check_skip(run, CHECK_ID_replication_sync_state, "the server does not show its state");
        return;
    }
    if (strcmp(state, "streaming") == 0 && strcmp(sync_state, "async") != 0) {
        check_pass(run, CHECK_ID_replication_sync_state, "pg_stat_replication: %s, sync_state = %s", state, sync_state);
        return;
    }
    finding_seen(&finding, "pg_stat_replication: %s, sync_state = %s", state, sync_state);
    finding_cause(&finding, CHECK_ID_replication_sync_state,
                  "The WAL receiver is connected and does not count as a synchronous standby yet: it catches up with "
                  "what the server wrote meanwhile.");
    finding_fix(&finding, "Look again in a moment: pgcoffer status %s shows how far behind it is.", run->server->name);
    check_warn(run, &finding);
}

static void look_at_senders(struct check_run *run, const struct sync_view *view)
{
    char role[ROLE_NAME_SIZE];

    if (!sql_is_true(run, "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")) {
        check_skip(run, CHECK_ID_replication_sync_state,
                   "by synchronous_standby_names the receiver is \"%s\"; what it is now the role could see after: "
                   "GRANT pg_read_all_stats TO %s;",
                   sync_state_word(sync_match_state(&view->match)), role_name_quote(run->server->settings.user, role));
        return;
    }
    char *statement SCOPED(scoped_free) =
        memory_text("SELECT state, sync_state FROM pg_stat_replication WHERE lower(application_name) = lower('%s') "
                    "ORDER BY state <> 'streaming', sync_state = 'async'",
                    run->server->settings.application_name);
    struct pg_rows *rows SCOPED(scoped_pg_rows) = sql_ask(run, statement);
    if (rows == NULL)
        check_skip(run, CHECK_ID_replication_sync_state, "the server does not show pg_stat_replication");
    else if (pg_rows_count(rows) == 0)
        tell_nobody(run, view);
    else
        tell_state(run, rows);
}

void check_sync_state(struct check_run *run)
{
    struct sync_view *view SCOPED(scoped_free) = memory_new(sizeof *view);

    if (!look_at_names(run, view)) {
        check_skip(run, CHECK_ID_replication_sync_state, "the server does not show synchronous_standby_names");
        return;
    }
    if (!is_listed(view)) {
        check_pass(run, CHECK_ID_replication_sync_state, "not listed in synchronous_standby_names: async");
        return;
    }
    look_at_senders(run, view);
    if (!sql_has_spoken(run, CHECK_ID_replication_synchronous))
        tell_single_remote_apply(run);
}
