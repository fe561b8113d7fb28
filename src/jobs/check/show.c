#include <errno.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "jobs/check/judgement_internal.h"
#include "jobs/check/patience_internal.h"
#include "jobs/check/server_files_internal.h"
#include "jobs/check/sync_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"

/* What SHOW tells over the replication connection, which needs no line for a database. */
#define FIRST_WITH_CRL_FOLDER 140000
#define LONG_LIFE_DAYS        825 /* longer than that, browsers and most policies want a way to revoke */

static void tell_wal_level(struct check_run *run)
{
    struct finding finding = {0};
    char level[32], slots[32];
    uint64_t most = 1;

    if (!server_show(run, "wal_level", level, sizeof level) ||
        !server_show(run, "max_replication_slots", slots, sizeof slots)) {
        check_skip(run, CHECK_ID_replication_wal_level, "the server does not show wal_level");
        return;
    }
    bool has_slot = !text_is_empty(run->server->settings.wal_slot);
    if (strcmp(level, "minimal") == 0) {
        finding_cause(&finding, CHECK_ID_replication_wal_level,
                      "With wal_level = minimal the WAL does not hold what a backup needs.");
        finding_fix(&finding, "Set wal_level = replica in postgresql.conf on the server; a restart is needed.");
    } else if (has_slot && text_parse_unsigned(slots, UINT32_MAX, &most) && most == 0) {
        finding_cause(&finding, CHECK_ID_replication_wal_level,
                      "max_replication_slots is 0, so the slot \"%s\" cannot exist.", run->server->settings.wal_slot);
        finding_fix(&finding, "Set max_replication_slots = 10 in postgresql.conf on the server; a restart is needed.");
    } else {
        check_pass(run, CHECK_ID_replication_wal_level, "wal_level = %s, max_replication_slots = %s", level, slots);
        return;
    }
    finding_seen(&finding, "wal_level = %s, max_replication_slots = %s", level, slots);
    check_fail(run, &finding);
}

static void tell_missing_slot(struct check_run *run, const char *name)
{
    const struct settings *settings = &run->server->settings;
    struct finding finding = {0};

    if (settings->create_slot) {
        check_pass(run, CHECK_ID_replication_slot, "slot \"%s\" does not exist yet; it will be created", name);
        return;
    }
    finding_seen(&finding, "no slot \"%s\" on the server, create_slot = no", name);
    finding_cause(&finding, CHECK_ID_replication_slot,
                  "The replication slot \"%s\" does not exist and pgcoffer may not create it (create_slot = no).",
                  name);
    finding_fix(&finding,
                "Type on the server: SELECT pg_create_physical_replication_slot('%s', true); or let pgcoffer do it "
                "(create_slot = yes).",
                name);
    check_fail(run, &finding);
}

/* Whose it is and whether it was invalidated, SQL tells: sql.c. */
static void tell_slot(struct check_run *run)
{
    const char *name = run->server->settings.wal_slot;
    struct finding finding = {0};
    struct pg_slot slot;
    struct error err;

    if (text_is_empty(name)) {
        check_skip(run, CHECK_ID_replication_slot, "no slot is configured");
        return;
    }
    if (!pg_slot_read(run->connection, name, &slot, &err)) {
        if (err.errnum == ECANCELED)
            return;
        finding_seen(&finding, "%s", err.detail);
        finding_cause(&finding, CHECK_ID_replication_slot, "%s.", err.message);
        finding_fix(&finding, "%s", err.hint);
        check_fail(run, &finding);
    } else if (!slot.is_known)
        check_skip(
            run, CHECK_ID_replication_slot,
            "before version 15 the server tells of slots by SQL only, and database \"postgres\" refuses the role");
    else if (!slot.exists)
        tell_missing_slot(run, name);
    else if (!slot.is_physical) {
        finding_seen(&finding, "slot \"%s\" is a logical one", name);
        finding_cause(&finding, CHECK_ID_replication_slot,
                      "The slot \"%s\" is a logical one; the WAL receiver needs a physical slot.", name);
        finding_fix(&finding, "Set wal_slot to a name that no other client uses, for instance pgcoffer_wal.");
        check_fail(run, &finding);
    } else
        check_pass(run, CHECK_ID_replication_slot, "slot \"%s\" exists%s", name,
                   slot.has_position ? "" : "; it holds no WAL yet");
}

static bool has_spoken(const struct check_run *run, enum check_id id)
{
    return check_is_set(run, id) && (run->results[id].state == CHECK_FAIL || run->results[id].state == CHECK_WARN);
}

void check_server_key_place(struct check_run *run)
{
    struct finding finding = {0};
    struct server_place place;
    char key[PATH_MAX], certificate[PATH_MAX], authorities[PATH_MAX];

    server_place_find(run, &place);
    if (!server_show(run, "ssl_key_file", key, sizeof key) ||
        !server_show(run, "ssl_cert_file", certificate, sizeof certificate) ||
        !server_show(run, "ssl_ca_file", authorities, sizeof authorities)) {
        check_skip(run, CHECK_ID_server_tls_files, "the server does not show ssl_key_file");
        return;
    }
    finding_seen(&finding, "ssl_key_file = '%s', ssl_cert_file = '%s', ssl_ca_file = '%s'", key, certificate,
                 authorities);
    if (authorities[0] != '\0' && strcmp(authorities, certificate) == 0 && !has_spoken(run, CHECK_ID_chain_ca)) {
        finding_cause(
            &finding, CHECK_ID_server_tls_files,
            "ssl_ca_file and ssl_cert_file are one file: the server's certificate is the CA of its clients, so "
            "every copy of server.key signs logins for every role.");
        finding_fix(&finding,
                    "Make a CA of its own for the clients (pgcoffer tls init DIRECTORY shows how), set ssl_ca_file to "
                    "its certificate and keep its key off the server.");
        check_warn(run, &finding);
    } else if (server_place_is_in_data(&place, key)) {
        finding_cause(&finding, CHECK_ID_server_tls_files,
                      "The server's private key (ssl_key_file = '%s') lies in its data directory, so every copy of the "
                      "cluster, each backup and each standby, has the key and can pass for this server.",
                      key);
        finding_fix(&finding,
                    "Move key and certificate to a folder of their own, for instance /etc/postgresql/tls, set "
                    "ssl_key_file and ssl_cert_file in postgresql.conf to the new paths, SELECT pg_reload_conf(); then "
                    "make a new key, for the old one is in every backup taken so far.");
        check_warn(run, &finding);
    } else
        check_pass(run, CHECK_ID_server_tls_files, "%s", finding.seen);
}

static bool has_published_list(X509 *certificate)
{
    return X509_get_ext_by_NID(certificate, NID_crl_distribution_points, -1) >= 0;
}

static long life_in_days(X509 *certificate)
{
    int days = 0, seconds = 0;

    ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(certificate), X509_get0_notAfter(certificate));
    return days;
}

/* PostgreSQL knows no OCSP: without a list a stolen certificate is good until it ends. */
static void tell_missing_list(struct check_run *run, X509 *own)
{
    struct finding finding = {0};
    struct certificate_text text;
    char reason[160];

    certificate_describe(own, &text);
    if (has_published_list(own))
        snprintf(reason, sizeof reason, "its CA publishes a list (it names CRL distribution points)");
    else if (!text_is_empty(run->server->settings.tls_crl_file))
        snprintf(reason, sizeof reason, "we look at one (tls_crl_file)");
    else if (life_in_days(own) > LONG_LIFE_DAYS)
        snprintf(reason, sizeof reason, "it is made for %ld days", life_in_days(own));
    else {
        check_pass(run, CHECK_ID_server_revocation,
                   "the server has no revocation list; a stolen client certificate stays good until %s",
                   text.not_after_text);
        return;
    }
    finding_seen(&finding, "ssl_crl_file and ssl_crl_dir are empty; the client certificate ends %s",
                 text.not_after_text);
    finding_cause(&finding, CHECK_ID_server_revocation,
                  "The client certificate cannot be revoked for the %ld days it has left, although %s: the server's "
                  "ssl_crl_file is empty, so a stolen key replicates until %s.",
                  text.days_left < 0 ? 0L : text.days_left, reason, text.not_after_text);
    finding_fix(&finding,
                "Set ssl_crl_file in postgresql.conf on the server to a current revocation list of every CA in "
                "ssl_ca_file, then SELECT pg_reload_conf(); or use certificates that end within months and are renewed "
                "by themselves.");
    check_warn(run, &finding);
}

static void tell_revocation(struct check_run *run)
{
    char file[PATH_MAX], directory[PATH_MAX];
    X509 *own = sk_X509_num(run->own) > 0 ? sk_X509_value(run->own, 0) : NULL;

    if (own == NULL) {
        check_skip(run, CHECK_ID_server_revocation, "no client certificate is configured");
        return;
    }
    if (!server_show(run, "ssl_crl_file", file, sizeof file)) {
        check_skip(run, CHECK_ID_server_revocation, "the server does not show ssl_crl_file");
        return;
    }
    directory[0] = '\0';
    if (pg_session(run->connection)->server_version >= FIRST_WITH_CRL_FOLDER)
        server_show(run, "ssl_crl_dir", directory, sizeof directory);
    if (file[0] != '\0' || directory[0] != '\0')
        check_pass(run, CHECK_ID_server_revocation, "%s = '%s'", file[0] != '\0' ? "ssl_crl_file" : "ssl_crl_dir",
                   file[0] != '\0' ? file : directory);
    else
        tell_missing_list(run, own);
}

void check_level_show(struct check_run *run)
{
    if (run->connection == NULL)
        return;
    check_patience_renew(run->watch, run->patience);
    tell_wal_level(run);
    tell_slot(run);
    check_sync_settings(run);
    check_server_key_place(run);
    tell_revocation(run);
    check_server_files(run);
}
