#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_internal.h"
#include "pgcoffer/base/memory.h"

/* A configuration on its way out: as INI text, value by value, and the commented sample. */

static void visit_section(const char *name, const struct settings *settings, const struct section_origin *origin,
                          bool is_daemon, void (*visit)(const struct config_value *value, void *context), void *context)
{
    char text[CONFIG_TEXT_SIZE];

    for (size_t id = 0; id < SETTING_COUNT; id++) {
        if (!settings_is_in_scope(&settings_table[id], is_daemon))
            continue;
        settings_value_text(settings, &settings_table[id], text);
        const struct config_value value = {
            .section = name,
            .name = settings_table[id].name,
            .value = text,
            .origin = origin->values[id] != NULL ? origin->values[id] : "default",
        };
        visit(&value, context);
    }
}

static void visit_client(const struct config *config, void (*visit)(const struct config_value *value, void *context),
                         void *context)
{
    char text[CONFIG_TEXT_SIZE];

    for (size_t id = 0; id < SETTING_COUNT; id++) {
        if (!config_is_of_client(settings_table[id].name))
            continue;
        settings_value_text(&config->client->settings, &settings_table[id], text);
        const char *origin = config->origins->client->values[id];
        const struct config_value value = {.section = CONFIG_CLIENT_SECTION,
                                           .name = settings_table[id].name,
                                           .value = text,
                                           .origin = origin != NULL ? origin : "default"};
        visit(&value, context);
    }
}

void config_visit(const struct config *config, void (*visit)(const struct config_value *value, void *context),
                  void *context)
{
    const struct config_origins *origins = config->origins;

    visit_section(CONFIG_DAEMON_SECTION, &config->settings, origins->daemon, true, visit, context);
    if (config->client != NULL)
        visit_client(config, visit, context);
    for (size_t i = 0; i < config->server_count; i++)
        visit_section(config->servers[i].name, &config->servers[i].settings, origins->servers[i], false, visit,
                      context);
}

static void print_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void print_section(FILE *out, const char *name, const struct settings *settings, bool is_daemon,
                          bool is_admin_group_written)
{
    char text[CONFIG_TEXT_SIZE];

    fprintf(out, "[%s]\n", name);
    for (size_t id = 0; id < SETTING_COUNT; id++) {
        settings_value_text(settings, &settings_table[id], text);
        if (!settings_is_in_scope(&settings_table[id], is_daemon) || text[0] == '\0')
            continue;
        if (id == SETTING_admin_group && !is_admin_group_written)
            continue; /* a group that is written must exist */
        if (id == SETTING_retention && settings->retention_count != 0)
            continue; /* not both in one section */
        fprintf(out, "%s = ", settings_table[id].name);
        print_quoted(out, text);
        fputc('\n', out);
    }
}

char *config_to_text(const struct config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        abort();
    print_section(out, CONFIG_DAEMON_SECTION, &config->settings, true, config->is_admin_group_written);
    for (size_t i = 0; i < config->server_count; i++)
        print_section(out, config->servers[i].name, &config->servers[i].settings, false, false);
    if (fclose(out) != 0)
        abort();
    return text;
}

/* "# help" lines of at most 100 columns. */
static void print_comment(FILE *out, const char *text)
{
    while (*text != '\0') {
        size_t size = strlen(text);
        if (size > 98) {
            size = 98;
            while (size > 1 && text[size] != ' ')
                size--;
        }
        fprintf(out, "# %.*s\n", (int)size, text);
        text += size;
        text += strspn(text, " ");
    }
}

static void print_row(FILE *out, const struct setting *setting)
{
    const char *when = setting->when == AT_START ? " (needs a restart)" : "";
    const char *value = setting->default_text[0] != '\0' ? setting->default_text : setting->sample;
    char *comment SCOPED(scoped_free) = memory_text("%s%s", setting->help, when);

    print_comment(out, comment);
    if (setting->type == TYPE_NUMBER || setting->type == TYPE_NUMBERS)
        fprintf(out, "# from %llu to %llu\n", (unsigned long long)setting->least, (unsigned long long)setting->most);
    if (setting->type == TYPE_SIZE)
        fprintf(out, "# a whole number with kB, MB, GB or TB, or 0\n");
    if (setting->type == TYPE_CHOICE)
        fprintf(out, "# one of: %s\n", setting->choices);
    if (setting->default_text[0] == '\0')
        fprintf(out, "# not set by default; for example:\n");
    fprintf(out, "#%s = %s\n\n", setting->name, value);
}

void config_print_sample(FILE *out)
{
    fputs("# pgcoffer.conf: the configuration of pgcoffer and pgcofferd, see pgcoffer.conf(5).\n"
          "#\n"
          "# A line such as \"#port = 5432\" shows the default: take the # away to change it.\n"
          "# Files named *.conf in the folder conf.d beside this file are read, too.\n"
          "\n"
          "[pgcoffer]\n"
          "\n",
          out);
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++)
        if (settings_is_in_scope(setting, true))
            print_row(out, setting);

    fputs("# Every other section is a PostgreSQL server, under the name that the commands use.\n"
          "# It needs host, user, tls_cert_file, tls_key_file and tls_ca_file. It may also have its own\n"
          "#",
          out);
    const char *separator = " ";
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++) {
        if (setting->scope == SCOPE_BOTH) {
            fprintf(out, "%s%s", separator, setting->name);
            separator = ", ";
        }
    }
    fputs(", instead of those of [pgcoffer].\n#[primary]\n\n", out);
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++)
        if (setting->scope == SCOPE_SERVER || setting->scope == SCOPE_EACH)
            print_row(out, setting);
    fputs(
        "# On a host without a daemon: commands go over TLS to the gateway of the backup host. The certificate is one\n"
        "# of the gateway's clients; tls_ca_file holds the CA of the gateway's own certificate.\n"
        "#[client]\n\n",
        out);
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++)
        if (setting->scope == SCOPE_CLIENT)
            print_row(out, setting);
    fputs("#tls_cert_file = /etc/pgcoffer/tls/restore.crt\n"
          "#tls_key_file = /etc/pgcoffer/tls/restore.key\n"
          "#tls_ca_file = /etc/pgcoffer/tls/gateway-ca.crt\n"
          "#tls_crl_file = /etc/pgcoffer/tls/gateway.crl\n",
          out);
}
