#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/config_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/config/retention.h"

#define MOST_SLOT_NAME        63
#define MOST_APPLICATION_NAME 63 /* the server cuts the rest off */
#define NAME_CHARACTERS       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:@ "

static bool check_host(const char *text, struct error *err)
{
    if (strpbrk(text, " \t") == NULL)
        return true;
    error_set(err, ERROR_CONFIG, "\"%s\" is no host name", text);
    return error_hint(err, "Separate the hosts of one cluster with commas, as in: host = db1, db2");
}

static bool check_hostaddr(const char *text, struct error *err)
{
    unsigned char address[sizeof(struct in6_addr)];
    char without_zone[INET6_ADDRSTRLEN];

    snprintf(without_zone, sizeof without_zone, "%.*s", (int)strcspn(text, "%"), text);
    if (inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, without_zone, address) == 1)
        return true;
    error_set(err, ERROR_CONFIG, "\"%s\" is no IP address", text);
    return error_hint(err, "hostaddr takes an address such as 192.0.2.10 or 2001:db8::10; a name belongs into host.");
}

static bool check_items(const struct setting *setting, const char *text,
                        bool (*check)(const char *item, struct error *err), struct error *err)
{
    char item[CONFIG_TEXT_SIZE];

    for (const char *at = text; setting_item_next(&at, item);) {
        if (item[0] == '\0') {
            error_set(err, ERROR_CONFIG, "\"%s\" is no value for %s: between two commas there is nothing", text,
                      setting->name);
            return error_hint(err, "Separate the hosts of one cluster with one comma each.");
        }
        if (!check(item, err))
            return false;
    }
    return true;
}

static bool check_slot(const char *text, struct error *err)
{
    size_t size = strlen(text);

    if (size > 0 && size <= MOST_SLOT_NAME && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == size)
        return true;
    error_set(err, ERROR_CONFIG, "\"%s\" is no name for a replication slot", text);
    return error_hint(err, "Use up to %d of a-z, 0-9 and _.", MOST_SLOT_NAME);
}

/* It is written into another program's list of names: nothing that would have to be quoted twice. */
static bool check_application_name(const char *text, struct error *err)
{
    size_t size = strlen(text);

    if (size <= MOST_APPLICATION_NAME && strspn(text, NAME_CHARACTERS) == size && text[0] != ' ' &&
        text[size - 1] != ' ')
        return true;
    error_set(err, ERROR_CONFIG, "\"%s\" is no application name", text);
    return error_hint(err, "Use up to %d letters of ASCII, digits, blanks in between, and _ - . : @",
                      MOST_APPLICATION_NAME);
}

static bool check_path(const struct setting *setting, const char *text, struct error *err)
{
    if (text[0] == '/' || strcmp(text, "") == 0)
        return true;
    if (strcmp(setting->name, "tls_ca_file") == 0 && strcmp(text, "system") == 0)
        return true;
    if (config_credentials_may_be(setting) && config_credential_name(text) != NULL)
        return config_credentials_check(setting, text, err);
    error_set(err, ERROR_CONFIG, "%s = %s is not an absolute path", setting->name, text);
    return error_hint(err, "Write the whole path from the root, as in: %s = %s", setting->name,
                      setting->sample[0] != '\0' ? setting->sample : setting->default_text);
}

bool setting_shapes_check(const struct setting *setting, const char *text, struct error *err)
{
    if (text[0] == '\0') {
        if (setting->default_text[0] == '\0')
            return true; /* not set */
        error_set(err, ERROR_CONFIG, "%s has no value", setting->name);
        return error_hint(err, "Leave the line out for the default, %s.", setting->default_text);
    }
    if (text_ends_with(setting->name, "_file") || text_ends_with(setting->name, "_dir"))
        return check_path(setting, text, err);
    if (strcmp(setting->name, "host") == 0)
        return check_items(setting, text, check_host, err);
    if (strcmp(setting->name, "hostaddr") == 0)
        return check_items(setting, text, check_hostaddr, err);
    if (strcmp(setting->name, "wal_slot") == 0)
        return check_slot(text, err);
    if (strcmp(setting->name, "application_name") == 0)
        return check_application_name(text, err);
    if (strcmp(setting->name, "retention") == 0)
        return retention_places_parse(text, &(struct retention_places){0}, err);
    if (strcmp(setting->name, "wal_retention") == 0)
        return retention_duration_parse(text, &(int64_t){0}, err);
    return true;
}

static bool fail_list(const struct setting *setting, const char *text, struct error *err)
{
    error_set(err, ERROR_CONFIG, "\"%s\" is no list for %s", text, setting->name);
    return error_hint(
        err,
        "Write names separated by commas, groups as @name, certificates as cert:NAME: %s = postgres, @dba, cert:db1",
        setting->name);
}

bool setting_shapes_read_list(const struct setting *setting, const char *text, char ret_list[CONFIG_TEXT_SIZE],
                              struct error *err)
{
    char list[CONFIG_TEXT_SIZE];
    size_t used = 0;

    for (const char *at = text + strspn(text, " \t"); *at != '\0';) {
        size_t size = strcspn(at, ", \t");
        const char *end = at + size + strspn(at + size, " \t");

        bool is_group_without_name = size == 1 && at[0] == '@';
        bool is_certificate_without_name =
            (size == 5 && memcmp(at, "cert:", 5) == 0) || (size == 4 && memcmp(at, "san:", 4) == 0);
        bool is_followed_by_nothing = *end == ',' && end[1 + strspn(end + 1, " \t")] == '\0';
        if (size == 0 || is_group_without_name || is_certificate_without_name || is_followed_by_nothing ||
            (*end != ',' && *end != '\0'))
            return fail_list(setting, text, err);
        if (used + size + 2 > sizeof list)
            return error_set(err, ERROR_CONFIG, "the value of %s is longer than %zu bytes", setting->name,
                             sizeof list - 1);
        if (used > 0)
            list[used++] = ',';
        memcpy(list + used, at, size);
        used += size;
        at = *end == ',' ? end + 1 : end;
        at += strspn(at, " \t");
    }
    list[used] = '\0';
    memcpy(ret_list, list, used + 1);
    return true;
}

static const struct {
    const char *word;
    unsigned shift;
} size_units[] = {{"TB", 40}, {"GB", 30}, {"MB", 20}, {"kB", 10}};
#define SIZE_UNIT_COUNT (sizeof size_units / sizeof size_units[0])

static bool read_size(const char *text, uint64_t *ret_bytes)
{
    size_t digits = strspn(text, "0123456789");
    const char *word = text + digits + strspn(text + digits, " \t");
    char number_text[24];
    uint64_t number = 0;

    if (digits == 0 || digits >= sizeof number_text)
        return false;
    snprintf(number_text, sizeof number_text, "%.*s", (int)digits, text);
    if (!text_parse_unsigned(number_text, INT64_MAX, &number))
        return false;
    if (word[0] == '\0' && number == 0) {
        *ret_bytes = 0;
        return true;
    }
    for (size_t i = 0; i < SIZE_UNIT_COUNT; i++) {
        if (strcasecmp(word, size_units[i].word) != 0)
            continue;
        *ret_bytes = number << size_units[i].shift;
        return number <= (uint64_t)INT64_MAX >> size_units[i].shift;
    }
    return false;
}

bool setting_shapes_read_size(const struct setting *setting, const char *text, uint64_t *ret_bytes, struct error *err)
{
    uint64_t bytes = 0;

    if (read_size(text, &bytes)) {
        *ret_bytes = bytes;
        return true;
    }
    error_set(err, ERROR_CONFIG, "\"%s\" is no value for %s", text, setting->name);
    return error_hint(err, "Give a whole number with its unit, kB, MB, GB or TB, such as %s, or 0.",
                      setting->default_text);
}

void setting_shapes_size_text(uint64_t bytes, char ret_text[CONFIG_TEXT_SIZE])
{
    for (size_t i = 0; i < SIZE_UNIT_COUNT; i++) {
        if (bytes == 0 || bytes % (UINT64_C(1) << size_units[i].shift) != 0)
            continue;
        snprintf(ret_text, CONFIG_TEXT_SIZE, "%" PRIu64 "%s", bytes >> size_units[i].shift, size_units[i].word);
        return;
    }
    snprintf(ret_text, CONFIG_TEXT_SIZE, "0"); /* no other number of bytes can be written */
}
