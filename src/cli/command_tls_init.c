#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "cli/tls_kit_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/probe.h"

/* tls init: a development PKI, and the lines that use it. */

#define DEFAULT_USER   "repl"
#define DEFAULT_DAYS   365
#define MOST_HOST_NAME 253
#define MOST_ROLE_NAME 63
#define MOST_NAMES     64

/* ---- options ---- */

struct names {
    char *list[MOST_NAMES + 1];
    size_t count;
};

static void names_done(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i]);
}

static bool is_host_name(const char *text)
{
    size_t size = strlen(text);

    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) && strchr("-._", text[i]) == NULL)
            return false;
    return size > 0 && size <= MOST_HOST_NAME && isalnum((unsigned char)text[0]);
}

static bool add_name(struct names *names, const char *option, const char *text, struct error *err)
{
    if (!tls_host_is_address(text) && !is_host_name(text)) {
        error_set(err, ERROR_USAGE, "--%s: \"%s\" is neither a host name nor an address", option, text);
        return error_hint(err, "Write names and addresses separated by commas: --%s db1.example.com,192.0.2.10",
                          option);
    }
    for (size_t i = 0; i < names->count; i++)
        if (strcasecmp(names->list[i], text) == 0)
            return true;
    if (names->count == MOST_NAMES)
        return error_set(err, ERROR_USAGE, "--%s: there are more than %d names", option, MOST_NAMES);
    names->list[names->count++] = memory_copy_text(text);
    return true;
}

static bool add_listed(struct names *names, const char *option, const char *text, struct error *err)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(text);
    char *rest = copy;

    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        size_t blanks = strspn(name, " ");
        if (!add_name(names, option, name + blanks, err))
            return false;
    }
    return true;
}

/* This machine, by every name that works on it. */
static bool add_default_names(struct names *names, struct error *err)
{
    char own_name[HOST_NAME_MAX + 1] = "";

    if (!add_listed(names, "host", "localhost,127.0.0.1,::1", err))
        return false;
    if (gethostname(own_name, sizeof own_name - 1) != 0 || !is_host_name(own_name))
        return true;
    return add_name(names, "host", own_name, err);
}

/* Of every occurrence of this option. */
static bool parse_names(const struct invocation *invocation, enum option_id option, struct names *names,
                        struct error *err)
{
    for (size_t i = 0; i < invocation->occurrence_count; i++)
        if (invocation->occurrences[i].option == option &&
            !add_listed(names, option_rows[option].name, invocation->occurrences[i].text, err))
            return false;
    return true;
}

/* The role names two files and stands in pg_hba.conf, in SQL and in commands. */
static bool parse_user(const struct invocation *invocation, const char **ret_user, struct error *err)
{
    const char *user = invocation_text(invocation, OPTION_ID_user);

    *ret_user = user != NULL ? user : DEFAULT_USER;
    size_t size = strlen(*ret_user);
    bool is_right = size > 0 && size <= MOST_ROLE_NAME && (isalnum((unsigned char)**ret_user) || **ret_user == '_');
    for (const char *at = *ret_user; *at != '\0'; at++)
        is_right = is_right && (isalnum((unsigned char)*at) || strchr("_-.@", *at) != NULL);
    if (is_right)
        return true;
    error_set(err, ERROR_USAGE, "--user: \"%s\" is no name for a role and its files", user);
    return error_hint(err, "It has up to %d letters, digits and _ - . @, and begins with a letter, a digit or _.",
                      MOST_ROLE_NAME);
}

static bool parse_days(const struct invocation *invocation, long *ret_days, struct error *err)
{
    const char *text = invocation_text(invocation, OPTION_ID_days);
    uint64_t days = DEFAULT_DAYS;

    if (text != NULL && (!text_parse_unsigned(text, TLS_KIT_AUTHORITY_DAYS, &days) || days == 0))
        return error_set(err, ERROR_USAGE,
                         "--days: \"%s\" is not a number between 1 and %d, which is how long the CAs last", text,
                         TLS_KIT_AUTHORITY_DAYS);
    *ret_days = (long)days;
    return true;
}

static bool parse_key_type(const struct invocation *invocation, enum issue_algorithm *ret_algorithm, struct error *err)
{
    const char *word = invocation_text(invocation, OPTION_ID_key_type);

    *ret_algorithm = ISSUE_EC_P256;
    if (word == NULL || issue_algorithm_find(word, ret_algorithm))
        return true;
    return error_set(err, ERROR_USAGE, "--key-type: \"%s\" is not one of ec, rsa, ed25519", word);
}

struct wished_names {
    struct names of_server, of_gateway, of_metrics;
};

static void wished_names_done(struct wished_names *names)
{
    names_done(&names->of_server);
    names_done(&names->of_gateway);
    names_done(&names->of_metrics);
}

/* Those of the endpoint are the server's unless it has its own. */
static const char *const *choose_metrics_names(const struct invocation *invocation, const struct wished_names *names)
{
    if (names->of_metrics.count > 0)
        return (const char *const *)names->of_metrics.list;
    return invocation_has(invocation, OPTION_ID_metrics) ? (const char *const *)names->of_server.list : NULL;
}

static bool parse_wish(const struct invocation *invocation, struct wished_names *names, struct tls_kit_wish *ret_wish,
                       struct error *err)
{
    if (!parse_names(invocation, OPTION_ID_host, &names->of_server, err) ||
        (names->of_server.count == 0 && !add_default_names(&names->of_server, err)) ||
        !parse_names(invocation, OPTION_ID_gateway, &names->of_gateway, err) ||
        !parse_names(invocation, OPTION_ID_metrics_host, &names->of_metrics, err) ||
        !parse_user(invocation, &ret_wish->user, err) || !parse_days(invocation, &ret_wish->days, err) ||
        !parse_key_type(invocation, &ret_wish->algorithm, err))
        return false;
    ret_wish->names = (const char *const *)names->of_server.list;
    ret_wish->gateway_names = names->of_gateway.count > 0 ? (const char *const *)names->of_gateway.list : NULL;
    ret_wish->metrics_names = choose_metrics_names(invocation, names);
    return true;
}

/* Where the lines will point to. libpq takes a key file with a colon for the name of an engine. */
static bool check_path(const char *directory, struct error *err)
{
    if (directory[0] == '\0')
        return error_set(err, ERROR_USAGE, "the name of the directory is empty");
    char *absolute SCOPED(scoped_free) = tls_init_absolute_path(directory);
    for (const char *at = absolute; *at != '\0'; at++)
        if (*at == ':' || iscntrl((unsigned char)*at)) {
            error_set(err, ERROR_USAGE, "the path \"%s\" has a %s in it", absolute,
                      *at == ':' ? "colon" : "control character");
            return error_hint(err, "libpq and the configuration files could not name it; choose another directory.");
        }
    return true;
}

bool command_tls_init(struct invocation *invocation, struct error *err)
{
    const char *directory = invocation_argument(invocation, 0);
    struct wished_names names SCOPED(wished_names_done) = {0};
    struct tls_kit *kit SCOPED(scoped_tls_kit) = NULL;
    struct tls_kit_wish wish;

    if (!parse_wish(invocation, &names, &wish, err) || !check_path(directory, err) ||
        !tls_kit_check_directory(directory, err) || !tls_kit_make(&wish, &kit, err) ||
        !tls_kit_write(kit, directory, err))
        return false;
    char *path SCOPED(scoped_free) = tls_init_absolute_path(directory);
    json_t *lines SCOPED(scoped_json) = tls_init_lines(kit, &wish, path);
    client_print(invocation, lines, tls_init_print);
    return true;
}
