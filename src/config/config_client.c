#include <stdlib.h>
#include <string.h>

#include "config/config_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/*
 * [client]: a section that says where commands go, and no server. It was a server's name like any other once, and still
 * is without `connect`.
 */

static const enum setting_id ids_of_client[] = {
    SETTING_connect,     SETTING_tls_cert_file, SETTING_tls_key_file,
    SETTING_tls_ca_file, SETTING_tls_crl_file,  SETTING_connect_timeout,
    SETTING_pg_bin_dir,
};

static bool is_of_client(size_t id)
{
    for (size_t i = 0; i < sizeof ids_of_client / sizeof ids_of_client[0]; i++)
        if (ids_of_client[i] == id)
            return true;
    return false;
}

bool config_is_of_client(const char *name)
{
    const struct setting *setting = settings_find(name);

    return setting != NULL && is_of_client((size_t)(setting - settings_table));
}

static bool fail_connect(const char *connect, struct error *err)
{
    error_set(err, ERROR_CONFIG, "\"%s\" is no HOST:PORT", connect);
    return error_hint(err, "Write the name that stands in the gateway's certificate and the port of management, as in "
                           "backup.example.com:7432; an IPv6 address stands in brackets: [2001:db8::7]:7432.");
}

bool config_set_connect(struct settings *settings, const char *connect, struct error *err)
{
    bool has_brackets = connect[0] == '[';
    const char *colon = strrchr(connect, ':');
    uint64_t port;

    if (colon == NULL || !text_parse_unsigned(colon + 1, UINT16_MAX, &port) || port == 0)
        return fail_connect(connect, err);
    size_t size = (size_t)(colon - connect);
    if (has_brackets && (size < 3 || connect[size - 1] != ']'))
        return fail_connect(connect, err);
    const char *host = has_brackets ? connect + 1 : connect;
    size -= has_brackets ? 2 : 0;
    bool has_colon = memchr(host, ':', size) != NULL;
    if (size == 0 || size >= sizeof settings->host || has_colon != has_brackets || host[0] == '/' ||
        strcspn(host, " \t,[]@") < size)
        return fail_connect(connect, err);
    memcpy(settings->host, host, size);
    settings->host[size] = '\0';
    settings->port = (long)port;
    return true;
}

bool config_check_client(const struct server_config *client, struct error *err)
{
    const struct settings *settings = &client->settings;
    const struct {
        const char *value, *setting, *option, *what;
    } needed[] = {
        {settings->tls_cert_file, "tls_cert_file", "--tls-cert-file", "client certificate"},
        {settings->tls_key_file, "tls_key_file", "--tls-key-file", "key of the client certificate"},
        {settings->tls_ca_file, "tls_ca_file", "--tls-ca-file", "CA of the gateway's certificate"},
    };

    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (needed[i].value[0] != '\0')
            continue;
        error_set(err, ERROR_CONFIG, "there is no %s to connect to a gateway with",
                  client->name[0] != '\0' ? needed[i].setting : needed[i].option);
        return error_hint(err,
                          "Name the file with the %s: by %s FILE, or by %s in the section [" CONFIG_CLIENT_SECTION "].",
                          needed[i].what, needed[i].option, needed[i].setting);
    }
    return true;
}

static bool check(struct server_config *client, const struct section_origin *origin, struct error *err)
{
    for (size_t id = 0; id < SETTING_COUNT; id++) {
        if (origin->values[id] == NULL || is_of_client(id))
            continue;
        error_set(err, ERROR_CONFIG, "%s does not belong into [" CONFIG_CLIENT_SECTION "], which has connect",
                  settings_table[id].name);
        error_hint(err, "Remove the line; if this is a PostgreSQL server, give its section another name.");
        return error_wrap(err, "%s", origin->values[id]);
    }
    if (!config_set_connect(&client->settings, client->settings.connect, err))
        return error_wrap(err, "%s", origin->values[SETTING_connect]);
    return config_check_client(client, err) || error_wrap(err, "%s", origin->header);
}

bool config_client_take(struct config *config, struct error *err)
{
    struct section_origin **origins = config->origins->servers;

    for (size_t i = 0; i < config->server_count; i++) {
        if (strcmp(config->servers[i].name, CONFIG_CLIENT_SECTION) != 0 ||
            config->servers[i].settings.connect[0] == '\0')
            continue;
        config->client = memory_new(sizeof *config->client);
        *config->client = config->servers[i];
        config->client->is_gateway = true;
        config->origins->client = origins[i];
        size_t behind = --config->server_count - i;
        memmove(&config->servers[i], &config->servers[i + 1], behind * sizeof config->servers[0]);
        memmove(&origins[i], &origins[i + 1], behind * sizeof(struct section_origin *));
        return check(config->client, config->origins->client, err);
    }
    return true;
}
