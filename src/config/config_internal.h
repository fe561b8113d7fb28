#ifndef PGCOFFER_CONFIG_CONFIG_INTERNAL_H
#define PGCOFFER_CONFIG_CONFIG_INTERNAL_H

#include "config/settings_internal.h"
#include "pgcoffer/config/config.h"
#include "pgcoffer/config/ini.h"

#define CONFIG_DAEMON_SECTION "pgcoffer"

/* Where things were written, as "file:line"; NULL is "nowhere": the section is missing, the value is the default. */
struct section_origin {
    char *header;
    char *values[SETTING_COUNT];
};

struct config_origins {
    struct section_origin *daemon;
    struct section_origin *client;   /* NULL: there is none */
    struct section_origin **servers; /* in the order of config->servers */
};

/* What excludes each other and what must be given in one server's section. */
bool config_rules_check(const struct server_config *server, const struct section_origin *origin,
                        struct error *err) NODISCARD;

/* Of one section, before it inherits: not two ways to say which backups stay. */
bool config_rules_check_retention(const struct settings *settings, const struct section_origin *origin,
                                  struct error *err) NODISCARD;
/* The same for [pgcoffer]: what a gateway needs, and who may stand in `admins`. */
bool config_rules_check_daemon(const struct settings *settings, const struct section_origin *origin,
                               struct error *err) NODISCARD;

/* Takes a [client] with `connect` out of the servers, and judges it. */
bool config_client_take(struct config *config, struct error *err) NODISCARD;

/* Do host, hostaddr and port go together? *ret_id: which of them does not. */
bool config_hosts_check(const struct settings *settings, enum setting_id *ret_id, struct error *err) NODISCARD;

/* Reads `path` and the folder conf.d beside it with `parse_text`, one file after the other. */
bool config_files_read(const char *path, struct config *config,
                       bool (*parse_text)(struct config *config, const char *text, size_t size, const char *name,
                                          struct error *err),
                       struct error *err) NODISCARD;

/*
 * "credential:NAME" in place of a file. May the setting have one, and is NAME one that systemd takes? Then, where
 * systemd gave credentials to this process, NAME becomes the path; elsewhere it stays as it is.
 */
bool config_credentials_may_be(const struct setting *setting);
bool config_credentials_check(const struct setting *setting, const char *value, struct error *err) NODISCARD;
void config_credentials_resolve(struct config *config);

#define CONFIG_MOST_FILE_SIZE ((size_t)1024 * 1024)

#endif
