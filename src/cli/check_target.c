#include <string.h>
#include <unistd.h>

#include "cli/check_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* Options that stand for the setting of the same name. */
static const enum option_id connection_options[] = {
    OPTION_ID_host,         OPTION_ID_hostaddr,    OPTION_ID_port,         OPTION_ID_user,     OPTION_ID_tls_cert_file,
    OPTION_ID_tls_key_file, OPTION_ID_tls_ca_file, OPTION_ID_tls_crl_file, OPTION_ID_tls_mode, OPTION_ID_password_file,
};
#define CONNECTION_OPTION_COUNT (sizeof connection_options / sizeof connection_options[0])

bool check_target_is_given(const struct invocation *invocation)
{
    for (size_t i = 0; i < CONNECTION_OPTION_COUNT; i++)
        if (invocation_has(invocation, connection_options[i]))
            return true;
    return false;
}

bool check_target_is_server(const struct invocation *invocation, enum option_id *ret_option)
{
    for (size_t i = 0; i < CONNECTION_OPTION_COUNT; i++) {
        enum option_id option = connection_options[i];
        bool is_of_both = option == OPTION_ID_tls_cert_file || option == OPTION_ID_tls_key_file ||
                          option == OPTION_ID_tls_ca_file || option == OPTION_ID_tls_crl_file;
        if (is_of_both || !invocation_has(invocation, option))
            continue;
        *ret_option = option;
        return true;
    }
    return false;
}

/* "tls-cert-file" -> "tls_cert_file" */
static char *NEVER_NULL setting_of(const char *option)
{
    char *name = memory_copy_text(option);

    for (char *at = name; *at != '\0'; at++)
        if (*at == '-')
            *at = '_';
    return name;
}

/* A configuration holds whole paths only; on a command line they begin where one stands. */
static char *NEVER_NULL value_of(const char *setting, const char *text)
{
    bool is_path = text_ends_with(setting, "_file") && text[0] != '/' && text[0] != '\0';

    if (!is_path || (strcmp(setting, "tls_ca_file") == 0 && strcmp(text, "system") == 0))
        return memory_copy_text(text);
    char *folder SCOPED(scoped_free) = getcwd(NULL, 0);
    return memory_text("%s/%s", folder != NULL ? folder : "", text);
}

static bool set(struct settings *settings, const char *option, const char *text, struct error *err)
{
    char *name SCOPED(scoped_free) = setting_of(option);
    char *value SCOPED(scoped_free) = value_of(name, text);

    if (config_set(settings, name, value, err))
        return true;
    err->kind = ERROR_USAGE;
    return error_wrap(err, "--%s", option);
}

static bool check_whole(const struct settings *settings, struct error *err)
{
    bool is_socket = settings->host[0] == '/' || settings->host[0] == '@';

    if (settings->host[0] == '\0' && settings->hostaddr[0] == '\0') {
        error_set(err, ERROR_USAGE, "no host was given");
        return error_hint(err, "Name it as it stands in the server's certificate, as in: --host db1.example.com");
    }
    if (!config_check_hosts(settings, err)) {
        err->kind = ERROR_USAGE;
        return false;
    }
    if (settings->user[0] == '\0') {
        error_set(err, ERROR_USAGE, "no user was given");
        return error_hint(err, "Name the role that replicates, as in: --user repl");
    }
    if (is_socket && config_tls_mode(settings) != TLS_DISABLE) {
        error_set(err, ERROR_USAGE, "--host %s is a Unix socket, which has no TLS", settings->host);
        return error_hint(err, "Give the host name that stands in the server's certificate.");
    }
    return true; /* a certificate without its key is a fault to tell, not a wrong usage */
}

bool check_target_read(const struct invocation *invocation, struct server_config *server, struct error *err)
{
    for (size_t i = 0; i < CONNECTION_OPTION_COUNT; i++) {
        const char *text = invocation_text(invocation, connection_options[i]);
        if (text != NULL && !set(&server->settings, option_rows[connection_options[i]].name, text, err))
            return false;
    }
    /* Here a weak mode is not used for anything but told about. */
    enum tls_mode mode = config_tls_mode(&server->settings);
    if (mode == TLS_REQUIRE || mode == TLS_DISABLE)
        server->settings.allow_insecure = true;
    return check_whole(&server->settings, err);
}
