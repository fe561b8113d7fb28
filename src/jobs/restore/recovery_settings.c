#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/files.h"
#include "pgcoffer/wal/position.h"

#define MOST_SETTINGS         24
#define RESTORE_POINT_LONGEST 63 /* PostgreSQL's MAXFNAMELEN - 1 */

/* The ways to name a target. Each excludes the others. */
static const struct target {
    const char *setting;
    enum option_id option;
    bool can_be_exclusive; /* recovery_target_inclusive means something */
} targets[] = {{"recovery_target_time", OPTION_ID_target_time, true},
               {"recovery_target_lsn", OPTION_ID_target_lsn, true},
               {"recovery_target_xid", OPTION_ID_target_xid, true},
               {"recovery_target_name", OPTION_ID_target_name, false},
               {"recovery_target", OPTION_ID_target_immediate, false}};
#define TARGET_COUNT (sizeof targets / sizeof targets[0])

/* What a postgresql.conf in the backup may still hold, and what undoes it. */
static const struct conf_setting neutral[] = {
    {"recovery_target", (char *)""},
    {"recovery_target_time", (char *)""},
    {"recovery_target_lsn", (char *)""},
    {"recovery_target_xid", (char *)""},
    {"recovery_target_name", (char *)""},
    {"recovery_target_inclusive", (char *)"on"},
    {"recovery_target_action", (char *)"pause"},
    {"recovery_end_command", (char *)""},
    {"archive_cleanup_command", (char *)""},
    {"primary_conninfo", (char *)""},
    {"primary_slot_name", (char *)""},
};

static bool is_given(const struct request *request, enum option_id option)
{
    return option_rows[option].argument[0] == '\0' ? request_has(request, option)
                                                   : request_text(request, option) != NULL;
}

static const struct target *find_target(const struct request *request)
{
    for (size_t i = 0; i < TARGET_COUNT; i++)
        if (is_given(request, targets[i].option))
            return &targets[i];
    return NULL;
}

bool recovery_settings_have_target(const struct request *request)
{
    return find_target(request) != NULL;
}

/* ---- the check ---- */

static bool check_value(const struct request *request, enum option_id option, struct error *err)
{
    const char *text = request_text(request, option);
    struct wal_position position;
    struct timestamp timestamp;
    uint64_t number;

    if (text == NULL)
        return true;
    if (option == OPTION_ID_target_time)
        return timestamp_parse(text, &timestamp, err);
    if (option == OPTION_ID_target_lsn && !wal_position_parse(text, &position, err)) {
        error_set(err, ERROR_USAGE, "--target-lsn: \"%s\" is not a WAL position", text);
        return error_hint(err, "Write it as PostgreSQL shows it, for example 16/B374D848.");
    }
    if (option == OPTION_ID_target_xid && (!text_parse_unsigned(text, UINT64_MAX, &number) || number < 3))
        return error_set(err, ERROR_USAGE, "--target-xid: \"%s\" is not the number of a transaction", text);
    if (option == OPTION_ID_target_name && (text[0] == '\0' || strlen(text) > RESTORE_POINT_LONGEST))
        return error_set(err, ERROR_USAGE, "--target-name: a restore point has 1 to %d bytes", RESTORE_POINT_LONGEST);
    if (option == OPTION_ID_target_action && strcmp(text, "pause") != 0 && strcmp(text, "promote") != 0 &&
        strcmp(text, "shutdown") != 0)
        return error_set(err, ERROR_USAGE, "--target-action: \"%s\" is not one of pause, promote, shutdown", text);
    return true;
}

static bool check_one_target(const struct request *request, struct error *err)
{
    const struct target *target = find_target(request);

    for (size_t i = 0; i < TARGET_COUNT; i++) {
        if (!check_value(request, targets[i].option, err))
            return false;
        if (is_given(request, targets[i].option) && &targets[i] != target) {
            error_set(err, ERROR_USAGE, "--%s and --%s are two targets", option_rows[target->option].name,
                      option_rows[targets[i].option].name);
            return error_hint(err, "Give at most one target.");
        }
    }
    return true;
}

bool recovery_settings_check(const struct restore_options *options, struct error *err)
{
    const struct request *request = &options->request;
    const struct target *target = find_target(request);

    if (!check_one_target(request, err) || !check_value(request, OPTION_ID_target_action, err))
        return false;
    if (request_has(request, OPTION_ID_target_exclusive) && (target == NULL || !target->can_be_exclusive))
        return error_set(err, ERROR_USAGE,
                         "--target-exclusive needs a --target-time, --target-lsn or --target-xid beside it");
    if (request_text(request, OPTION_ID_target_action) != NULL && target == NULL) {
        error_set(err, ERROR_USAGE, "--target-action needs a target");
        return error_hint(err, "Without a target all WAL is replayed, and then the server opens.");
    }
    if (!request_has(request, OPTION_ID_standby))
        return true;
    if (target != NULL)
        return error_set(err, ERROR_USAGE, "--standby replays for ever and takes no --%s",
                         option_rows[target->option].name);
    if (options->server == NULL) {
        error_set(err, ERROR_USAGE, "--standby needs the server's settings, and no configuration was read");
        return error_hint(err, "Name the configuration file with -c FILE.");
    }
    return true;
}

/* ---- the settings ---- */

struct list {
    struct conf_setting *settings;
    size_t count;
};

static void add(struct list *list, const char *name, char *value_owned)
{
    if (list->count + 1 >= MOST_SETTINGS)
        abort(); /* the tables above are longer than the list */
    list->settings[list->count++] = (struct conf_setting){name, value_owned};
}

/* PostgreSQL reads a time without a zone in its own TimeZone, so the zone is always there. */
static char *time_value(const char *text)
{
    struct timestamp timestamp;
    struct error err;
    char utc[TIMESTAMP_TEXT_SIZE];

    if (!timestamp_parse(text, &timestamp, &err))
        return memory_copy_text(text); /* checked before; PostgreSQL would say so again */
    timestamp_format(timestamp, utc);
    utc[strcspn(utc, "T")] = ' ';
    utc[strcspn(utc, "Z")] = '\0';
    return memory_text("%s+00", utc);
}

/* PostgreSQL reads a number that begins with 0 as an octal one, and takes the lower half of one with its epoch. */
static char *transaction_value(const char *text)
{
    uint64_t number = 0;

    return text_parse_unsigned(text, UINT64_MAX, &number) ? memory_text("%" PRIu32, (uint32_t)number)
                                                          : memory_copy_text(text);
}

/* A time behind which no transaction ended stands for the last record that is held. */
static void add_target(struct list *list, const struct request *request, const char *replay_to)
{
    const struct target *target = find_target(request);

    if (target == NULL)
        return;
    if (replay_to != NULL) {
        add(list, "recovery_target_lsn", memory_copy_text(replay_to));
        if (request_text(request, OPTION_ID_target_action) != NULL)
            add(list, "recovery_target_action", memory_copy_text(request_text(request, OPTION_ID_target_action)));
        return;
    }
    if (request_has(request, OPTION_ID_target_exclusive))
        add(list, "recovery_target_inclusive", memory_copy_text("off"));
    if (request_text(request, OPTION_ID_target_action) != NULL)
        add(list, "recovery_target_action", memory_copy_text(request_text(request, OPTION_ID_target_action)));
    if (target->option == OPTION_ID_target_time)
        add(list, target->setting, time_value(request_text(request, target->option)));
    else if (target->option == OPTION_ID_target_xid)
        add(list, target->setting, transaction_value(request_text(request, target->option)));
    else if (target->option == OPTION_ID_target_immediate)
        add(list, target->setting, memory_copy_text("immediate"));
    else
        add(list, target->setting, memory_copy_text(request_text(request, target->option)));
}

static char *restore_command(const struct restore *restore)
{
    const struct restore_options *options = restore->options;

    /* The copy has all its WAL; the command must be there and find nothing. */
    if (request_has(&options->request, OPTION_ID_with_wal))
        return memory_copy_text("false");
    char *prefix SCOPED(scoped_free) = quote_percent(options->restore_command_prefix);
    return memory_text("%s wal-get --system-id %s %s%s %%f %%p", prefix, restore->plan.system_id,
                       recovery_settings_have_target(&options->request) ? "--to-target " : "", restore->plan.server);
}

/*
 * A number, so that no later timeline of the archive changes what was asked for. A standby however has to follow its
 * server through failovers to come, and with a number PostgreSQL would not.
 */
static char *target_timeline(const struct restore *restore)
{
    const struct request *request = &restore->options->request;

    if (request_has(request, OPTION_ID_standby) && request_text(request, OPTION_ID_target_timeline) == NULL)
        return memory_copy_text("latest");
    return memory_text("%u", restore->plan.timeline);
}

/* Settings may also stand where nobody looks here: in files that are included, or outside the data directory. */
static bool is_part_of_configuration(const struct restore *restore, const char *postgresql_conf, size_t size)
{
    static const char *const words[] = {"include", "include_if_exists", "include_dir"};
    char value[8];

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (recovery_conf_find(postgresql_conf, size, words[i], value, sizeof value))
            return true;
    return !restore->has_postgresql_conf;
}

/* A forgotten recovery target would end the replay too early; the other settings do no harm to the rows. */
static void add_neutral(struct list *list, const struct restore *restore, const char *postgresql_conf, size_t size)
{
    bool is_part = is_part_of_configuration(restore, postgresql_conf, size);
    char value[8];

    for (size_t i = 0; i < sizeof neutral / sizeof neutral[0]; i++)
        if (recovery_conf_find(postgresql_conf, size, neutral[i].name, value, sizeof value) ||
            (is_part && text_starts_with(neutral[i].name, "recovery_target")))
            add(list, neutral[i].name, memory_copy_text(neutral[i].value));
}

struct conf_setting *recovery_settings_make(const struct restore *restore, const char *postgresql_conf, size_t size)
{
    const struct restore_options *options = restore->options;
    struct list list = {.settings = memory_new(MOST_SETTINGS * sizeof list.settings[0])};

    /* First: PostgreSQL takes an empty target for "none at all", whatever came before it. */
    add_neutral(&list, restore, postgresql_conf, size);
    add(&list, "restore_command", restore_command(restore));
    add(&list, "recovery_target_timeline", target_timeline(restore));
    add_target(&list, &options->request, restore->plan.replay_to);
    if (request_has(&options->request, OPTION_ID_standby))
        add(&list, "primary_conninfo", recovery_conninfo(options->server));
    if (!options->keep_archive_mode)
        add(&list, "archive_mode", memory_copy_text("off"));
    return list.settings;
}

void recovery_settings_free(struct conf_setting *settings)
{
    for (struct conf_setting *setting = settings; setting != NULL && setting->name != NULL; setting++)
        free(setting->value);
    free(settings);
}

static void add_word(char **conninfo, const char *keyword, const char *value)
{
    if (text_is_empty(value))
        return;
    char *quoted SCOPED(scoped_free) = quote_for_conninfo(value);
    char *longer = memory_text("%s%s%s=%s", *conninfo, (*conninfo)[0] != '\0' ? " " : "", keyword, quoted);
    free(*conninfo);
    *conninfo = longer;
}

static void add_item(char **list, const char *item)
{
    char *longer = memory_text("%s%s%s", *list, (*list)[0] != '\0' ? "," : "", item);

    free(*list);
    *list = longer;
}

/* libpq takes lists that go together, without blanks, and finds the one that answers. */
static void add_hosts(char **conninfo, const struct server_config *server)
{
    struct server_config *view SCOPED(scoped_free) = memory_new(sizeof *view);
    char *hosts SCOPED(scoped_free) = memory_copy_text("");
    char *addresses SCOPED(scoped_free) = memory_copy_text("");
    char *ports SCOPED(scoped_free) = memory_copy_text("");
    char port[8];

    for (size_t host = 0; host < config_host_count(server); host++) {
        config_take_host(server, host, view);
        snprintf(port, sizeof port, "%ld", view->settings.port);
        add_item(&ports, port);
        if (view->settings.host[0] != '\0')
            add_item(&hosts, view->settings.host);
        if (view->settings.hostaddr[0] != '\0')
            add_item(&addresses, view->settings.hostaddr);
    }
    add_word(conninfo, "host", hosts);
    add_word(conninfo, "hostaddr", addresses);
    add_word(conninfo, "port", ports);
    if (config_host_count(server) > 1) /* one of them may be the restored one itself */
        add_word(conninfo, "target_session_attrs", "read-write");
}

char *recovery_conninfo(const struct server_config *server)
{
    const struct settings *settings = &server->settings;
    char *conninfo = memory_copy_text("");

    add_hosts(&conninfo, server);
    add_word(&conninfo, "user", settings->user);
    add_word(&conninfo, "application_name", "pgcoffer standby");
    add_word(&conninfo, "sslmode", settings->tls_mode);
    add_word(&conninfo, "sslcert", settings->tls_cert_file);
    add_word(&conninfo, "sslkey", settings->tls_key_file);
    add_word(&conninfo, "sslrootcert", tls_files_ca_path(settings));
    add_word(&conninfo, "sslcrl", settings->tls_crl_file);
    add_word(&conninfo, "gssencmode", "disable");
    return conninfo;
}
