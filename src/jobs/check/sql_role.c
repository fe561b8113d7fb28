#include <stdlib.h>
#include <string.h>

#include "jobs/check/sql_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* What SQL knows of the role, its slot and the WAL senders. */

static void tell_password_end(struct check_run *run, const char *until, long days)
{
    const struct check_options *options = &run->request->options;
    struct finding finding = {0};
    char name[ROLE_NAME_SIZE];

    if (days >= options->warn_days)
        check_pass(run, CHECK_ID_replication_password, "the password is valid until %s (%ld days)", until, days);
    else {
        finding_seen(&finding, "rolvaliduntil = %s", until);
        finding_cause(&finding, CHECK_ID_replication_password,
                      "The role's password is good for %ld more days only (VALID UNTIL %s); after that the server "
                      "refuses it as if it were wrong.",
                      days < 0 ? 0L : days, until);
        finding_fix(&finding, "Type on the server: ALTER ROLE %s PASSWORD '...' VALID UNTIL 'infinity';",
                    role_name_quote(run->server->settings.user, name));
        if (days < options->critical_days)
            check_fail(run, &finding);
        else
            check_warn(run, &finding);
    }
    check_set_measure(run, CHECK_ID_replication_password, "days", days, options->warn_days, options->critical_days);
}

/* False when it is kept as SCRAM, or may not be seen. */
static bool is_kept_as_md5(struct check_run *run)
{
    return sql_is_true(run, "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')") &&
           sql_is_true(run, "SELECT rolpassword LIKE 'md5%' FROM pg_authid WHERE rolname = current_user");
}

static void tell_password(struct check_run *run)
{
    struct finding finding = {0};
    char name[ROLE_NAME_SIZE];
    struct pg_rows *rows SCOPED(scoped_pg_rows) =
        sql_ask(run, "SELECT rolvaliduntil, CASE WHEN isfinite(rolvaliduntil) THEN "
                     "floor(extract(epoch FROM rolvaliduntil - now()) / 86400)::bigint END FROM pg_roles WHERE rolname "
                     "= current_user");

    if (run->answer.kind == STARTUP_ADMITTED)
        check_skip(run, CHECK_ID_replication_password, "the server asks for no password");
    else if (rows == NULL || pg_rows_count(rows) == 0)
        check_skip(run, CHECK_ID_replication_password, "the server does not show pg_roles");
    else if (!sql_has_spoken(run, CHECK_ID_hba_password) && is_kept_as_md5(run)) {
        finding_seen(&finding, "pg_authid: the hash begins with md5");
        finding_cause(&finding, CHECK_ID_replication_password,
                      "The role's password is kept as an MD5 hash, which can be broken and cannot be used with SCRAM.");
        finding_fix(&finding,
                    "Type on the server: SET password_encryption = 'scram-sha-256'; ALTER ROLE %s PASSWORD '...';",
                    role_name_quote(run->server->settings.user, name));
        check_warn(run, &finding);
    } else if (pg_rows_text(rows, 0, 0) == NULL || pg_rows_text(rows, 0, 1) == NULL)
        check_pass(run, CHECK_ID_replication_password, "the password has no end");
    else
        tell_password_end(run, pg_rows_text(rows, 0, 0), strtol(pg_rows_text(rows, 0, 1), NULL, 10));
}

static void tell_slot_user(struct check_run *run, const struct pg_rows *rows)
{
    const char *name = run->server->settings.wal_slot;
    const char *process = pg_rows_text(rows, 0, 1), *program = pg_rows_text(rows, 0, 3);
    struct finding finding = {0};

    bool is_ours = program != NULL && (text_starts_with(program, "pgcoffer") ||
                                       strcmp(program, run->server->settings.application_name) == 0);
    if (process == NULL || is_ours)
        return;
    finding_seen(&finding, "slot \"%s\": active_pid %s, application_name %s", name, process,
                 program == NULL ? "not shown to this role" : program);
    finding_cause(
        &finding, CHECK_ID_replication_slot,
        "The slot \"%s\" is in use by another client (process %s on the server, \"%s\"): the WAL receiver cannot "
        "have it at the same time.",
        name, process, program == NULL ? "of another role" : program);
    finding_fix(
        &finding,
        "Give pgcoffer a slot of its own (wal_slot), or end that client: SELECT * FROM pg_stat_replication WHERE "
        "pid = %s;",
        process);
    check_fail(run, &finding);
}

/* Kept beyond max_wal_size; "unreserved" is the last word before "lost". */
static bool is_in_danger(const char *status)
{
    return status != NULL && (strcmp(status, "extended") == 0 || strcmp(status, "unreserved") == 0);
}

static void tell_danger(struct check_run *run, const struct pg_rows *rows)
{
    const char *name = run->server->settings.wal_slot, *left = pg_rows_text(rows, 0, 4);
    struct finding finding = {0};
    char bytes[TEXT_BYTES_SIZE] = "not limited";
    uint64_t number;

    if (left != NULL && text_parse_unsigned(left, UINT64_MAX, &number))
        text_format_bytes(number, bytes);
    finding_seen(&finding, "slot \"%s\": wal_status = %s, safe_wal_size = %s", name, pg_rows_text(rows, 0, 2),
                 left != NULL ? left : "null");
    finding_cause(
        &finding, CHECK_ID_replication_slot,
        "The receiver is so far behind that the server keeps WAL for the slot \"%s\" beyond max_wal_size; room "
        "for more of it: %s. Behind max_slot_wal_keep_size the slot is invalidated and WAL is lost.",
        name, bytes);
    finding_fix(
        &finding,
        "See \"pgcoffer status\" for what keeps the receiver of %s, and raise max_slot_wal_keep_size on the server "
        "until it has caught up.",
        run->server->name);
    check_warn(run, &finding);
}

static void tell_slot(struct check_run *run, bool *ret_is_active)
{
    const char *name = run->server->settings.wal_slot;
    struct finding finding = {0};

    *ret_is_active = false;
    if (text_is_empty(name) || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name))
        return;
    char *statement SCOPED(scoped_free) =
        memory_text("SELECT active, active_pid, wal_status, (SELECT application_name FROM pg_stat_activity WHERE pid = "
                    "active_pid), "
                    "safe_wal_size FROM pg_replication_slots WHERE slot_name = '%s' AND slot_type = 'physical'",
                    name);
    struct pg_rows *rows SCOPED(scoped_pg_rows) = sql_ask(run, statement);
    if (rows == NULL || pg_rows_count(rows) == 0)
        return;
    const char *status = pg_rows_text(rows, 0, 2);
    *ret_is_active = pg_rows_text(rows, 0, 1) != NULL;
    if (status == NULL || strcmp(status, "lost") != 0) {
        tell_slot_user(run, rows);
        if (is_in_danger(status) && !sql_has_spoken(run, CHECK_ID_replication_slot))
            tell_danger(run, rows);
        return;
    }
    finding_seen(&finding, "slot \"%s\": wal_status = lost", name);
    finding_cause(
        &finding, CHECK_ID_replication_slot,
        "The slot \"%s\" was invalidated: the receiver was away for longer than max_slot_wal_keep_size allows, "
        "and the server removed WAL that was never received.",
        name);
    finding_fix(
        &finding,
        "Type on the server: SELECT pg_drop_replication_slot('%s'); the receiver makes a new one (create_slot = "
        "yes). The WAL has a gap, so take a new backup; and raise max_slot_wal_keep_size there.",
        name);
    check_fail(run, &finding);
}

/* Our own connection counts among the senders in use, and ends before a backup begins. */
static void tell_senders(struct check_run *run, bool has_receiver)
{
    struct finding finding = {0};
    struct pg_rows *rows SCOPED(scoped_pg_rows) =
        sql_ask(run, "SELECT current_setting('max_wal_senders')::int, (SELECT count(*) FROM pg_stat_replication)");

    if (rows == NULL || pg_rows_text(rows, 0, 0) == NULL || pg_rows_text(rows, 0, 1) == NULL)
        return;
    long most = strtol(pg_rows_text(rows, 0, 0), NULL, 10);
    long used = strtol(pg_rows_text(rows, 0, 1), NULL, 10) - 1;
    long needed = has_receiver ? 1 : 2;
    if (most - used >= needed)
        return;
    finding_seen(&finding, "max_wal_senders = %ld, %ld in use besides this check", most, used);
    finding_cause(&finding, CHECK_ID_replication_senders,
                  "Of %ld WAL senders %ld are in use, which leaves too few for %s.", most, used,
                  has_receiver ? "a backup" : "the WAL receiver and a backup");
    finding_fix(&finding,
                "Raise max_wal_senders in postgresql.conf on the server (a restart is needed), or end clients that are "
                "not needed: SELECT * FROM pg_stat_replication;");
    check_warn(run, &finding);
}

void check_sql_role(struct check_run *run)
{
    bool has_receiver = false;

    tell_password(run);
    tell_slot(run, &has_receiver);
    tell_senders(run, has_receiver);
}
