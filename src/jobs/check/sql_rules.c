#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "jobs/check/hba_rule_internal.h"
#include "jobs/check/server_files_internal.h"
#include "jobs/check/sql_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define FIRST_WITH_IDENT_VIEW 150000

/* pg_hba.conf and pg_ident.conf as the server reads them, where the role was granted the views. */
static bool may_read(struct check_run *run, const char *view, const enum check_id *ids, size_t count)
{
    char name[ROLE_NAME_SIZE];
    char *statement SCOPED(scoped_free) = memory_text("SELECT has_table_privilege('pg_catalog.%s', 'SELECT') AND "
                                                      "has_function_privilege('pg_catalog.%s()', 'EXECUTE')",
                                                      view, view);

    if (sql_is_true(run, statement))
        return true;
    role_name_quote(run->server->settings.user, name);
    for (size_t i = 0; i < count; i++)
        check_skip(
            run, ids[i],
            "the role may not read it; it could after, in database \"postgres\": GRANT SELECT ON %s TO %s; GRANT "
            "EXECUTE ON FUNCTION %s() TO %s;",
            view, name, view, name);
    return false;
}

static struct hba_rule *read_rules(const struct pg_rows *rows)
{
    int count = pg_rows_count(rows);
    struct hba_rule *rules = memory_new((size_t)(count + 1) * sizeof *rules);

    for (int row = 0; row < count; row++) {
        const char *line = pg_rows_text(rows, row, 0);
        const char *bases = pg_rows_text(rows, row, 2), *users = pg_rows_text(rows, row, 3);
        rules[row] = (struct hba_rule){
            .line = line == NULL ? "?" : line,
            .type = pg_rows_text(rows, row, 1),
            .bases = bases == NULL ? "" : bases,
            .users = users == NULL ? "" : users,
            .address = pg_rows_text(rows, row, 4),
            .netmask = pg_rows_text(rows, row, 5),
            .method = pg_rows_text(rows, row, 6),
            .options = pg_rows_text(rows, row, 7),
            .error = pg_rows_text(rows, row, 8),
        };
    }
    return rules;
}

static bool tell_bad_line(struct check_run *run, const struct hba_rule *rules, size_t count)
{
    struct finding finding = {0};

    for (size_t i = 0; i < count; i++) {
        if (rules[i].type != NULL && rules[i].error == NULL)
            continue;
        const char *line = rules[i].line;
        finding_seen(&finding, "pg_hba_file_rules: line %s: %s", line,
                     rules[i].error == NULL ? "not understood" : rules[i].error);
        finding_cause(
            &finding, CHECK_ID_hba_rules,
            "PostgreSQL cannot read line %s of pg_hba.conf (%s). It goes on with the lines it read before; the "
            "next restart fails.",
            line, rules[i].error == NULL ? "it does not say why; often a bad option" : rules[i].error);
        finding_fix(&finding,
                    "Correct that line on the server, look whether it is understood: SELECT line_number, error FROM "
                    "pg_hba_file_rules WHERE type IS NULL; then SELECT pg_reload_conf();");
        check_fail(run, &finding);
        return true;
    }
    return false;
}

/* Seconds since 1970 when the file was changed last; negative when neither the server nor this machine tells. */
static double find_file_time(struct check_run *run, char ret_path[PATH_MAX])
{
    struct server_place place;
    struct stat about;
    struct pg_rows *shown SCOPED(scoped_pg_rows) =
        sql_ask(run, "SELECT setting FROM pg_settings WHERE name = 'hba_file'");
    const char *path = shown == NULL ? NULL : pg_rows_text(shown, 0, 0);

    /* The server gives whole seconds, rounded down: what it calls newer is newer. */
    if (path != NULL && sql_is_true(run, "SELECT has_function_privilege('pg_catalog.pg_stat_file(text)', 'EXECUTE')")) {
        struct pg_rows *rows SCOPED(scoped_pg_rows) =
            sql_ask(run, "SELECT extract(epoch FROM (pg_stat_file(current_setting('hba_file'))).modification)");
        snprintf(ret_path, PATH_MAX, "%s", path);
        if (rows != NULL && pg_rows_text(rows, 0, 0) != NULL)
            return strtod(pg_rows_text(rows, 0, 0), NULL);
    }
    server_place_find(run, &place);
    if (!place.is_here || !server_place_path(&place, path == NULL ? "pg_hba.conf" : path, ret_path) ||
        stat(ret_path, &about) != 0)
        return -1.0;
    return (double)about.st_mtim.tv_sec + (double)about.st_mtim.tv_nsec / 1e9;
}

static void tell_loaded(struct check_run *run, size_t count)
{
    struct finding finding = {0};
    char path[PATH_MAX];
    struct pg_rows *rows SCOPED(scoped_pg_rows) =
        sql_ask(run, "SELECT extract(epoch FROM pg_conf_load_time()), pg_conf_load_time()");
    double changed = find_file_time(run, path);

    if (rows == NULL || pg_rows_text(rows, 0, 0) == NULL || changed < 0.0) {
        check_pass(run, CHECK_ID_hba_rules,
                   "%zu lines, none with an error; whether they are loaded as they stand cannot be seen from here",
                   count);
        return;
    }
    if (changed <= strtod(pg_rows_text(rows, 0, 0), NULL)) {
        check_pass(run, CHECK_ID_hba_rules, "%zu lines, none with an error, loaded at %s", count,
                   pg_rows_text(rows, 0, 1));
        return;
    }
    finding_seen(&finding, "\"%s\" was changed %.0f s after pg_conf_load_time() = %s", path,
                 changed - strtod(pg_rows_text(rows, 0, 0), NULL), pg_rows_text(rows, 0, 1));
    finding_cause(&finding, CHECK_ID_hba_rules,
                  "pg_hba.conf was changed after the server read it last, at %s: what it says now is not loaded.",
                  pg_rows_text(rows, 0, 1));
    finding_fix(&finding,
                "Type on the server: SELECT pg_reload_conf(); and look whether it is understood first: SELECT "
                "line_number, error FROM pg_hba_file_rules WHERE type IS NULL OR error IS NOT NULL;");
    check_warn(run, &finding);
}

static void tell_looser(struct check_run *run, const struct hba_rule *rules, size_t count)
{
    static const enum check_id told[] = {CHECK_ID_hba_plaintext, CHECK_ID_hba_certificate, CHECK_ID_hba_superuser};
    struct finding finding = {0};
    struct answer_facts facts;
    const char *user = run->server->settings.user;
    struct pg_rows *rows SCOPED(scoped_pg_rows) = sql_ask(run, "SELECT host(inet_client_addr())");
    const char *client = rows == NULL ? NULL : pg_rows_text(rows, 0, 0);

    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (check_has_failed(run, told[i])) {
            check_skip(run, CHECK_ID_hba_looser, "see %s", check_rows[told[i]].name);
            return;
        }
    const struct hba_rule *ours = hba_rule_find_ours(rules, count, user, client == NULL ? "" : client);
    const struct hba_rule *looser = hba_rule_find_looser(rules, count, ours, user);
    if (looser == NULL) {
        check_pass(run, CHECK_ID_hba_looser, "line %s decides about \"%s\"; none above it admits with less",
                   ours == NULL ? "?" : ours->line, user);
        return;
    }
    answer_facts_gather(run, run->answer.probe.address, &facts);
    char text[256];
    snprintf(text, sizeof text, "%s %s %s %s%s%s %s%s%s", looser->type, looser->bases, looser->users,
             looser->address == NULL ? "" : looser->address, looser->netmask == NULL ? "" : " ",
             looser->netmask == NULL ? "" : looser->netmask, looser->method, looser->options == NULL ? "" : " ",
             looser->options == NULL ? "" : looser->options);
    finding_seen(&finding, "line %s: %s", looser->line, text);
    finding_cause(
        &finding, CHECK_ID_hba_looser,
        "Line %s of pg_hba.conf (%s) stands above the one for this connection (line %s) and admits replication "
        "with less: %s.",
        looser->line, text, ours == NULL ? "none" : ours->line,
        hba_rule_demand(looser) == HBA_DEMANDS_NOTHING ? "nothing at all is asked for (trust)"
        : hba_rule_takes_plaintext(looser)             ? "without TLS, because it says host and not hostssl"
                                                       : "without a client certificate");
    finding_fix(&finding,
                "Remove line %s, or make it as strict as this one and put it below: %s; nothing above it should admit "
                "replication otherwise. Then SELECT pg_reload_conf();",
                looser->line, facts.line);
    check_warn(run, &finding);
}

static void tell_rules(struct check_run *run)
{
    static const enum check_id ids[] = {CHECK_ID_hba_rules, CHECK_ID_hba_looser};

    if (!may_read(run, "pg_hba_file_rules", ids, 2))
        return;
    struct pg_rows *rows SCOPED(scoped_pg_rows) = sql_ask(
        run, "SELECT line_number, type, array_to_string(database, ','), array_to_string(user_name, ','), address, "
             "netmask, auth_method, array_to_string(options, ','), error FROM pg_hba_file_rules");
    if (rows == NULL) {
        check_skip(run, CHECK_ID_hba_rules, "the server does not show pg_hba_file_rules");
        return;
    }
    size_t count = (size_t)pg_rows_count(rows);
    struct hba_rule *rules SCOPED(scoped_free) = read_rules(rows);
    if (!tell_bad_line(run, rules, count))
        tell_loaded(run, count);
    tell_looser(run, rules, count);
}

static void tell_open_map(struct check_run *run, const struct pg_rows *rows, int row)
{
    const char *line = pg_rows_text(rows, row, 0), *map = pg_rows_text(rows, row, 1);
    const char *system_name = pg_rows_text(rows, row, 2), *role = pg_rows_text(rows, row, 3);
    const char *is_superuser = pg_rows_text(rows, row, 4);
    struct finding finding = {0};

    if (line == NULL || map == NULL || role == NULL)
        return;
    finding_seen(&finding, "line %s: %s %s %s", line, map, system_name, role);
    if (strchr(role, '\\') != NULL)
        finding_cause(&finding, CHECK_ID_hba_maps,
                      "Line %s of pg_ident.conf (map %s) takes every name and gives it the role of that name: every "
                      "certificate of the CA names its role itself, also the superuser's.",
                      line, map);
    else
        finding_cause(
            &finding, CHECK_ID_hba_maps,
            "Line %s of pg_ident.conf (map %s) takes every name and gives it the role %s: every certificate of "
            "the CA is as good as the one meant.",
            line, map, role);
    finding_fix(&finding,
                "Write one line for each certificate instead of \"%s %s %s\" into pg_ident.conf on the server: %s "
                "COMMON_NAME ROLE; then SELECT pg_reload_conf();",
                map, system_name, role, map);
    if (strcmp(role, "all") == 0 || (is_superuser != NULL && strcmp(is_superuser, "t") == 0))
        check_fail(run, &finding);
    else
        check_warn(run, &finding);
}

static void tell_maps(struct check_run *run)
{
    static const enum check_id id = CHECK_ID_hba_maps;

    if (pg_session(run->database)->server_version < FIRST_WITH_IDENT_VIEW) {
        check_skip(run, id, "servers before version 15 do not show pg_ident.conf");
        return;
    }
    if (!may_read(run, "pg_ident_file_mappings", &id, 1))
        return;
    if (check_has_failed(run, CHECK_ID_identity_other_role)) {
        check_skip(run, id, "see identity.other_role");
        return;
    }
    struct pg_rows *rows SCOPED(scoped_pg_rows) = sql_ask(
        run, "SELECT line_number, map_name, sys_name, pg_username, (SELECT rolsuper FROM pg_roles WHERE rolname = "
             "pg_username) FROM pg_ident_file_mappings WHERE map_name IS NOT NULL ORDER BY line_number");
    if (rows == NULL) {
        check_skip(run, id, "the server does not show pg_ident_file_mappings");
        return;
    }
    for (int row = 0; row < pg_rows_count(rows); row++)
        if (ident_name_catches_all(pg_rows_text(rows, row, 2)))
            tell_open_map(run, rows, row);
    check_pass(run, id, "%d lines, none takes every name", pg_rows_count(rows));
}

void check_sql_rules(struct check_run *run)
{
    tell_rules(run);
    tell_maps(run);
}
