#include <errno.h>
#include <string.h>

#include "jobs/check/judgement_internal.h"
#include "jobs/check/patience_internal.h"
#include "pgcoffer/base/text.h"

#define APPLICATION_NAME    "pgcoffer check"
#define LEAST_WAL_SENDERS   2 /* a backup and the WAL receiver */
#define NEWEST_KNOWN_SERVER 18

/* What the startup packet showed would only fail again, in libpq's words. */
static bool is_worth_a_try(struct check_run *run)
{
    static const enum check_id obstacles[] = {CHECK_ID_hba_password, CHECK_ID_protocol_binding};

    if (!check_may(run, CHECK_ID_replication_login))
        return false;
    for (size_t i = 0; i < sizeof obstacles / sizeof *obstacles; i++)
        if (check_has_failed(run, obstacles[i])) {
            check_block(run, CHECK_ID_replication_login, obstacles[i]);
            return false;
        }
    return true;
}

/*
 * With clientcert=verify-full the server compares the CN only after the password, and then says the same as for a wrong
 * one. When the password was refused and the CN differs, the CN is what can be proved.
 */
static bool tell_common_name(struct check_run *run, const struct error *err)
{
    struct answer_facts facts;
    struct finding finding = {0};
    char setting[CHECK_SETTING_SIZE];

    answer_facts_gather(run, run->answer.probe.address, &facts);
    if (run->answer.kind != STARTUP_SCRAM || !facts.has_certificate ||
        strcmp(facts.common_name, run->server->settings.user) == 0 ||
        strstr(err->message, "password authentication failed") == NULL)
        return false;
    finding_seen(&finding, "CN \"%s\", role \"%s\"; the server: password authentication failed", facts.common_name,
                 run->server->settings.user);
    finding_cause(&finding, CHECK_ID_identity_common_name,
                  "The server says that the password is wrong, but the password may be right: when the line of "
                  "pg_hba.conf says clientcert=verify-full it refuses in the same words a client certificate whose CN "
                  "(\"%s\") is not the role's name (\"%s\").",
                  facts.common_name, run->server->settings.user);
    finding_fix(&finding,
                "Get a certificate with the subject CN=%s (%s). If the login fails still, set the password anew: ALTER "
                "ROLE %s PASSWORD '...'; and write it into %s.",
                run->server->settings.user, check_setting(run, "tls_cert_file", setting), facts.role,
                text_is_empty(run->server->settings.password_file) ? "~/.pgpass" : run->server->settings.password_file);
    check_fail(run, &finding);
    check_block(run, CHECK_ID_replication_login, CHECK_ID_identity_common_name);
    return true;
}

/* Whoever lets everybody in and then knows no command is not PostgreSQL. */
static void tell_silence(struct check_run *run)
{
    struct finding finding = {0};

    finding_seen(&finding, "no answer to IDENTIFY_SYSTEM within %ld s", run->server->settings.connect_timeout);
    finding_cause(
        &finding, CHECK_ID_replication_login,
        "The login succeeded, and then the server did not answer the first command within %ld s: it hangs, or "
        "what answers is not PostgreSQL.",
        run->server->settings.connect_timeout);
    finding_fix(&finding, "Look at the server and its log; see that host and port lead to PostgreSQL itself.");
    check_fail(run, &finding);
}

static bool log_in(struct check_run *run)
{
    struct error err = {0};

    run->watch = check_patience_new(run->request->interrupt_fd);
    if (!pg_connect(run->server, APPLICATION_NAME, check_patience_fd(run->watch), &run->connection, &err)) {
        if (err.errnum != ECANCELED && !tell_common_name(run, &err))
            check_fail_error(run, CHECK_ID_replication_login, &err);
        return false;
    }
    check_patience_renew(run->watch, run->patience);
    if (!pg_identify(run->connection, &run->identity, &err)) {
        if (err.errnum == ECANCELED && check_patience_is_over(run->watch))
            tell_silence(run);
        else if (err.errnum != ECANCELED)
            check_fail_error(run, CHECK_ID_replication_login, &err);
        pg_disconnect(TAKE(run->connection));
        return false;
    }
    const struct pg_session *session = pg_session(run->connection);
    check_pass(run, CHECK_ID_replication_login, "system identifier %llu, timeline %u, %s%s%s",
               (unsigned long long)run->identity.system_identifier, run->identity.timeline.value, session->tls_version,
               session->tls_cipher[0] == '\0' ? "" : ", ", session->tls_cipher);
    return true;
}

static void tell_role(struct check_run *run)
{
    struct finding finding = {0};
    char value[16], name[ROLE_NAME_SIZE];
    struct error err;
    const char *user = run->server->settings.user;

    role_name_quote(user, name);
    if (!pg_show(run->connection, "is_superuser", value, sizeof value, &err))
        check_pass(run, CHECK_ID_replication_role, "\"%s\" may replicate", user);
    else if (strcmp(value, "on") != 0)
        check_pass(run, CHECK_ID_replication_role, "\"%s\" has REPLICATION and is no superuser", user);
    else {
        finding_seen(&finding, "is_superuser = on for \"%s\"", user);
        finding_cause(&finding, CHECK_ID_replication_role,
                      "The role \"%s\" is a superuser. A backup needs REPLICATION only; whoever gets hold of this "
                      "machine's key could change the cluster as well as read it.",
                      user);
        finding_fix(&finding, "Type on the server: ALTER ROLE %s NOSUPERUSER REPLICATION;%s", name,
                    strcmp(user, "postgres") == 0
                        ? " or better, make a role for backups: CREATE ROLE backup LOGIN REPLICATION;"
                        : "");
        check_warn(run, &finding);
    }
}

static void tell_senders(struct check_run *run)
{
    struct finding finding = {0};
    char value[32];
    uint64_t most = 0;
    struct error err;

    if (!pg_show(run->connection, "max_wal_senders", value, sizeof value, &err) ||
        !text_parse_unsigned(value, UINT32_MAX, &most)) {
        check_pass(run, CHECK_ID_replication_senders, "one was free for this connection");
        return;
    }
    if (most >= LEAST_WAL_SENDERS) {
        check_pass(run, CHECK_ID_replication_senders, "max_wal_senders = %s", value);
        return;
    }
    finding_seen(&finding, "max_wal_senders = %s", value);
    finding_cause(&finding, CHECK_ID_replication_senders,
                  "The server has %s WAL sender: while the WAL receiver streams, no backup can be taken.", value);
    finding_fix(&finding, "Set max_wal_senders = 10 in postgresql.conf on the server; a restart is needed.");
    check_fail(run, &finding);
}

static void tell_version(struct check_run *run)
{
    const struct pg_session *session = pg_session(run->connection);
    struct finding finding = {0};
    int major = session->server_version / 10000;

    if (major <= NEWEST_KNOWN_SERVER) {
        check_pass(run, CHECK_ID_server_version, "PostgreSQL %s", session->server_version_text);
        return;
    }
    finding_seen(&finding, "PostgreSQL %s", session->server_version_text);
    finding_cause(&finding, CHECK_ID_server_version,
                  "PostgreSQL %d is newer than this pgcoffer, which was made for 13 to %d.", major,
                  NEWEST_KNOWN_SERVER);
    finding_fix(&finding, "Install a newer pgcoffer; until then try a restore of each backup.");
    check_warn(run, &finding);
}

void check_level_login(struct check_run *run)
{
    if (!is_worth_a_try(run) || !log_in(run))
        return;
    tell_role(run);
    tell_senders(run);
    tell_version(run);
}
