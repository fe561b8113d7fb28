#include "pgcoffer/config/retention.h"

#include <stdio.h>
#include <string.h>

#include "config/settings_internal.h"
#include "pgcoffer/base/text.h"

#define PLACE_COUNT  4
#define MOST_SECONDS (INT64_C(36525) * 86400)

/* A hundred years of each. */
static const unsigned most_of_place[PLACE_COUNT] = {36525, 5218, 1200, 100};
static const char *const word_of_place[PLACE_COUNT] = {"days", "weeks", "months", "years"};

static bool fail_places(const char *text, struct error *err)
{
    error_set(err, ERROR_CONFIG, "\"%.100s\" is no value for retention", text);
    return error_hint(err, "Give days, weeks, months and years, separated by commas, - for a place to leave out: "
                           "retention = 7, 4, 12, 5");
}

static bool read_place(const char *text, const char *item, size_t place, unsigned *ret_number, struct error *err)
{
    uint64_t number = 0;

    if (strcmp(item, "-") == 0) {
        *ret_number = 0;
        return true;
    }
    if (!text_parse_unsigned(item, UINT32_MAX, &number))
        return fail_places(text, err);
    if (number == 0) {
        error_set(err, ERROR_CONFIG, "0 %s in retention = %.100s keep nothing", word_of_place[place], text);
        return error_hint(err, "Write - to leave the %s out.", word_of_place[place]);
    }
    if (number > most_of_place[place]) {
        error_set(err, ERROR_CONFIG, "%s in retention = %.100s are too many", word_of_place[place], text);
        return error_hint(err, "Give at most %u %s.", most_of_place[place], word_of_place[place]);
    }
    *ret_number = (unsigned)number;
    return true;
}

bool retention_places_parse(const char *text, struct retention_places *ret_places, struct error *err)
{
    unsigned numbers[PLACE_COUNT] = {0};
    char item[CONFIG_TEXT_SIZE];
    size_t count = 0;

    if (strlen(text) >= sizeof item)
        return fail_places("(too long)", err);
    for (const char *at = text; setting_item_next(&at, item); count++)
        if (count == PLACE_COUNT)
            return fail_places(text, err);
        else if (!read_place(text, item, count, &numbers[count], err))
            return false;
    if (numbers[0] + numbers[1] + numbers[2] + numbers[3] == 0) {
        error_set(err, ERROR_CONFIG, "retention = %.100s would keep nothing", text);
        return error_hint(err, "Give at least one place a number, as in: retention = 7, 4, 12, 5");
    }
    *ret_places = (struct retention_places){numbers[0], numbers[1], numbers[2], numbers[3]};
    return true;
}

void retention_places_format(const struct retention_places *places, char ret_text[RETENTION_PLACES_TEXT_SIZE])
{
    const unsigned numbers[PLACE_COUNT] = {places->days, places->weeks, places->months, places->years};
    size_t used = 0;

    for (size_t i = 0; i < PLACE_COUNT; i++) {
        const char *comma = i > 0 ? ", " : "";
        size_t room = RETENTION_PLACES_TEXT_SIZE - used;
        used += (size_t)(numbers[i] != 0 ? snprintf(ret_text + used, room, "%s%u", comma, numbers[i] % 100000)
                                         : snprintf(ret_text + used, room, "%s-", comma));
    }
}

static const struct {
    const char *word;
    const char *one, *many;
    int64_t seconds;
} units[] = {{"w", "week", "weeks", 604800},
             {"d", "day", "days", 86400},
             {"h", "hour", "hours", 3600},
             {"min", "minute", "minutes", 60}};
#define UNIT_COUNT (sizeof units / sizeof units[0])

bool retention_duration_parse(const char *text, int64_t *ret_seconds, struct error *err)
{
    size_t digits = strspn(text, "0123456789");
    const char *word = text + digits + strspn(text + digits, " \t");
    char number_text[16];
    uint64_t number = 0;

    snprintf(number_text, sizeof number_text, "%.*s", (int)(digits < sizeof number_text ? digits : 0), text);
    for (size_t i = 0; i < UNIT_COUNT; i++) {
        if (strcmp(word, units[i].word) != 0 && strcmp(word, units[i].one) != 0 && strcmp(word, units[i].many) != 0)
            continue;
        if (!text_parse_unsigned(number_text, (uint64_t)(MOST_SECONDS / units[i].seconds), &number) || number == 0)
            break;
        *ret_seconds = (int64_t)number * units[i].seconds;
        return true;
    }
    error_set(err, ERROR_CONFIG, "\"%.100s\" is no value for wal_retention", text);
    return error_hint(err, "Give a whole number with its unit, min, h, d or w, such as 7d; without the setting every "
                           "moment since the oldest backup stays reachable.");
}
