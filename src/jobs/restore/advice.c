#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define VALUE_SIZE 1024

struct conf_texts {
    const struct buffer *main_conf, *auto_conf;
};

/* As PostgreSQL: postgresql.auto.conf is read last. */
static const char *find_value(const struct conf_texts *texts, const char *name, char value[VALUE_SIZE])
{
    value[0] = '\0';
    recovery_conf_find((const char *)texts->main_conf->bytes, texts->main_conf->used, name, value, VALUE_SIZE);
    recovery_conf_find((const char *)texts->auto_conf->bytes, texts->auto_conf->used, name, value, VALUE_SIZE);
    return value;
}

static void advise_synchronous(struct restore *restore, const struct conf_texts *texts)
{
    char value[VALUE_SIZE];

    if (request_has(&restore->options->request, OPTION_ID_standby) ||
        find_value(texts, "synchronous_standby_names", value)[0] == '\0')
        return;
    restore_warn(
        restore,
        "synchronous_standby_names is \"%s\" in the restored configuration: every commit will wait until such a "
        "standby is connected; start with -c synchronous_standby_names= if there is none",
        value);
}

static bool is_on(const char *value)
{
    return strcasecmp(value, "on") == 0 || strcasecmp(value, "true") == 0 || strcasecmp(value, "yes") == 0 ||
           strcmp(value, "1") == 0;
}

static void advise_tls(struct restore *restore, const struct conf_texts *texts)
{
    static const char *const names[] = {"ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file"};
    char value[VALUE_SIZE];

    if (!is_on(find_value(texts, "ssl", value)))
        return;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        find_value(texts, names[i], value);
        if (value[0] == '/' && access(value, R_OK) < 0)
            restore_warn(restore, "%s is \"%s\", which cannot be read on this host: the server will not start with ssl",
                         names[i], value);
    }
}

static void advise_paths(struct restore *restore, const struct conf_texts *texts)
{
    char value[VALUE_SIZE];

    if (find_value(texts, "data_directory", value)[0] != '\0' && strcmp(value, restore->places[0].path) != 0)
        restore_warn(restore,
                     "data_directory is \"%s\" in the restored configuration: PostgreSQL would start there and not in "
                     "the restored folder",
                     value);
    if (!restore->has_postgresql_conf)
        restore_warn(restore,
                     "postgresql.conf is not in the backup: it lies outside the data directory, as Debian has it, "
                     "and must be named at the start");
}

static void advise_standby(struct restore *restore)
{
    const struct server_config *server = restore->options->server;
    const char *files[2];

    if (!request_has(&restore->options->request, OPTION_ID_standby))
        return;
    files[0] = server->settings.tls_cert_file;
    files[1] = server->settings.tls_key_file;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (files[i][0] != '\0' && access(files[i], R_OK) < 0)
            restore_warn(restore,
                         "\"%s\" cannot be read by the user who restores: the standby will not connect until "
                         "primary_conninfo names a certificate and a key of its own",
                         files[i]);
}

void restore_advise(struct restore *restore, const struct buffer *postgresql_conf, const struct buffer *auto_conf)
{
    struct conf_texts texts = {postgresql_conf, auto_conf};

    advise_synchronous(restore, &texts);
    advise_tls(restore, &texts);
    advise_paths(restore, &texts);
    advise_standby(restore);
    if (restore->options->keep_archive_mode)
        restore_warn(restore,
                     "archive_mode is left as it was: if the original server still runs, both would archive to the "
                     "same place");
}
