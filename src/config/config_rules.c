#include <string.h>

#include "config/config_internal.h"
#include "pgcoffer/base/text.h"

struct rules {
    const struct server_config *server;
    const struct settings *settings;
    const struct section_origin *origin;
};

/* The line that is wrong, or the section that lacks one. */
static bool fail_at(const struct rules *rules, enum setting_id id, struct error *err)
{
    const char *place = rules->origin->values[id];

    if (place == NULL)
        place = rules->origin->header;
    return place != NULL ? error_wrap(err, "%s", place) : false;
}

static bool check_address(const struct rules *rules, struct error *err)
{
    const struct settings *settings = rules->settings;

    if (settings->host[0] == '\0' && settings->hostaddr[0] == '\0') {
        error_set(err, ERROR_CONFIG, "server [%s] has no host", rules->server->name);
        error_hint(err, "Add the name that stands in PostgreSQL's certificate: host = db1.example.com");
        return fail_at(rules, SETTING_host, err);
    }
    if (settings->host[0] == '\0' && config_tls_mode(settings) == TLS_VERIFY_FULL) {
        error_set(err, ERROR_CONFIG, "server [%s] has hostaddr but no host, and verify-full compares the host name",
                  rules->server->name);
        error_hint(err, "Add the name that stands in PostgreSQL's certificate: host = db1.example.com");
        return fail_at(rules, SETTING_hostaddr, err);
    }
    enum setting_id wrong = SETTING_host;
    if (!config_hosts_check(settings, &wrong, err))
        return fail_at(rules, wrong, err);
    for (size_t i = 0; i < config_host_count(rules->server); i++) {
        struct server_config view;
        config_take_host(rules->server, i, &view);
        bool is_socket = view.settings.host[0] == '/' || view.settings.host[0] == '@';
        if (!is_socket || config_tls_mode(settings) == TLS_DISABLE)
            continue;
        error_set(err, ERROR_CONFIG, "host = %s is a Unix socket, which has no TLS", view.settings.host);
        error_hint(err, "Give the host name that stands in PostgreSQL's certificate.");
        return fail_at(rules, SETTING_host, err);
    }
    if (settings->user[0] == '\0') {
        error_set(err, ERROR_CONFIG, "server [%s] has no user", rules->server->name);
        error_hint(err, "Add the role with the REPLICATION attribute: user = repl");
        return fail_at(rules, SETTING_user, err);
    }
    return true;
}

static bool check_authority(const struct rules *rules, struct error *err)
{
    const struct settings *settings = rules->settings;
    enum tls_mode mode = config_tls_mode(settings);
    bool is_verified = mode == TLS_VERIFY_FULL || mode == TLS_VERIFY_CA;

    if (!is_verified && !settings->allow_insecure) {
        error_set(err, ERROR_CONFIG, "tls_mode = %s leaves PostgreSQL unverified", settings->tls_mode);
        error_hint(err, "Write tls_mode = verify-full, or state that you accept it: allow_insecure = yes");
        return fail_at(rules, SETTING_tls_mode, err);
    }
    if (is_verified && settings->tls_ca_file[0] == '\0') {
        error_set(err, ERROR_CONFIG, "server [%s] has no tls_ca_file, which tls_mode = %s needs", rules->server->name,
                  settings->tls_mode);
        error_hint(err, "Name the CA that signed PostgreSQL's certificate, as in: tls_ca_file = "
                        "/etc/pgcoffer/tls/root.crt");
        return fail_at(rules, SETTING_tls_ca_file, err);
    }
    if (strcmp(settings->tls_ca_file, "system") == 0 && mode != TLS_VERIFY_FULL) {
        error_set(err, ERROR_CONFIG, "tls_ca_file = system demands tls_mode = verify-full, not %s", settings->tls_mode);
        error_hint(err, "The distribution's CAs sign for everybody, so only the host name tells who it is: write "
                        "tls_mode = verify-full, or name your own CA.");
        return fail_at(rules, SETTING_tls_ca_file, err);
    }
    return true;
}

static bool check_client_certificate(const struct rules *rules, struct error *err)
{
    const struct settings *settings = rules->settings;
    bool has_certificate = settings->tls_cert_file[0] != '\0';
    bool has_key = settings->tls_key_file[0] != '\0';

    if (has_certificate != has_key) {
        enum setting_id given = has_certificate ? SETTING_tls_cert_file : SETTING_tls_key_file;
        enum setting_id missing = has_certificate ? SETTING_tls_key_file : SETTING_tls_cert_file;
        error_set(err, ERROR_CONFIG, "%s is given without %s", settings_table[given].name,
                  settings_table[missing].name);
        error_hint(err, "Add the other half, as in: %s = %s", settings_table[missing].name,
                   settings_table[missing].sample);
        return fail_at(rules, given, err);
    }
    if (!has_certificate && !settings->allow_insecure && settings->password_file[0] == '\0') {
        error_set(err, ERROR_CONFIG, "server [%s] has no client certificate", rules->server->name);
        error_hint(err, "Add tls_cert_file and tls_key_file; for a server that asks for a password instead, add "
                        "password_file.");
        return fail_at(rules, SETTING_tls_cert_file, err);
    }
    return true;
}

bool config_rules_check(const struct server_config *server, const struct section_origin *origin, struct error *err)
{
    const struct rules rules = {.server = server, .settings = &server->settings, .origin = origin};

    return check_address(&rules, err) && check_authority(&rules, err) && check_client_certificate(&rules, err);
}

/* ---- [pgcoffer] ---- */

static bool check_gateway(const struct rules *rules, struct error *err)
{
    static const enum setting_id needed[] = {SETTING_tls_cert_file, SETTING_tls_key_file, SETTING_tls_ca_file};

    if (rules->settings->management == 0)
        return true;
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        const struct setting *setting = &settings_table[needed[i]];
        const char *value = (const char *)rules->settings + setting->offset;
        if (value[0] != '\0')
            continue;
        error_set(err, ERROR_CONFIG, "management = %ld opens the gateway, and [" CONFIG_DAEMON_SECTION "] has no %s",
                  rules->settings->management, setting->name);
        error_hint(err, "Without TLS on both sides nobody is let in. Add, as in: %s = %s", setting->name,
                   setting->sample);
        return fail_at(rules, SETTING_management, err);
    }
    if (strcmp(rules->settings->tls_ca_file, "system") != 0)
        return true;
    error_set(err, ERROR_CONFIG, "tls_ca_file = system lets in whoever has a certificate of a public CA");
    error_hint(err, "Name a CA of your own that signs for the gateway's clients and for nobody else.");
    return fail_at(rules, SETTING_tls_ca_file, err);
}

static bool check_listening_host(const struct rules *rules, struct error *err)
{
    const struct settings *settings = rules->settings;

    if ((settings->management == 0 && settings->metrics == 0) ||
        (strchr(settings->host, ',') == NULL && settings->host[0] != '/'))
        return true;
    error_set(err, ERROR_CONFIG, "host = %s is not one name or address to listen on", settings->host);
    error_hint(err, "Name one, as in host = backup.example.com; host = 0.0.0.0 or host = :: is every address.");
    return fail_at(rules, SETTING_host, err);
}

/* ---- [pgcoffer]: the port of metrics ---- */

static bool check_metrics_pair(const struct rules *rules, struct error *err)
{
    const struct settings *settings = rules->settings;
    bool has_certificate = settings->metrics_cert_file[0] != '\0', has_key = settings->metrics_key_file[0] != '\0';

    if (has_certificate == has_key && (has_certificate || settings->metrics_ca_file[0] == '\0'))
        return true;
    enum setting_id given = has_certificate ? SETTING_metrics_cert_file
                            : has_key       ? SETTING_metrics_key_file
                                            : SETTING_metrics_ca_file;
    enum setting_id missing = has_certificate ? SETTING_metrics_key_file : SETTING_metrics_cert_file;
    error_set(err, ERROR_CONFIG, "%s is given without %s", settings_table[given].name, settings_table[missing].name);
    error_hint(err, "Add it, as in: %s = %s", settings_table[missing].name, settings_table[missing].sample);
    return fail_at(rules, given, err);
}

static bool check_ports(const struct rules *rules, struct error *err)
{
    const struct settings *settings = rules->settings;

    if (settings->metrics == 0 || settings->metrics != settings->management)
        return true;
    error_set(err, ERROR_CONFIG, "metrics = %ld is the port of the gateway as well (management)", settings->metrics);
    error_hint(err, "Choose another port for one of the two.");
    return fail_at(rules, SETTING_metrics, err);
}

/* What is told there `status` tells to administrators only. */
static bool check_metrics(const struct rules *rules, struct error *err)
{
    const struct settings *settings = rules->settings;

    if (!check_metrics_pair(rules, err))
        return false;
    /* By its spelling: what a name leads to may change. */
    if (settings->metrics == 0 || settings->host[0] == '\0' || text_is_loopback(settings->host))
        return true;
    enum setting_id missing = settings->metrics_cert_file[0] == '\0' ? SETTING_metrics_cert_file
                              : settings->metrics_ca_file[0] == '\0' ? SETTING_metrics_ca_file
                                                                     : SETTING_COUNT;
    if (missing == SETTING_COUNT)
        return true;
    error_set(err, ERROR_CONFIG,
              "metrics = %ld with host = %s is open to other machines, and [" CONFIG_DAEMON_SECTION "] has no %s",
              settings->metrics, settings->host, settings_table[missing].name);
    error_hint(err,
               "Who reads them from elsewhere does so over TLS and with a certificate. Add, as in: %s = %s; or listen "
               "on this machine only: host = localhost",
               settings_table[missing].name, settings_table[missing].sample);
    return fail_at(rules, SETTING_metrics, err);
}

/* An OS user here would be an admin over the network only, and never is one: it would be a misunderstanding. */
static bool check_admins(const struct rules *rules, struct error *err)
{
    char item[CONFIG_TEXT_SIZE];

    for (const char *at = rules->settings->admins;
         rules->settings->admins[0] != '\0' && setting_item_next(&at, item);) {
        if (text_starts_with(item, "cert:") || text_starts_with(item, "san:"))
            continue;
        error_set(err, ERROR_CONFIG, "\"%s\" in admins is no certificate", item);
        error_hint(err, "Write cert:NAME or san:NAME; OS users who may give every command are members of admin_group.");
        return fail_at(rules, SETTING_admins, err);
    }
    return true;
}

bool config_rules_check_retention(const struct settings *settings, const struct section_origin *origin,
                                  struct error *err)
{
    const struct rules rules = {.settings = settings, .origin = origin};

    if (settings->retention_count == 0 || origin->values[SETTING_retention] == NULL ||
        origin->values[SETTING_retention_count] == NULL)
        return true;
    error_set(err, ERROR_CONFIG, "retention and retention_count are given in one section, and only one can decide");
    error_hint(err, "Remove one of the two lines; the other one is at %s.", origin->values[SETTING_retention]);
    return fail_at(&rules, SETTING_retention_count, err);
}

bool config_rules_check_daemon(const struct settings *settings, const struct section_origin *origin, struct error *err)
{
    const struct rules rules = {.settings = settings, .origin = origin};

    return config_rules_check_retention(settings, origin, err) && check_listening_host(&rules, err) &&
           check_gateway(&rules, err) && check_ports(&rules, err) && check_metrics(&rules, err) &&
           check_admins(&rules, err);
}
