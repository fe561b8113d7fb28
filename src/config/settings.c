#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/settings_internal.h"
#include "pgcoffer/base/text.h"

#define PLACE(name) offsetof(struct settings, name), sizeof(((struct settings *)0)->name)

/* Two members that stand one behind the other. */
#define PLACE_TO(name, last)                                                                                           \
    offsetof(struct settings, name),                                                                                   \
        offsetof(struct settings, last) + sizeof(((struct settings *)0)->last) - offsetof(struct settings, name)

const struct setting settings_table[SETTING_COUNT] = {
#define TEXT(name, scope, when, default_text, sample, help)                                                            \
    {#name, TYPE_TEXT, SCOPE_##scope, when, PLACE(name), 0, 0, NULL, default_text, sample, help},
#define NUMBER(name, scope, when, default_number, least, most, help)                                                   \
    {#name, TYPE_NUMBER, SCOPE_##scope, when, PLACE(name), least, most, NULL, #default_number, "", help},
#define CHOICE(name, scope, when, default_text, choices, help)                                                         \
    {#name, TYPE_CHOICE, SCOPE_##scope, when, PLACE(name), 0, 0, choices, default_text, "", help},
#define BOOLEAN(name, scope, when, default_text, help)                                                                 \
    {#name, TYPE_BOOLEAN, SCOPE_##scope, when, PLACE(name), 0, 0, NULL, default_text, "", help},
#define NUMBERS(name, scope, when, default_number, least, most, help)                                                  \
    {#name,           TYPE_NUMBERS, SCOPE_##scope, when, PLACE_TO(name, name##_list), least, most, NULL,               \
     #default_number, "",           help},
#define LIST(name, scope, when, default_text, sample, help)                                                            \
    {#name, TYPE_LIST, SCOPE_##scope, when, PLACE(name), 0, 0, NULL, default_text, sample, help},
#define SIZE(name, scope, when, default_text, help)                                                                    \
    {#name, TYPE_SIZE, SCOPE_##scope, when, PLACE(name), 0, 0, NULL, default_text, "", help},
#include "pgcoffer/config/settings.def"
#undef TEXT
#undef NUMBER
#undef CHOICE
#undef BOOLEAN
#undef LIST
#undef NUMBERS
#undef SIZE
};

#undef PLACE
#undef PLACE_TO

/* What other programs call it: libpq's connection words and the habits of other agents. */
static const struct {
    const char *foreign;
    const char *name;
} translations[] = {
    {"sslmode", "tls_mode"},
    {"sslcert", "tls_cert_file"},
    {"sslkey", "tls_key_file"},
    {"sslrootcert", "tls_ca_file"},
    {"sslcrl", "tls_crl_file"},
    {"ssl_mode", "tls_mode"},
    {"ssl_cert_file", "tls_cert_file"},
    {"ssl_key_file", "tls_key_file"},
    {"ssl_ca_file", "tls_ca_file"},
    {"username", "user"},
    {"hostname", "host"},
    {"address", "hostaddr"},
    {"slot", "wal_slot"},
    {"slot_name", "wal_slot"},
    {"passfile", "password_file"},
};

const struct setting *settings_find(const char *name)
{
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++)
        if (strcmp(setting->name, name) == 0)
            return setting;
    return NULL;
}

/* "tls_cert" is too far from "tls_cert_file" for a slip of the finger, and yet nothing else can be meant. */
static const char *find_only_longer_name(const char *beginning)
{
    const char *found = NULL;

    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++) {
        if (!text_starts_with(setting->name, beginning))
            continue;
        if (found != NULL)
            return NULL;
        found = setting->name;
    }
    return found;
}

void settings_suggest(const char *name, struct error *err)
{
    const char *names[SETTING_COUNT];

    if (strcasecmp(name, "password") == 0) {
        error_hint(err, "A password never stands here: name a file in .pgpass form with password_file.");
        return;
    }
    for (size_t i = 0; i < SETTING_COUNT; i++)
        names[i] = settings_table[i].name;
    const char *meant = NULL;
    for (size_t i = 0; i < sizeof translations / sizeof translations[0]; i++)
        if (strcasecmp(translations[i].foreign, name) == 0)
            meant = translations[i].name;
    if (meant == NULL)
        meant = text_closest(name, names, SETTING_COUNT);
    if (meant == NULL)
        meant = find_only_longer_name(name);
    if (meant != NULL)
        error_hint(err, "Did you mean \"%s\"?", meant);
    else
        error_hint(err, "Every setting is listed by: pgcoffer config sample");
}

static bool parse_number(const struct setting *setting, const char *text, long *ret_number, struct error *err)
{
    uint64_t read = 0;

    if (!text_parse_unsigned(text, setting->most, &read) || read < setting->least) {
        error_set(err, ERROR_CONFIG, "\"%s\" is no value for %s", text, setting->name);
        return error_hint(err, "Give a whole number from %llu to %llu; the default is %s.",
                          (unsigned long long)setting->least, (unsigned long long)setting->most, setting->default_text);
    }
    *ret_number = (long)read;
    return true;
}

static bool read_number(const struct setting *setting, const char *text, void *place, struct error *err)
{
    long number = 0;

    if (!parse_number(setting, text, &number, err))
        return false;
    memcpy(place, &number, sizeof number);
    return true;
}

static bool read_numbers(const struct setting *setting, const char *text, void *place, struct error *err)
{
    char item[CONFIG_TEXT_SIZE], *list = (char *)place + sizeof(long);
    size_t size = setting->size - sizeof(long);
    long numbers[CONFIG_MOST_HOSTS] = {0};
    size_t count = 0;

    if (strlen(text) >= size)
        return error_set(err, ERROR_CONFIG, "the value of %s is longer than %zu bytes", setting->name, size - 1);
    for (const char *at = text; setting_item_next(&at, item); count++) {
        if (count == CONFIG_MOST_HOSTS) {
            error_set(err, ERROR_CONFIG, "%s has more than %d numbers", setting->name, CONFIG_MOST_HOSTS);
            return error_hint(err, "Give one for all hosts, or one for each, in the same order.");
        }
        if (!parse_number(setting, item, &numbers[count], err))
            return false;
    }
    memcpy(place, &numbers[0], sizeof numbers[0]);
    snprintf(list, size, "%s", count > 1 ? text : "");
    return true;
}

static bool read_boolean(const struct setting *setting, const char *text, void *place, struct error *err)
{
    static const char *const words[2][3] = {{"no", "off", "false"}, {"yes", "on", "true"}};

    for (int meaning = 0; meaning < 2; meaning++) {
        for (size_t i = 0; i < 3; i++) {
            if (strcasecmp(words[meaning][i], text) == 0) {
                *(bool *)place = meaning != 0;
                return true;
            }
        }
    }
    error_set(err, ERROR_CONFIG, "\"%s\" is no value for %s", text, setting->name);
    return error_hint(err, "Write %s = yes or %s = no.", setting->name, setting->name);
}

static bool read_size(const struct setting *setting, const char *text, void *place, struct error *err)
{
    uint64_t bytes = 0;

    if (!setting_shapes_read_size(setting, text, &bytes, err))
        return false;
    memcpy(place, &bytes, sizeof bytes);
    return true;
}

static bool is_one_of(const char *text, const char *choices)
{
    size_t size = strlen(text);

    for (const char *at = choices; size > 0 && (at = strstr(at, text)) != NULL; at += size)
        if ((at == choices || at[-1] == ' ') && (at[size] == ' ' || at[size] == '\0'))
            return true;
    return false;
}

static bool read_text(const struct setting *setting, const char *text, void *place, struct error *err)
{
    size_t size = strlen(text) + 1;

    if (setting->type == TYPE_CHOICE && !is_one_of(text, setting->choices)) {
        error_set(err, ERROR_CONFIG, "\"%s\" is no value for %s", text, setting->name);
        return error_hint(err, "Choose one of: %s", setting->choices);
    }
    if (size > setting->size)
        return error_set(err, ERROR_CONFIG, "the value of %s is longer than %zu bytes", setting->name,
                         setting->size - 1);
    if (setting->type == TYPE_TEXT && !setting_shapes_check(setting, text, err))
        return false;
    memcpy(place, text, size);
    return true;
}

bool settings_assign(struct settings *settings, const struct setting *setting, const char *text, struct error *err)
{
    void *place = (char *)settings + setting->offset;

    switch (setting->type) {
    case TYPE_NUMBER:
        return read_number(setting, text, place, err);
    case TYPE_NUMBERS:
        return read_numbers(setting, text, place, err);
    case TYPE_BOOLEAN:
        return read_boolean(setting, text, place, err);
    case TYPE_LIST:
        return setting_shapes_read_list(setting, text, place, err);
    case TYPE_SIZE:
        return read_size(setting, text, place, err);
    case TYPE_TEXT:
    case TYPE_CHOICE:
        return read_text(setting, text, place, err);
    }
    abort();
}

void settings_defaults(struct settings *ret_settings)
{
    struct error err;

    *ret_settings = (struct settings){0};
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++) {
        bool is_unset = setting->type == TYPE_TEXT && setting->default_text[0] == '\0';
        if (!is_unset && !settings_assign(ret_settings, setting, setting->default_text, &err))
            abort(); /* a row breaks its own limits; a test would have told */
    }
}

void settings_value_text(const struct settings *settings, const struct setting *setting,
                         char ret_text[CONFIG_TEXT_SIZE])
{
    const void *place = (const char *)settings + setting->offset;
    uint64_t bytes;
    long number;

    switch (setting->type) {
    case TYPE_NUMBERS:
        if (((const char *)place)[sizeof number] != '\0') {
            snprintf(ret_text, CONFIG_TEXT_SIZE, "%s", (const char *)place + sizeof number);
            return;
        }
        memcpy(&number, place, sizeof number);
        snprintf(ret_text, CONFIG_TEXT_SIZE, "%ld", number);
        return;
    case TYPE_NUMBER:
        memcpy(&number, place, sizeof number);
        snprintf(ret_text, CONFIG_TEXT_SIZE, "%ld", number);
        return;
    case TYPE_SIZE:
        memcpy(&bytes, place, sizeof bytes);
        setting_shapes_size_text(bytes, ret_text);
        return;
    case TYPE_BOOLEAN:
        snprintf(ret_text, CONFIG_TEXT_SIZE, "%s", *(const bool *)place ? "yes" : "no");
        return;
    case TYPE_TEXT:
    case TYPE_CHOICE:
    case TYPE_LIST:
        snprintf(ret_text, CONFIG_TEXT_SIZE, "%s", (const char *)place);
        return;
    }
    abort();
}

void settings_copy_value(struct settings *to, const struct settings *from, const struct setting *setting)
{
    memcpy((char *)to + setting->offset, (const char *)from + setting->offset, setting->size);
}

bool settings_is_in_scope(const struct setting *setting, bool is_daemon)
{
    return setting->scope == SCOPE_BOTH || setting->scope == SCOPE_EACH ||
           setting->scope == (is_daemon ? SCOPE_DAEMON : SCOPE_SERVER);
}
