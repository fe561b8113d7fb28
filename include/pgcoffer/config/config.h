#ifndef PGCOFFER_CONFIG_CONFIG_H
#define PGCOFFER_CONFIG_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "pgcoffer/base/error.h"

/*
 * The configuration: one [pgcoffer] section and one section a server, read from
 * a file and from the conf.d/ folder beside it (*.conf, in the order of their names).
 *
 * Reading checks syntax only: spelling, duplicates, limits, what must be given
 * (host or hostaddr, user) and what excludes each other. Whether a key file exists
 * or may be read is the business of the process that opens it, so that a caller
 * who may not read the key can still restore. Errors are of kind CONFIG and
 * carry `file:line:` and what would be right.
 */
#define CONFIG_DEFAULT_FILE "/etc/pgcoffer/pgcoffer.conf"
#define CONFIG_TEXT_SIZE    1024
#define CONFIG_MOST_SERVERS 256
#define CONFIG_MOST_HOSTS   8 /* of one server */
#define CONFIG_NUMBERS_SIZE 128

enum setting_scope { SCOPE_DAEMON, SCOPE_SERVER, SCOPE_BOTH, SCOPE_EACH, SCOPE_CLIENT };
enum setting_when { AT_START, AT_RELOAD };

/* Every row of settings.def as a member, in both structs; members outside a row's scope stay at the default. */
struct settings {
#define TEXT(name, scope, when, default_text, sample, help)          char name[CONFIG_TEXT_SIZE];
#define NUMBER(name, scope, when, default_number, least, most, help) long name;
#define CHOICE(name, scope, when, default_text, choices, help)       char name[32];
#define BOOLEAN(name, scope, when, default_text, help)               bool name;
#define LIST(name, scope, when, default_text, sample, help)          char name[CONFIG_TEXT_SIZE];
/* The list as it was written, and its first number; "" when there is but one. */
#define NUMBERS(name, scope, when, default_number, least, most, help)                                                  \
    long name;                                                                                                         \
    char name##_list[CONFIG_NUMBERS_SIZE];
#define SIZE(name, scope, when, default_text, help) uint64_t name;
#include "pgcoffer/config/settings.def"
#undef TEXT
#undef NUMBER
#undef CHOICE
#undef BOOLEAN
#undef LIST
#undef NUMBERS
#undef SIZE
};

/* tls_mode as a closed enum; order is from strongest to weakest. */
enum tls_mode { TLS_VERIFY_FULL, TLS_VERIFY_CA, TLS_REQUIRE, TLS_DISABLE };

struct server_config {
    char name[64];
    struct settings settings; /* the server's own, over those of [pgcoffer], over the defaults */
    bool is_one_of_several;   /* the view of one of its hosts; see config_take_host() */
    bool is_gateway;          /* no PostgreSQL, but the gateway of a pgcofferd: TLS from the first byte on */
    bool is_metrics;          /* our own port of metrics: its files are named metrics_cert_file and so on */
};

struct config {
    char *path;               /* absolute path of the main file; "" when made from text */
    struct settings settings; /* [pgcoffer] */
    struct server_config *servers;
    size_t server_count;
    /* [client]: where plain commands go instead of to the daemon of this machine; NULL without `connect` in it, and
     * then [client] is a server as any other. */
    struct server_config *client;
    bool is_admin_group_written; /* a written admin_group must exist, the default one need not */
    struct config_origins *origins;
};

/* NULL path means CONFIG_DEFAULT_FILE. */
bool config_load(const char *path, struct config **ret_config, struct error *err) NODISCARD;
/* From text, as a worker gets it from the supervisor; `name` stands in messages instead of a file. */
bool config_parse(const char *text, size_t size, const char *name, struct config **ret_config,
                  struct error *err) NODISCARD;
void config_free(struct config *config); /* NULL is fine */
static inline void scoped_config(struct config **config)
{
    config_free(*config);
}

/* The whole effective configuration as INI text that config_parse() reads back; malloc'd. */
char *config_to_text(const struct config *config);
/* The server of that name; an error of kind USAGE that suggests the closest name. */
bool config_find_server(const struct config *config, const char *name, const struct server_config **ret_server,
                        struct error *err) NODISCARD;
enum tls_mode config_tls_mode(const struct settings *settings);

/*
 * A server may have several hosts (host = a, b, c), of which one is the primary; `port` and `hostaddr` go along.
 * Nothing but pg_connect() and what looks at all of them knows of that: everything else is given the view of one host,
 * in which host, hostaddr and port are those of that one.
 */
size_t config_host_count(const struct server_config *server); /* 1 to CONFIG_MOST_HOSTS */
void config_take_host(const struct server_config *server, size_t index, struct server_config *ret_server);
/* Of a view: host, or hostaddr where there is none. */
const char *config_host_name(const struct server_config *server);
/* Do the three lists go together? The rule of a file, for settings that come from elsewhere. CONFIG. */
bool config_check_hosts(const struct settings *settings, struct error *err) NODISCARD;

/* Settings without a file: the defaults, and one value by its row's name, judged as it would be in a file. CONFIG. */
void config_default_settings(struct settings *ret_settings);
bool config_set(struct settings *settings, const char *name, const char *value, struct error *err) NODISCARD;
/*
 * "HOST:PORT" or "[ADDRESS]:PORT" into host and port of a gateway. CONFIG.
 */
bool config_set_connect(struct settings *settings, const char *connect, struct error *err) NODISCARD;
/* Certificate, key and CA are there: without one of them no gateway is asked. CONFIG. */
bool config_check_client(const struct server_config *client, struct error *err) NODISCARD;
#define CONFIG_CLIENT_SECTION "client"
/* May the setting stand in a [client] with `connect`? */
bool config_is_of_client(const char *name);
/*
 * A file may be handed over by systemd (LoadCredential=): tls_key_file = credential:repl.key. A process that has
 * credentials reads the configuration with their paths in place of these words, and its workers get them so. In any
 * other process, as in a command that somebody types, the words stay.
 */
/* NAME of "credential:NAME"; NULL: it is none. */
const char *config_credential_name(const char *value);
/* The same, and also of the path of a credential of this process. */
const char *config_find_credential(const char *value);
/* Names of the settings of a server that differ, separated by ", "; "" when none does. */
void config_differences(const struct settings *left, const struct settings *right, char ret_names[CONFIG_TEXT_SIZE]);
/* Does the OS user or one of the groups stand in the comma separated list ("name", "@group")? */
bool config_list_has(const char *list, const char *user, const char *const *groups, size_t group_count);
/* Names of settings that need a restart and differ, separated by ", "; "" when none does. */
void config_restart_needed(const struct config *old_config, const struct config *new_config,
                           char ret_names[CONFIG_TEXT_SIZE]);

/* `config sample`: conf/pgcoffer.conf is this function's output. */
void config_print_sample(FILE *out);
/* `config show`: every effective value with the place it comes from ("default", "file:line"). */
struct config_value {
    const char *section;
    const char *name;
    const char *value;
    const char *origin;
};
/* Calls `visit` for every setting of every section; the texts live until it returns. */
void config_visit(const struct config *config, void (*visit)(const struct config_value *value, void *context),
                  void *context);

#endif
