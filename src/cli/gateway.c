#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"

/* ---- [client] ---- */

struct section {
    struct server_config *gateway;
    bool is_right;
    struct error *err;
};

static bool take_pair(void *context, const struct ini_place *place, const char *name, const char *key,
                      const char *value, struct error *err)
{
    struct section *section = context;

    (void)err;
    if (!section->is_right || name == NULL || strcmp(name, CONFIG_CLIENT_SECTION) != 0 || !config_is_of_client(key))
        return true;
    if (!config_set(&section->gateway->settings, key, value, section->err)) {
        error_wrap(section->err, "%s:%u", place->file, place->line);
        section->is_right = false;
    }
    return true;
}

/* False only for a value in [client] that is none. A file that cannot be read is told by who needs it. */
static bool read_section(const struct invocation *invocation, struct server_config *gateway, struct error *err)
{
    const char *configuration = invocation_text(invocation, OPTION_ID_config);
    struct section section = {.gateway = gateway, .is_right = true, .err = err};
    struct error ignored;

    bool is_readable =
        configuration_look(configuration != NULL ? configuration : CONFIG_DEFAULT_FILE, take_pair, &section, &ignored);
    (void)is_readable;
    return section.is_right;
}

/* ---- the command line ---- */

static const struct {
    enum option_id option;
    const char *setting;
} file_options[] = {
    {OPTION_ID_tls_cert_file, "tls_cert_file"},
    {OPTION_ID_tls_key_file, "tls_key_file"},
    {OPTION_ID_tls_ca_file, "tls_ca_file"},
    {OPTION_ID_tls_crl_file, "tls_crl_file"},
};
#define FILE_OPTION_COUNT (sizeof file_options / sizeof file_options[0])

/* On a command line paths begin where one stands. */
static char *NEVER_NULL whole_path(const char *setting, const char *text)
{
    if (text[0] == '/' || text[0] == '\0' || (strcmp(setting, "tls_ca_file") == 0 && strcmp(text, "system") == 0))
        return memory_copy_text(text);
    char *folder SCOPED(scoped_free) = getcwd(NULL, 0);
    return memory_text("%s/%s", folder != NULL ? folder : "", text);
}

static bool take_files(const struct invocation *invocation, struct settings *settings, struct error *err)
{
    for (size_t i = 0; i < FILE_OPTION_COUNT; i++) {
        const char *text = invocation_text(invocation, file_options[i].option);
        if (text == NULL)
            continue;
        char *path SCOPED(scoped_free) = whole_path(file_options[i].setting, text);
        if (!config_set(settings, file_options[i].setting, path, err)) {
            err->kind = ERROR_USAGE;
            return error_wrap(err, "--%s", option_rows[file_options[i].option].name);
        }
    }
    return true;
}

/* The words for a gateway without a gateway: somebody believes to be connected safely. With check they describe a
 * server. */
static bool check_nothing_meant(const struct invocation *invocation, struct error *err)
{
    if (invocation->command == COMMAND_ID_check)
        return true;
    for (size_t i = 0; i < FILE_OPTION_COUNT; i++) {
        if (!invocation_has(invocation, file_options[i].option))
            continue;
        error_set(err, ERROR_USAGE, "--%s is for a gateway, and none is named",
                  option_rows[file_options[i].option].name);
        return error_hint(err, "Add --connect HOST:PORT, or connect in the section [" CONFIG_CLIENT_SECTION "].");
    }
    return true;
}

static bool check_alone(const struct invocation *invocation, struct error *err)
{
    bool has_socket = invocation_has(invocation, OPTION_ID_socket);

    if (!has_socket && !invocation_has(invocation, OPTION_ID_direct))
        return true;
    error_set(err, ERROR_USAGE, "--connect and --%s exclude each other", has_socket ? "socket" : "direct");
    return error_hint(err, "Leave one of the two out.");
}

/* ---- both ---- */

bool gateway_find(const struct invocation *invocation, struct server_config **ret_gateway, struct error *err)
{
    const char *connect = invocation_text(invocation, OPTION_ID_connect);
    bool is_local = invocation_has(invocation, OPTION_ID_socket) || invocation_has(invocation, OPTION_ID_direct);
    struct server_config *gateway SCOPED(scoped_free) = memory_new(sizeof *gateway);

    *ret_gateway = NULL;
    if (connect != NULL && !check_alone(invocation, err))
        return false;
    if (is_local)
        return check_nothing_meant(invocation, err);
    config_default_settings(&gateway->settings);
    gateway->is_gateway = true;
    if (!read_section(invocation, gateway, err))
        return false;
    bool is_of_section = connect == NULL;
    if (is_of_section && gateway->settings.connect[0] == '\0')
        return check_nothing_meant(invocation, err);
    /* Where the operator changes what is wrong. */
    snprintf(gateway->name, sizeof gateway->name, "%s", is_of_section ? CONFIG_CLIENT_SECTION : "");
    if (!config_set_connect(&gateway->settings, is_of_section ? gateway->settings.connect : connect, err)) {
        err->kind = is_of_section ? ERROR_CONFIG : ERROR_USAGE;
        return error_wrap(err, "%s", is_of_section ? "connect in section [" CONFIG_CLIENT_SECTION "]" : "--connect");
    }
    if (!take_files(invocation, &gateway->settings, err))
        return false;
    if (!config_check_client(gateway, err)) {
        err->kind = is_of_section ? ERROR_CONFIG : ERROR_USAGE;
        return false;
    }
    *ret_gateway = TAKE(gateway);
    return true;
}

char *gateway_to_text(const struct server_config *gateway)
{
    const char *host = gateway->settings.host;
    bool needs_brackets = strchr(host, ':') != NULL;

    return memory_text("%s%s%s:%ld", needs_brackets ? "[" : "", host, needs_brackets ? "]" : "",
                       gateway->settings.port);
}
