#include "pg/conninfo_internal.h"

#include <assert.h>
#include <libpq-fe.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/files.h"

static void scoped_options(PQconninfoOption **options)
{
    PQconninfoFree(*options);
}

static bool is_known(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return true;
    return false;
}

static void give(struct conninfo *info, const PQconninfoOption *known, const char *keyword, const char *value)
{
    assert(info->count < CONNINFO_MOST);
    if (text_is_empty(value) || !is_known(known, keyword))
        return;
    info->keywords[info->count] = keyword;
    info->values[info->count] = value;
    info->count++;
}

/* libpq takes an empty value for "use the default", which is a file below ~/.postgresql. */
static const char *file_or_none(const char *path)
{
    return text_is_empty(path) ? CONNINFO_NO_FILE : path;
}

static void give_tls(struct conninfo *info, const PQconninfoOption *known, const struct settings *settings)
{
    give(info, known, "sslmode", settings->tls_mode);
    give(info, known, "sslcert", file_or_none(settings->tls_cert_file));
    give(info, known, "sslkey", file_or_none(settings->tls_key_file));
    give(info, known, "sslrootcert", file_or_none(tls_files_ca_path(settings)));
    give(info, known, "sslcrl", file_or_none(settings->tls_crl_file));
    give(info, known, "sslcompression", "0");
    give(info, known, "sslsni", "1");
    give(info, known, "ssl_min_protocol_version", "TLSv1.2");
    give(info, known, "sslnegotiation", "postgres");
    /* A Kerberos ticket of the user must not replace TLS. */
    give(info, known, "gssencmode", "disable");
    give(info, known, "gssdelegation", "0");
}

static void give_liveness(struct conninfo *info, const PQconninfoOption *known)
{
    /* A base backup has no messages of its own that would show a dead peer. */
    give(info, known, "keepalives", "1");
    give(info, known, "keepalives_idle", "10");
    give(info, known, "keepalives_interval", "5");
    give(info, known, "keepalives_count", "3");
    give(info, known, "tcp_user_timeout", "30000");
}

bool conninfo_build(const struct server_config *server, const struct conninfo_wish *wish, struct conninfo *ret_info,
                    struct error *err)
{
    const struct settings *settings = &server->settings;
    PQconninfoOption *known SCOPED(scoped_options) = PQconndefaults();

    if (known == NULL)
        return error_set(err, ERROR_FAILED, "could not learn libpq's parameters: no memory");
    *ret_info = (struct conninfo){0};
    snprintf(ret_info->port, sizeof ret_info->port, "%ld", settings->port);
    give(ret_info, known, "host", settings->host);
    give(ret_info, known, "hostaddr", settings->hostaddr);
    give(ret_info, known, "port", ret_info->port);
    give(ret_info, known, "user", settings->user);
    give(ret_info, known, "dbname", wish->database);
    give(ret_info, known, "replication", wish->replication);
    give(ret_info, known, "application_name", wish->application_name);
    give(ret_info, known, "options", wish->options);
    give(ret_info, known, "client_encoding", "SQL_ASCII");
    give(ret_info, known, "target_session_attrs", "any");
    give(ret_info, known, "passfile", CONNINFO_NO_FILE);
    give(ret_info, known, "password", wish->password);
    give(ret_info, known, "channel_binding", wish->channel_binding);
    give_tls(ret_info, known, settings);
    give_liveness(ret_info, known);
    return true;
}

void conninfo_forget_environment(void)
{
    char name[256];

    for (char **variable = environ; variable != NULL && *variable != NULL;) {
        size_t length = strcspn(*variable, "=");
        if (!text_starts_with(*variable, "PG") || length >= sizeof name) {
            variable++;
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)length, *variable);
        /* unsetenv() moves the rest down: look at the same place again. */
        if (unsetenv(name) != 0)
            variable++;
    }
}
