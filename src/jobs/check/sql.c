#include "jobs/check/patience_internal.h"
#include "jobs/check/server_files_internal.h"
#include "jobs/check/sql_internal.h"
#include "jobs/check/sync_internal.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <string.h>

#include "pgcoffer/base/text.h"

#define APPLICATION_NAME "pgcoffer check"
#define DATABASE         "postgres"

struct pg_rows *sql_ask(struct check_run *run, const char *statement)
{
    struct pg_rows *rows = NULL;
    struct error ignored;

    return pg_query(run->database, statement, &rows, &ignored) ? rows : NULL;
}

bool sql_is_true(struct check_run *run, const char *statement)
{
    struct pg_rows *rows SCOPED(scoped_pg_rows) = sql_ask(run, statement);
    const char *value = rows == NULL ? NULL : pg_rows_text(rows, 0, 0);

    return value != NULL && strcmp(value, "t") == 0;
}

bool sql_has_spoken(const struct check_run *run, enum check_id id)
{
    return check_is_set(run, id) && (run->results[id].state == CHECK_FAIL || run->results[id].state == CHECK_WARN);
}

static bool open_database(struct check_run *run)
{
    struct error err = {0};
    struct answer_facts facts;
    char reason[512];

    check_patience_renew(run->watch, 0);
    if (pg_connect_sql(run->server, DATABASE, APPLICATION_NAME, check_patience_fd(run->watch), &run->database, &err))
        return true;
    if (err.errnum == ECANCELED)
        return false;
    answer_facts_gather(run, run->answer.probe.address, &facts);
    if (strstr(err.message, "pg_hba.conf") == NULL && strstr(err.detail, "pg_hba.conf") == NULL)
        snprintf(reason, sizeof reason, "%.500s", err.message);
    else
        snprintf(reason, sizeof reason,
                 "the role may not open database \"" DATABASE
                 "\"; a line of pg_hba.conf would allow it: hostssl " DATABASE " %s %s %s",
                 facts.role, facts.client, strstr(facts.line, "scram") != NULL ? strstr(facts.line, "scram") : "cert");
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (check_rows[id].level == CHECK_LEVEL_SQL)
            check_skip(run, id, "%s", reason);
    return false;
}

static bool has_serial(X509 *certificate, const char *decimal)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
    char *text = number == NULL ? NULL : BN_bn2dec(number);
    bool is_same = text != NULL && strcmp(text, decimal) == 0;

    OPENSSL_free(text);
    BN_free(number);
    return is_same;
}

static void tell_recorded(struct check_run *run)
{
    struct finding finding = {0};
    X509 *own = sk_X509_num(run->own) > 0 ? sk_X509_value(run->own, 0) : NULL;
    struct pg_rows *rows SCOPED(scoped_pg_rows) = sql_ask(
        run, "SELECT ssl, version, cipher, client_dn, client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()");

    if (rows == NULL || pg_rows_text(rows, 0, 0) == NULL) {
        check_skip(run, CHECK_ID_identity_recorded, "the server does not show pg_stat_ssl");
        return;
    }
    const char *texts[5];
    for (int i = 0; i < 5; i++)
        texts[i] = pg_rows_text(rows, 0, i) == NULL ? "" : pg_rows_text(rows, 0, i);
    finding_seen(&finding, "pg_stat_ssl: ssl = %s, %s, %s, client_dn = '%s', client_serial = %s", texts[0], texts[1],
                 texts[2], texts[3], texts[4]);
    if (strcmp(texts[0], "t") != 0)
        finding_cause(
            &finding, CHECK_ID_identity_recorded,
            "We speak TLS, and the server recorded this connection as plain text: a proxy ends TLS between us "
            "and sends on in the clear.");
    else if (own != NULL && texts[3][0] == '\0')
        finding_cause(&finding, CHECK_ID_identity_recorded,
                      "We showed our client certificate, and the server recorded none: a proxy ends TLS between us and "
                      "opens a TLS connection of its own.");
    else if (own != NULL && texts[4][0] != '\0' && !has_serial(own, texts[4]))
        finding_cause(&finding, CHECK_ID_identity_recorded,
                      "The server recorded another client certificate than ours: a proxy ends TLS between us and shows "
                      "its own.");
    else {
        check_pass(run, CHECK_ID_identity_recorded, "%s", finding.seen);
        return;
    }
    finding_fix(&finding, "Connect to PostgreSQL itself: correct host and port.");
    check_fail(run, &finding);
}

enum sql_cipher sql_judge_ciphers(const char *list, char ret_name[64])
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    enum sql_cipher judgement = SQL_CIPHERS_FINE;

    ret_name[0] = '\0';
    if (context == NULL || SSL_CTX_set_cipher_list(context, list) != 1) {
        SSL_CTX_free(context);
        return judgement;
    }
    STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(context);
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers) && judgement != SQL_CIPHERS_ANONYMOUS; i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
        bool is_anonymous = SSL_CIPHER_get_auth_nid(cipher) == NID_auth_null;
        bool is_open = SSL_CIPHER_get_cipher_nid(cipher) == NID_undef;
        if (!is_anonymous && (!is_open || judgement != SQL_CIPHERS_FINE))
            continue;
        judgement = is_anonymous ? SQL_CIPHERS_ANONYMOUS : SQL_CIPHERS_UNENCRYPTED;
        snprintf(ret_name, 64, "%s", SSL_CIPHER_get_name(cipher));
    }
    SSL_CTX_free(context);
    return judgement;
}

static const char *value_of(const struct pg_rows *rows, const char *name)
{
    for (int row = 0; row < pg_rows_count(rows); row++) {
        const char *found = pg_rows_text(rows, row, 0); /* NULL is nothing that PostgreSQL would say */
        if (found != NULL && strcmp(found, name) == 0)
            return pg_rows_text(rows, row, 1);
    }
    return NULL;
}

static bool find_weak_setting(const struct check_run *run, const struct pg_rows *rows, struct finding *finding)
{
    const char *least = value_of(rows, "ssl_min_protocol_version");
    const char *ciphers = value_of(rows, "ssl_ciphers");
    const char *command = value_of(rows, "ssl_passphrase_command");
    const char *reload = value_of(rows, "ssl_passphrase_command_supports_reload");
    char name[64] = "";

    if (least != NULL && strcmp(least, "TLSv1.2") != 0 && strcmp(least, "TLSv1.3") != 0 &&
        !sql_has_spoken(run, CHECK_ID_protocol_versions)) {
        finding_cause(finding, CHECK_ID_server_tls_settings,
                      "ssl_min_protocol_version = '%s' lets clients use versions of TLS that are broken.", least);
        finding_fix(finding, "Set ssl_min_protocol_version = 'TLSv1.2' in postgresql.conf on the server, then SELECT "
                             "pg_reload_conf();");
        return true;
    }
    if (ciphers != NULL && !sql_has_spoken(run, CHECK_ID_protocol_ciphers) &&
        sql_judge_ciphers(ciphers, name) != SQL_CIPHERS_FINE) {
        finding_cause(
            finding, CHECK_ID_server_tls_settings,
            "ssl_ciphers = '%s' contains %s, a cipher that %s; only the library's security level keeps it out.",
            ciphers, name,
            sql_judge_ciphers(ciphers, name) == SQL_CIPHERS_ANONYMOUS ? "needs no certificate" : "encrypts nothing");
        finding_fix(finding, "Set ssl_ciphers = 'HIGH:!aNULL:!eNULL' in postgresql.conf on the server, then SELECT "
                             "pg_reload_conf();");
        return true;
    }
    if (!text_is_empty(command) && reload != NULL && strcmp(reload, "off") == 0) {
        finding_cause(finding, CHECK_ID_server_tls_settings,
                      "The server's key has a passphrase (ssl_passphrase_command) that is not asked for at a reload: a "
                      "renewed certificate is not taken until somebody restarts the server.");
        finding_fix(finding,
                    "Set ssl_passphrase_command_supports_reload = on in postgresql.conf on the server, if the command "
                    "asks nobody; or keep the key without a passphrase, mode 0600.");
        return true;
    }
    return false;
}

static void tell_tls_settings(struct check_run *run)
{
    struct finding finding = {0};
    char name[ROLE_NAME_SIZE];
    struct pg_rows *rows SCOPED(scoped_pg_rows) =
        sql_ask(run, "SELECT name, setting FROM pg_settings WHERE name IN ('ssl_min_protocol_version', 'ssl_ciphers', "
                     "'ssl_passphrase_command', 'ssl_passphrase_command_supports_reload')");

    if (rows == NULL || value_of(rows, "ssl_min_protocol_version") == NULL || value_of(rows, "ssl_ciphers") == NULL) {
        check_skip(run, CHECK_ID_server_tls_settings,
                   "the role may not see them; it could after: GRANT pg_read_all_settings TO %s;",
                   role_name_quote(run->server->settings.user, name));
        return;
    }
    finding_seen(&finding, "ssl_min_protocol_version = '%s', ssl_ciphers = '%s'",
                 value_of(rows, "ssl_min_protocol_version"), value_of(rows, "ssl_ciphers"));
    if (find_weak_setting(run, rows, &finding))
        check_warn(run, &finding);
    else if (sql_has_spoken(run, CHECK_ID_protocol_versions) || sql_has_spoken(run, CHECK_ID_protocol_ciphers))
        check_skip(run, CHECK_ID_server_tls_settings, "see %s",
                   sql_has_spoken(run, CHECK_ID_protocol_versions) ? "protocol.versions" : "protocol.ciphers");
    else
        check_pass(run, CHECK_ID_server_tls_settings, "%s", finding.seen);
}

static void tell_neighbours(struct check_run *run)
{
    struct finding finding = {0};
    char name[ROLE_NAME_SIZE];

    if (!sql_is_true(run, "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")) {
        check_skip(run, CHECK_ID_server_neighbours,
                   "the role may not see other connections; it could after: GRANT pg_read_all_stats TO %s;",
                   role_name_quote(run->server->settings.user, name));
        return;
    }
    struct pg_rows *rows SCOPED(scoped_pg_rows) =
        sql_ask(run, "SELECT usename, application_name, host(client_addr) FROM pg_stat_replication JOIN pg_stat_ssl "
                     "USING (pid) WHERE client_addr IS NOT NULL AND NOT ssl ORDER BY 1, 2, 3");
    if (rows == NULL) {
        check_skip(run, CHECK_ID_server_neighbours, "the server does not show pg_stat_replication");
        return;
    }
    if (pg_rows_count(rows) == 0) {
        check_pass(run, CHECK_ID_server_neighbours, "every replication connection over the network is TLS");
        return;
    }
    const char *texts[3];
    for (int i = 0; i < 3; i++)
        texts[i] = pg_rows_text(rows, 0, i) == NULL ? "?" : pg_rows_text(rows, 0, i);
    const char *user = texts[0], *program = texts[1], *address = texts[2];
    finding_seen(&finding, "%d without TLS, the first: role %s, %s, from %s", pg_rows_count(rows), user, program,
                 address);
    finding_cause(
        &finding, CHECK_ID_server_neighbours,
        "Another replication connection (role %s, \"%s\", from %s) carries the WAL, that is all data, in plain "
        "text.",
        user, program, address);
    finding_fix(&finding,
                "Write sslmode=verify-full and sslrootcert into its primary_conninfo (or its connection string), then "
                "hostssl instead of host into its line of pg_hba.conf on the server.");
    check_warn(run, &finding);
}

/* Whether pg_hba.conf has a line for the database is known only by trying, and a refusal is a line in the server's log.
 */
static void leave_out(struct check_run *run)
{
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (check_rows[id].level == CHECK_LEVEL_SQL)
            check_skip(run, id, "left out by --passive: the attempt to ask by SQL may be refused");
}

void check_level_sql(struct check_run *run)
{
    if (run->connection == NULL)
        return;
    if (run->request->options.is_passive) {
        leave_out(run);
        return;
    }
    if (!open_database(run))
        return;
    check_patience_renew(run->watch, run->patience);
    tell_recorded(run);

    check_server_key_place(run);
    check_sql_role(run);
    check_sync_state(run);
    check_sql_rules(run);
    tell_tls_settings(run);
    tell_neighbours(run);
}
